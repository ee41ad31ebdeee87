"""Whole runs with another protocol: what a method needs is there, or is asked for by name."""

import csv
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from outcome import numbers
from PIL import Image
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.data.synthetic import Synthetic
from fsad.errors import ConfigError
from fsad.results.dataset import open_dataset
from fsad.results.record import read_result

ALONE = ("method=patchcore", "maps=false")
NO_METHOD = {"without": "method."}


class Photographs(Synthetic):
    """Generated photographs: a data set without depth."""

    modalities = ("rgb",)

    def samples(self, category, split):
        whole = super().samples(category, split)
        return [replace(sample, files={"rgb": sample.files["rgb"]}) for sample in whole]


def category(folder):
    return numbers(folder)[0]["tile"]


def test_few_shot_has_the_numbers_of_cross_domain_where_no_source_is_used(run, tmp_path):
    known = category(run(tmp_path / "a", *ALONE, "protocol=cross_domain", **NO_METHOD))
    found = category(run(tmp_path / "b", *ALONE, "protocol=few_shot", **NO_METHOD))
    assert (known.pop("n_source"), found.pop("n_source")) == (4, 0)
    assert found == known


def scores_of(folder):
    with (folder / "scores.csv").open() as file:
        return {row["image"]: float(row["score"]) for row in csv.DictReader(file)}


def test_photographs_alone_are_scored_predicted_and_exported(run, tmp_path):
    words = ("protocol=few_shot", "protocol.modality=rgb", "maps=true", "report=true")
    found = run(tmp_path / "run", *ALONE, *words, "threshold=true", **NO_METHOD)
    assert all("/rgb/" in shot for shot in category(found)["shots"])
    assert "/rgb/" in (found / "scores.csv").read_text().splitlines()[1]
    assert "audit" in (found / "report.html").read_text()
    known, root = scores_of(found), open_dataset(read_result(found / "result.json")).root
    exported = tmp_path / "model.onnx"
    done = CliRunner().invoke(app, ["export", str(found), "-o", str(exported)])
    assert done.exit_code == 0, done.output
    assert "of its images: scores within" in " ".join(done.output.split())
    model, file = fsad.load(found), fsad.load(exported)
    assert model.input == file.input
    for image, score in known.items():
        path = root / image
        prediction = model.predict(path)
        assert prediction.score == pytest.approx(score, rel=1e-6)
        assert prediction.map.shape == np.asarray(Image.open(path)).shape[:2]
        assert prediction.notes == ()
        assert file.predict(path).score == pytest.approx(score, rel=1e-4)
        assert file.predict(np.asarray(Image.open(path))).score == file.predict(path).score
    # Colours are looked at: the same image in grey is another.
    grey = np.asarray(Image.open(root / next(iter(known))).convert("L"))
    assert file.predict(grey).score != pytest.approx(known[next(iter(known))], rel=1e-3)
    folder = str((root / image).parent)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["predict", str(found), folder, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert len(list(out.glob("overlays/*.png"))) == len(list((root / image).parent.iterdir()))
    refused = CliRunner().invoke(app, ["predict", str(found), folder, "--unit", "mm"])
    assert refused.exit_code == 1
    assert "--unit: expected none with a model of rgb images, got 'mm'" in refused.stderr


@pytest.mark.parametrize("method", ["ast", "depth_inet", "part_mask"])
def test_a_method_made_for_depth_refuses_photographs(run, tmp_path, method):
    words = (f"method={method}", "protocol=few_shot", "protocol.modality=rgb")
    with pytest.raises(ConfigError, match=f"expected depth, which method {method} is made for"):
        run(tmp_path, *words, **NO_METHOD)
    assert not (tmp_path / "config.yaml").exists()


def test_a_method_that_needs_source_images_says_which_protocol_has_them(run, tmp_path):
    message = (
        "protocol: expected one with the role 'source', got one with shots, test. "
        "Choose the protocol that the method is made for, as in protocol=cross_domain."
    )
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, "protocol=few_shot")


def test_a_method_that_needs_shots_says_so_under_open_set(run, tmp_path):
    words = ("protocol=open_set", "protocol.reserve=2", "protocol.n_anomalies=2")
    with pytest.raises(ConfigError, match="expected one with the role 'shots', got one with norm"):
        run(tmp_path, *ALONE, *words, **NO_METHOD)


def test_a_data_set_of_photographs_alone_has_the_numbers_of_the_pairs(run, tmp_path, monkeypatch):
    module = ModuleType("photographs")
    module.Photographs = Photographs
    monkeypatch.setitem(sys.modules, "photographs", module)
    words = ("method=patchcore", "protocol=few_shot", "protocol.modality=rgb")
    target = "data.reader._target_=photographs.Photographs"
    known = category(run(tmp_path / "pairs", *words, **NO_METHOD))
    found = category(run(tmp_path / "alone", *words, target, **NO_METHOD))
    assert len(list((tmp_path / "alone/maps/tile").glob("*.png"))) == 6
    same = ("shots", "test_digest", "bank_rows", "n_test_good", "n_test_defect")
    assert [found[name] for name in same] == [known[name] for name in same]
    # What lies on the part, photographs do not tell.
    measures = ("image_auroc", "pixel_auroc", "aupro30", "aupro05")
    one, two = (each["target_only"] for each in (found, known))
    assert [one[name] for name in measures] == [two[name] for name in measures]
