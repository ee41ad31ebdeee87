"""ShortcutStatistic statistics: what they measure, and when a category is called solved."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from fsad.cli import app
from fsad.data.inspect.audit import OF_DEPTH, OF_PHOTOGRAPHS, audit, audit_samples
from fsad.data.sample import Sample
from fsad.data.synthetic import Synthetic
from fsad.errors import DataError

SIZE = 40
FILES = {"rgb": Path("a"), "depth": Path("b")}


class Reader:
    """Images made up from the number in a sample's stem; half of them have a defect."""

    def __init__(self, leak=None):
        self.leak = leak

    def rng(self, sample):
        return np.random.default_rng(int(sample.stem))

    def read(self, sample, modality):
        return self.rgb(sample) if modality == "rgb" else self.depth(sample)

    def rgb(self, sample):
        image = self.rng(sample).integers(60, 120, (SIZE, SIZE, 3))
        if self.leak == "background":
            image[:, :10] += 100 * sample.is_anomalous
        return image.astype(np.uint8)

    def depth(self, sample):
        z = self.rng(sample).uniform(0.4, 0.5, (SIZE, SIZE)).astype(np.float32)
        if self.leak == "holes":
            z[:10] *= np.nan if sample.is_anomalous else 1
        return z

    def read_part(self, sample):  # noqa: ARG002
        part = np.zeros((SIZE, SIZE), dtype=bool)
        part[10:30, 10:30] = True
        return part


def samples(count=20):
    return [Sample("box", "test", "bent" if i % 2 else "good", str(i), FILES) for i in range(count)]


def of(found, modality, name):
    return next(row for row in found if (row.modality, row.statistic) == (modality, name))


def test_the_numbers_are_the_aurocs_of_the_statistics():
    reader, chosen = Reader(), samples()
    row = of(audit_samples(reader, "box", chosen), "depth", "standard deviation")
    stds = [reader.read(sample, "depth").std() for sample in chosen]
    assert row.auroc == pytest.approx(roc_auc_score([s.is_anomalous for s in chosen], stds))
    assert row.images == 20


@pytest.mark.parametrize(
    ("leak", "modality", "name", "value"),
    [
        ("background", "rgb", "background brightness", 1.0),
        ("holes", "depth", "area of valid pixels", 0.0),
    ],
)
def test_a_leak_is_found_in_either_direction(leak, modality, name, value):
    row = of(audit_samples(Reader(leak), "box", samples()), modality, name)
    assert row.auroc == value
    assert row.separation == 1.0
    assert row.solves


def test_images_that_differ_by_chance_alone_are_not_solved():
    found = audit_samples(Reader(), "box", samples(60))
    assert len(found) == len(OF_DEPTH) + len(OF_PHOTOGRAPHS)
    assert not any(row.solves for row in found)


def test_a_handful_of_images_is_not_called_solved():
    found = audit_samples(Reader("holes"), "box", samples(8))
    assert of(found, "depth", "area of valid pixels").separation == 1.0
    assert not any(row.solves for row in found)


def test_one_kind_of_images_has_nothing_to_separate():
    good = [sample for sample in samples() if not sample.is_anomalous]
    assert audit_samples(Reader(), "box", good) == []


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    counts = {"n_train": 1, "n_validation": 1, "n_test_good": 3, "n_test_defect": 1}
    return Synthetic(tmp_path_factory.mktemp("data"), size=64, categories=["knob"], **counts).root


def test_the_command_prints_a_table_per_category(generated):
    said = CliRunner().invoke(app, ["data", "audit", str(generated)])
    assert said.exit_code == 0
    assert said.output.count("knob") >= len(OF_DEPTH) + len(OF_PHOTOGRAPHS)
    assert "background brightness" in said.output


def test_a_data_set_without_defects_is_refused(generated, tmp_path):
    for path in (generated / "knob" / "test").iterdir():
        if path.name != "good":
            path.rename(tmp_path / path.name)
    try:
        with pytest.raises(DataError, match="expected good and defective test images, got one"):
            audit(generated)
    finally:
        for path in tmp_path.iterdir():
            path.rename(generated / "knob" / "test" / path.name)
