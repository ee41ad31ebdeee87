"""IDEAL: scores that are an image's own, and what each way to score is made of."""

import pytest
import torch
from small_backbone import small_backbone
from torch.nn.functional import cosine_similarity, normalize

from fsad.engine.stage import BankStage
from fsad.errors import ConfigError
from fsad.functional.intrinsic import intrinsic_scores
from fsad.functional.scoring import top_mean
from fsad.functional.variation import erase_normal_variation, match_normal
from fsad.methods.ideal import Ideal
from fsad.methods.ideal.settings import SCORES, Fit
from fsad.methods.ideal.training import rate_at
from fsad.nn.adapter import CachedExtractor
from fsad.nn.deviation_encoder import sine_positions

FIT = {"epochs": 3, "episodes": 8, "batch": 4}


def images(count, seed):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def masks(count):
    """Each image's mask marks other cells of 8 pixels."""
    marked = torch.zeros(count, 32, 32, dtype=torch.bool)
    for place in range(count):
        marked[place, 8 : 17 + place, 3 : 9 + 8 * place] = True
    return marked


def prepared(score="full", order=(0, 1), **options):
    """A scorer with two normal and two defective references, in an order."""
    scorer = Ideal(FIT, score=score, vectors=5, **options).plan(small_backbone()).scorer.eval()
    normal, defective = images(2, 1)[list(order)], images(2, 2)[list(order)]
    with torch.no_grad():
        rows = scorer.encode(normal, "target").permute(0, 2, 3, 1).flatten(0, 2)
        mean, std = rows.mean(), rows.std()
        scorer.banks["target"].fill((rows - mean) / std, mean, std)
        scorer.keep_defective(list(defective), list(masks(2)[list(order)]))
        scorer.prepare()
    return scorer


@torch.no_grad()
def scores(scorer, queries):
    return scorer.score(queries)["target"]


@pytest.mark.parametrize("score", SCORES)
def test_a_score_does_not_depend_on_the_images_beside_it(score):
    scorer, queries = prepared(score), images(3, 3)
    together = scores(scorer, queries)
    for row in range(3):
        alone = scores(scorer, queries[row : row + 1])
        assert torch.equal(alone.patches[0], together.patches[row])
        assert torch.equal(alone.images[0], together.images[row])


@pytest.mark.parametrize("score", SCORES)
def test_a_score_does_not_depend_on_the_order_of_the_references(score):
    one, other = (scores(prepared(score, order), images(3, 3)) for order in ((0, 1), (1, 0)))
    torch.testing.assert_close(one.patches, other.patches, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.images, other.images, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("score", SCORES)
def test_a_common_factor_of_all_features_changes_no_score_but_lengths(score, monkeypatch):
    before = scores(prepared(score), images(3, 3)).patches
    whole = CachedExtractor.forward
    monkeypatch.setattr(CachedExtractor, "forward", lambda *words: 8 * whole(*words))
    after = scores(prepared(score), images(3, 3)).patches
    factor = 8 if score == "residual" else 1
    torch.testing.assert_close(after, factor * before, rtol=1e-4, atol=1e-5)


def test_the_image_score_is_the_mean_of_the_worst_patches():
    found = scores(prepared(top_share=0.25), images(3, 3))
    torch.testing.assert_close(found.images, top_mean(found.patches, 0.25))


def test_each_way_to_score_is_its_formula():
    """16 patches of the query against 32 normal ones, and the anomalous ones of two references."""
    queries = images(1, 3)
    parts = {score: scores(prepared(score), queries).patches.flatten() for score in SCORES}
    scorer = prepared()
    with torch.no_grad():
        rows, normal, defective = (
            scorer.encode(each, "target").permute(0, 2, 3, 1).flatten(0, 2)
            for each in (queries, images(2, 1), images(2, 2))
        )
        cells = torch.tensor(
            [
                [
                    bool(mask[8 * (cell // 4) :, 8 * (cell % 4) :][:8, :8].any())
                    for cell in range(16)
                ]
                for mask in masks(2)
            ]
        )
        known = defective[cells.flatten()]
        like_normal = (1 + cosine_similarity(rows[:, None], normal[None], dim=2).amax(dim=1)) / 2
        like_known = (1 + cosine_similarity(rows[:, None], known[None], dim=2).amax(dim=1)) / 2
        residuals, values = (
            erase_normal_variation(each, normal, match_normal(each, normal, 12), 4, 0.8)
            for each in (rows, known)
        )
        places = sine_positions((4, 4), 24).repeat(2, 1)[cells.flatten()]
        present = torch.ones(1, len(known), dtype=torch.bool)
        unit = normal.square().mean().sqrt()
        directions = scorer.encoder((known / unit + places)[None], values[None] / unit, present)
        intrinsic = intrinsic_scores(residuals[None], directions)[0]
    expected = {
        "normal": 1 - like_normal,
        "banks": (like_known + 1 - like_normal) / 2,
        "residual": residuals.norm(dim=1),
        "full": (intrinsic + 1 - like_normal) / 2,
        "untrained": (intrinsic + 1 - like_normal) / 2,
    }
    for score, values in expected.items():
        torch.testing.assert_close(parts[score], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("score", ["full", "untrained", "residual"])
def test_a_patch_like_all_its_neighbours_has_the_lowest_score_in_float32(score):
    """Of the same features everywhere: the means of the bank are not the features bit by bit."""
    scorer, row = prepared(score), torch.linspace(0.1, 2.9, 24)
    alike = row.expand(32, -1)
    mean, std = images(1, 4).mean(), images(1, 4).std()
    scorer.banks["target"].fill((alike - mean) / std, mean, std)
    scorer.prepare()
    with torch.no_grad():
        found = scorer.score_features(row[None, :, None, None].expand(1, -1, 4, 4))["target"]
    torch.testing.assert_close(found.patches, torch.zeros(1, 4, 4), rtol=0, atol=1e-6)


def test_directions_are_those_of_the_references_and_no_unit_length_is_asked():
    scorer = prepared()
    assert scorer.directions.shape == (5, 24)
    assert not torch.equal(scorer.directions, normalize(scorer.directions, dim=1))


def test_a_direction_responds_most_to_the_patches_whose_residuals_are_most_like_it():
    scorer = prepared()
    with torch.no_grad():
        cosines, patches = scorer.responses(2)
        _, residuals = scorer.compare(scorer.references.features, scorer._normal)
    everything = cosine_similarity(scorer.directions[:, None], residuals[None], dim=2)
    assert cosines.shape == patches.shape == (5, 2)
    torch.testing.assert_close(cosines[:, 0], everything.amax(dim=1))
    torch.testing.assert_close(cosines, everything.gather(1, patches))


def test_no_more_patches_respond_than_there_are():
    scorer = prepared()
    count = len(scorer.references.features)
    with torch.no_grad():
        assert scorer.responses(count + 5)[1].shape == (5, count)


@pytest.mark.parametrize(
    ("score", "stages"),
    [
        ("full", ["encoder", "references", "banks"]),
        ("untrained", ["references", "banks"]),
        ("banks", ["references", "banks"]),
        ("residual", ["banks"]),
        ("normal", ["banks"]),
    ],
)
def test_what_needs_no_training_or_no_defect_has_no_stage_for_it(score, stages):
    plan = Ideal(FIT, score=score).plan(small_backbone())
    assert [stage.name for stage in plan.stages] == stages
    assert [stage.scope for stage in plan.stages if stage.name == "encoder"] in ([], ["run"])
    assert isinstance(plan.stages[-1], BankStage)


def test_the_rate_rises_in_a_line_and_falls_by_a_cosine():
    fit = Fit(epochs=6, episodes=8, batch=4, warmup=2, lr=1.0, low=0.1)
    rates = [rate_at(step, fit) for step in range(13)]
    assert rates[:5] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0])
    assert rates[8] == pytest.approx(0.55)
    assert rates[12] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "best"}, "method.score: expected one of full, untrained, residual, banks, norm"),
        ({"fit": {**FIT, "epochs": 0}}, "method.fit.epochs: expected a whole number of at least 1"),
        ({"fit": {**FIT, "over": "some"}}, "method.fit.over: expected one of anomalous, all, got"),
        ({"fit": {**FIT, "lr": 0}}, "method.fit.lr: expected a number above 0, got 0"),
        ({"variation": {"strength": 2}}, r"method.variation.strength: expected a number in \[0, 1"),
        ({"variation": {"neighbours": 0}}, "method.variation.neighbours: expected a whole number"),
        ({"top_share": 0}, "method.top_share: expected a number above 0, got 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Ideal(**{"fit": FIT, **options})
