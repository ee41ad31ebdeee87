"""What the stages show of their features: rows of the sets that they claim to be."""

from types import SimpleNamespace

import pytest
import torch
from small_backbone import small_backbone

from fsad.data.batch import ImageBatch
from fsad.methods.hypertrans.perturbation import SHOWN_IMAGES, DomainPerturbationModule
from fsad.methods.hypertrans.rectification import HypergraphRectificationModule
from fsad.methods.hypertrans.scorer import HypergraphScorer
from fsad.methods.hypertrans.settings import Extensions, Perturb, Rectify
from fsad.nn.adapter import AdaptedExtractor
from fsad.results.feature_samples import ROWS, choose, read_embeddings

C = 24


def images(count, seed):
    drawn = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return [ImageBatch(image, torch.tensor(i)) for i, image in enumerate(drawn)]


@pytest.fixture
def data():
    """Source images and shots, and nothing else: whoever asks for test images fails."""
    source, shots = (SimpleNamespace(dataset=images(*it)) for it in ((9, 0), (2, 1)))
    return SimpleNamespace(loader={"source": source, "shots": shots}.get)


def perturbation(seed=3):
    return DomainPerturbationModule(AdaptedExtractor(small_backbone(), hidden=8), Perturb(), seed)


def cells(maps):
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def are_rows_of(rows, among):
    """Tell whether every row is one of ``among``, which no two rows claim."""
    places = [(among == row).all(dim=1).nonzero() for row in rows]
    found = [int(place[0]) for place in places if len(place)]
    return len(found) == len(rows) == len(set(found))


@torch.no_grad()
def test_clean_rows_are_cells_of_the_frozen_backbone(data):
    module = perturbation()
    kept = module.samples(data)
    assert set(kept) == {"source", "perturbed", "adapted", "target", "target_adapted"}
    for domain, loader in (
        ("source", data.loader("source")),
        ("target", data.loader("shots")),
    ):
        together = torch.stack([each.image for each in loader.dataset])
        every = cells(module.extractor.extractor(together, domain))
        assert are_rows_of(kept[domain], every)
        assert len(kept[domain]) == 16 * min(SHOWN_IMAGES, len(loader.dataset))  # all their cells


@torch.no_grad()
def test_perturbed_rows_are_others_and_only_trained_adapters_change_them(data):
    module = perturbation()
    kept = module.samples(data)
    assert (kept["perturbed"] != kept["source"]).any(dim=1).all()
    assert torch.equal(kept["adapted"], kept["perturbed"])  # a new adapter changes nothing
    assert torch.equal(kept["target_adapted"], kept["target"])
    for adapter in module.extractor.adapters.values():
        adapter.up.bias.fill_(0.5)
    trained = module.samples(data)
    for name in ("source", "perturbed", "target"):
        assert torch.equal(trained[name], kept[name])
    for name in ("adapted", "target_adapted"):
        assert (trained[name] != kept[name]).any(dim=1).all()


@torch.no_grad()
def test_the_seed_decides_what_is_kept_and_nothing_else(data):
    first = perturbation().samples(data)
    torch.rand(5)  # whatever else was drawn
    again, other = perturbation().samples(data), perturbation(seed=4).samples(data)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["source"], other["source"])


@torch.no_grad()
def test_rectified_rows_are_what_banks_as_queries_makes_of_the_bank_rows(data):
    scorer = HypergraphScorer(
        AdaptedExtractor(small_backbone(), hidden=8),
        Rectify(hidden=16),
        alpha=0.3,
        knn=4,
        rectify=True,
        rectify_banks=True,
        plus=Extensions(),
        seed=3,
    )
    draw = torch.Generator().manual_seed(0)
    module = HypergraphRectificationModule(scorer)
    banks = {scorer.banks["source"]: 500, scorer.banks["target"]: 40}
    for bank, count in banks.items():
        bank.fill(torch.randn(count, C, generator=draw), torch.tensor(0.0), torch.tensor(1.0))
    kept = module.samples(data)
    graph = scorer.graph()
    after = graph.banks_as_queries(module.rectifier, graph.states(module.rectifier))
    for bank, rectified in zip(banks, after, strict=True):
        rows = kept[bank.domain]
        assert len(rows) == min(ROWS, len(bank.rows))
        assert are_rows_of(rows, bank.rows)
        places = torch.cdist(rows, bank.rows).argmin(dim=1)
        assert torch.equal(kept[f"{bank.domain}_rectified"], rectified[places])


def test_places_are_chosen_once_each_in_order_and_by_the_key_alone():
    places = choose(1000, 50, 0, "rows")
    assert len(places) == 50
    assert (places.diff() > 0).all()
    assert 0 <= int(places.min()) <= int(places.max()) < 1000
    assert torch.equal(places, choose(1000, 50, 0, "rows"))
    assert not torch.equal(places, choose(1000, 50, 1, "rows"))
    assert torch.equal(choose(7, 50, 0), torch.arange(7))


def test_a_category_that_kept_nothing_has_nothing_to_read(tmp_path):
    assert read_embeddings(tmp_path) == {}
