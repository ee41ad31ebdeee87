"""A whole run keeps samples of features for figures, and no number changes by it."""

import shutil

import pytest
import torch
from outcome import numbers

from fsad.errors import DataError
from fsad.nn.extractor import PatchExtractor
from fsad.report.features import kept_features
from fsad.report.sections import perturbation as panels
from fsad.report.sections.perturbation import perturbation
from fsad.report.sections.rectification import rectification
from fsad.results.feature_samples import read_embeddings
from fsad.results.record import read_result
from fsad.storage.tensors import read_tensors

CATEGORY = "categories/tile"
FILE = f"{CATEGORY}/embeddings.safetensors"


@pytest.fixture(scope="module", autouse=True)
def no_page():
    """Keep what a report is drawn from, and draw none: t-SNE takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fsad.run.job.write_page", lambda _: None)
        yield


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    """A finished run with every stage on, for a report."""
    return run(tmp_path_factory.mktemp("kept"), "report=true")


def same(first, second):
    ours, theirs = (read_embeddings(folder / CATEGORY) for folder in (first, second))
    return ours.keys() == theirs.keys() and all(
        torch.equal(rows, theirs[name]) for name, rows in ours.items()
    )


def test_bank_rows_that_are_kept_are_rows_of_the_banks(finished):
    kept = read_embeddings(finished / CATEGORY)
    banks, _ = read_tensors(finished / CATEGORY / "banks.safetensors")
    for domain in ("source", "target"):
        rows, bank = kept[f"rectify.{domain}"], banks[f"{domain}.features"]
        assert (rows[:, None] == bank).all(dim=2).any(dim=1).all()
        assert not torch.equal(kept[f"rectify.{domain}_rectified"], rows)


def test_a_run_whose_kept_samples_are_lost_is_not_finished(finished, run, tmp_path, caplog):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / FILE).unlink()
    caplog.set_level("INFO")
    run(folder, f"resume={folder}")
    assert "tile: not finished (no embeddings.safetensors); continuing" in caplog.text
    assert same(folder, finished)


@pytest.mark.parametrize("off", ["report=false", "maps=false"])
def test_without_them_scores_and_results_are_the_same_to_the_last_bit(finished, run, tmp_path, off):
    run(tmp_path, "report=true", off)
    assert not (tmp_path / FILE).exists()
    assert numbers(tmp_path) == numbers(finished)
    for name in ("scores.csv", f"{CATEGORY}/scores.csv"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()
    for name in ("perturb", "rectify", "banks", "patch_scores"):
        ours, theirs = (
            read_tensors(folder / CATEGORY / f"{name}.safetensors")[0]
            for folder in (tmp_path, finished)
        )
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def test_a_run_that_tests_another_again_keeps_the_same(finished, run, tmp_path):
    assert same(run(tmp_path, f"ckpt={finished}", "report=true"), finished)


def test_a_resumed_run_whose_stages_are_there_keeps_the_same(finished, run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    for name in (FILE, f"{CATEGORY}/category.json", "result.json"):
        (copy / name).unlink()
    run(copy, f"resume={copy}")
    assert same(copy, finished)


def test_a_run_that_takes_everything_from_the_cache_takes_them_too(
    finished, run, tmp_path, cache, monkeypatch
):
    own = ("report=true", "cache=default", f"paths.cache_dir={tmp_path / 'own'}")
    generated = f"data.root={cache}/synthetic"  # written once for all tests
    first = run(tmp_path / "first", *own, generated)
    assert same(first, finished)
    monkeypatch.setattr(PatchExtractor, "suffix", None)  # the backbone cannot be used any more
    second = run(tmp_path / "second", *own, generated, "method.beta=0.2")
    assert same(second, finished)


def test_a_method_that_trains_nothing_keeps_none(run, tmp_path):
    run(tmp_path, "method=patchcore", "report=true", without="method.")
    assert not (tmp_path / FILE).exists()
    assert kept_features([read_result(tmp_path / "result.json")]) == []


def test_figures_are_drawn_of_them_for_each_category_once(finished, monkeypatch):
    monkeypatch.setattr(panels, "POINTS", 20)  # t-SNE of more takes seconds
    result = read_result(finished / "result.json")

    def drawn():
        features = kept_features([result, result])
        return [*perturbation(features), *rectification(features)]

    sections = drawn()
    assert [section.name for section in sections] == ["perturbation-tile", "rectification-tile"]
    assert "1 other run kept features of the category too" in sections[0].html
    gap = result.categories["tile"].diagnostics["rectify"]["gap_over_norm_before"]
    assert f"{gap:.2f} of the mean norm before R" in sections[1].html
    assert sections == drawn()


def test_damaged_samples_are_refused_by_name(finished, tmp_path):
    shutil.copytree(finished / CATEGORY, tmp_path / CATEGORY)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=r"embeddings.safetensors: expected .*checksum"):
        read_embeddings(tmp_path / CATEGORY)
