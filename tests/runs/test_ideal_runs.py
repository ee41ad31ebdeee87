"""Whole runs of IDEAL on tiny generated photographs: one data set is learnt from, one is tested."""

import csv
import json
import re
import shutil

import pytest
from outcome import numbers
from test_resume import Killed, at_step, kill_at

from fsad.data.sample import Sample
from fsad.engine.trained import load_trained
from fsad.errors import ConfigError, DataError, RunError
from fsad.export.from_run import export_run
from fsad.methods.ideal.training import EncoderModule
from fsad.nn.extractor import PatchExtractor

SOURCE = (
    "source.reader.size=64",
    "source.reader.n_train=4",
    "source.reader.n_validation=1",
    "source.reader.n_test_good=3",
    "source.reader.n_test_defect=1",
)
FIT = ("method.fit.epochs=3", "method.fit.episodes=6", "method.fit.batch=4", "method.vectors=6")
TARGET = ("data.reader.n_test_good=3",)


@pytest.fixture(scope="module")
def start(run):
    """``start(folder, *words)``: a run of the method."""

    def start(folder, *words, method="ideal", source=SOURCE):
        chosen = (f"method={method}", *source, *TARGET, *(FIT if method == "ideal" else ()))
        return run(folder, *chosen, *words, without="method.")

    return start


@pytest.fixture(scope="module")
def ended(start, tmp_path_factory):
    """A finished run of both target categories."""
    return start(tmp_path_factory.mktemp("ideal"), "data.category=all", "report=true")


def entries(folder):
    return json.loads((folder / "result.json").read_text())["categories"]


def rows_of(folder):
    with (folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_result_names_the_references_and_tests_none_of_them(ended):
    found = entries(ended)
    assert list(found) == ["knob", "tile"]
    for name, entry in found.items():
        assert [len(entry["shots"]), len(entry["anomalies"])] == [1, 1]
        assert entry["shots"][0].startswith(f"{name}/train/good/rgb/")
        tested = {row["image"] for row in rows_of(ended) if row["category"] == name}
        assert not tested & {*entry["shots"], *entry["anomalies"]}
        assert entry["n_test_good"] == 3
        assert entry["n_test_defect"] == 4  # of five kinds, one each, one is known
        assert entry["n_source"] == 2 * (3 + 5)
        assert len(entry["source_digest"]) == 64
        assert entry["image_auroc"] is not None
        assert entry["pixel_auroc"] is not None
        assert entry["seconds"]["encoder"] > 0


def test_the_report_shows_the_references_and_the_mask_of_the_defective_one(ended):
    page = (ended / "report.html").read_text()
    section = page.partition('<section id="references"')[2].partition("</section>")[0]
    for entry in entries(ended).values():
        assert f'alt="{entry["shots"][0]}"' in section
        assert f'alt="mask of {entry["anomalies"][0]}"' in section
    assert section.count("<img ") == 2 * 3


def test_the_report_shows_what_each_direction_responds_to(ended):
    page = (ended / "report.html").read_text()
    for name, entry in entries(ended).items():
        section = page.partition(f'<section id="directions-{name}"')[2].partition("</section>")[0]
        assert section.count("<figcaption>") == 6  # method.vectors
        shown = re.findall(r'alt="([^"]+), cosine (-?[0-9.]+)"', section)
        assert {file for file, _ in shown} == set(entry["anomalies"])
        assert all(-1 <= float(cosine) <= 1 for _, cosine in shown)


def test_the_encoder_is_trained_once_for_all_categories(ended):
    assert (ended / "encoder.safetensors").is_file()
    assert not list((ended / "categories").glob("*/encoder.safetensors"))
    assert len(list((ended / "categories").glob("*/references.safetensors"))) == 2


def test_a_finished_run_scores_as_it_did(ended, run, tmp_path):
    again = run(tmp_path / "again", f"ckpt={ended}", "data.category=all", without="method.")
    assert rows_of(again) == rows_of(ended)
    known = load_trained(ended, "tile").scorer.references
    assert len(known.features) == len(known.places) > 0


def test_a_file_of_torch_export_holds_the_references_and_onnx_has_no_eigenvalues(ended, tmp_path):
    exported = export_run(ended, "tile", tmp_path / "tile.pt2", "pt2")  # which proves its scores
    assert exported.path.is_file()
    with pytest.raises(RunError, match=r"^method: expected one that ONNX has the operators of"):
        export_run(ended, "tile", tmp_path / "tile.onnx")


def test_the_same_seed_gives_the_same_run_and_another_one_another(start, tmp_path):
    one, same, other = (
        start(tmp_path / str(number), f"seed={seed}") for number, seed in enumerate((0, 0, 1))
    )
    assert rows_of(one) == rows_of(same)
    assert rows_of(one) != rows_of(other)


def test_no_epoch_runs_the_backbone(start, tmp_path, monkeypatch):
    passes, before = [], []
    whole, step = PatchExtractor.prefix, EncoderModule.training_step
    monkeypatch.setattr(
        PatchExtractor, "prefix", lambda self, *words: passes.append(0) or whole(self, *words)
    )

    def counted(self, batch):
        before.append(len(passes))
        return step(self, batch)

    monkeypatch.setattr(EncoderModule, "training_step", counted)
    start(tmp_path / "run", "threshold=false")
    assert before == [2 * (3 + 5)] * 3  # each source image once, before the first epoch
    tested, references = 7, 2
    assert len(passes) == 16 + tested + references


def test_one_trained_encoder_serves_another_run_on_another_category(start, tmp_path, cache):
    words = ("cache=default", f"paths.cache_dir={cache}")
    first = start(tmp_path / "first", *words)
    second = start(tmp_path / "second", "data.category=knob", *words)
    one, other = ((each / "encoder.safetensors").read_bytes() for each in (first, second))
    assert one == other
    assert "encoder" in json.loads((second / "categories/knob/category.json").read_text())["reused"]


def test_an_interrupted_run_goes_on_to_the_same_end(start, run, tmp_path, monkeypatch):
    whole = start(tmp_path / "whole")
    with monkeypatch.context() as broken:
        kill_at(broken, EncoderModule, "training_step", at_step(2))
        with pytest.raises(Killed):
            start(tmp_path / "cut")
    run(tmp_path / "cut", f"resume={tmp_path / 'cut'}", without="method.")
    assert rows_of(tmp_path / "cut") == rows_of(whole)
    assert numbers(tmp_path / "cut") == numbers(whole)


@pytest.mark.parametrize("score", ["normal", "banks", "residual", "untrained"])
def test_each_score_without_training_runs_and_tables_tell_it_apart(start, tmp_path, score):
    folder = start(tmp_path / "run", f"method.score={score}")
    assert not (folder / "encoder.safetensors").exists()
    method = json.loads((folder / "result.json").read_text())["method"]
    assert method.startswith("ideal (")
    assert method in (folder / "table.md").read_text()


def test_other_methods_are_tested_on_the_same_images_with_the_same_references(
    start, ended, tmp_path
):
    words = ("protocol=cross_dataset", "source=synthetic", "data.category=all")
    other = start(tmp_path / "run", *words, method="patchcore")
    assert [row["image"] for row in rows_of(other)] == [row["image"] for row in rows_of(ended)]
    assert entries(other)["tile"]["shots"] == entries(ended)["tile"]["shots"]


def test_two_references_have_a_threshold_by_holding_each_out(start, tmp_path):
    folder = start(tmp_path / "run", "protocol.n_normal=2")
    threshold = json.loads((folder / "categories/tile/threshold.json").read_text())
    assert threshold["image"] is not None
    assert len(entries(folder)["tile"]["shots"]) == 2


# --- what is refused ---


def test_what_is_learnt_from_is_not_tested(start, tmp_path):
    message = r"source: expected other categories than those that are tested, got tile in both\."
    words = ("data.reader.categories=null", "data.reader.n_test_good=3")
    with pytest.raises(ConfigError, match=message):
        start(tmp_path / "run", *words, "source.category=[tile,bolt]")


def test_a_reference_with_an_empty_mask_is_named(start, tmp_path, monkeypatch):
    import numpy as np

    from fsad.data.synthetic import Synthetic

    whole = Synthetic.read_mask

    def emptied(self, sample: Sample):
        mask = whole(self, sample)
        return (
            mask if sample.category == "bolt" or sample.category == "gasket" else mask & np.False_
        )

    monkeypatch.setattr(Synthetic, "read_mask", emptied)
    message = re.compile(
        r"^tile/test/\w+/gt/\d+\.png: expected a mask that marks the defect of a reference, got an "
        r"empty one\. Mend it, or draw others with another data\.seed\.$"
    )
    with pytest.raises(DataError, match=message):
        start(tmp_path / "run")
    assert not (tmp_path / "run/encoder.safetensors").exists()  # it costs no training


def test_a_copy_of_a_tested_image_in_the_source_is_named(start, tmp_path, ended):
    """What is called otherwise, and lies elsewhere, is the same image all the same."""
    from fsad.results.dataset import open_dataset
    from fsad.results.record import read_result

    root = open_dataset(read_result(ended / "result.json")).root
    shutil.copytree(root / "tile", tmp_path / "there/renamed")
    message = (
        r"there/renamed/test/.*: expected no image that is tested among those of source, got a "
        r"copy of tile/test/.*\.png\. Name other categories in source\.category, or choose another "
        r"data set\.$"
    )
    words = ("source=mvtec3d", f"source.root={tmp_path / 'there'}", "data.category=tile")
    with pytest.raises(DataError, match=message):
        start(tmp_path / "run", *words, source=())
    assert not (tmp_path / "run/encoder.safetensors").exists()


def test_too_few_images_for_an_episode_are_named_before_any_token_is_made(
    start, tmp_path, monkeypatch
):
    monkeypatch.setattr("fsad.methods.ideal.training.source_tokens", lambda *_: pytest.fail("made"))
    message = r"^method\.fit\.normal: expected fewer references than the 3 such images of bolt"
    with pytest.raises(ConfigError, match=message):
        start(tmp_path / "run", "method.fit.normal=3")


def test_a_reference_with_a_mask_of_another_size_is_named(start, tmp_path, monkeypatch):
    from fsad.data.synthetic import Synthetic

    whole = Synthetic.read_mask

    def cut(self, sample: Sample):
        mask = whole(self, sample)
        return mask[:-1] if sample.category == "tile" and sample.is_anomalous else mask

    monkeypatch.setattr(Synthetic, "read_mask", cut)
    message = r"tile/test/.*: expected the size of .*, \(64, 64\), got \(63, 64\)"
    with pytest.raises(DataError, match=message):
        start(tmp_path / "run")


def test_images_keep_no_shape(start, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.resize: expected square with method ideal"):
        start(tmp_path / "run", "data.resize=keep")
