"""What the generated data set refuses, and the line it says so in."""

import pytest

from fsad.data.synthetic import Synthetic, write
from fsad.errors import ConfigError, DataError, OutputError

SMALL = {"size": 32, "n_train": 1, "n_test_good": 1, "n_test_defect": 1, "categories": ["tile"]}


@pytest.mark.parametrize("wrong", ["bolt", ["screw"], [], ["bolt", "bolt"]])
def test_categories_must_be_different_known_names(tmp_path, wrong):
    names = (
        r"^data\.reader\.categories: expected a list of names out of bolt, gasket, knob, tile, got"
    )
    with pytest.raises(ConfigError, match=names):
        Synthetic(tmp_path, categories=wrong)


def test_defects_must_be_known_names(tmp_path):
    message = (
        r"^data\.reader\.defects: expected a list of names out of bump, .*, stain, "
        r"got \['scratch'\]$"
    )
    with pytest.raises(ConfigError, match=message):
        Synthetic(tmp_path, defects=["scratch"])


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("size", 31, 32),
        ("n_train", 0, 1),
        ("n_validation", -1, 0),
        ("n_test_good", 0, 1),
        ("n_test_defect", 0, 1),
        ("seed", -1, 0),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, name, value, least):
    message = f"^data.reader.{name}: expected a whole number of at least {least}, got {value}"
    with pytest.raises(ConfigError, match=message):
        Synthetic(tmp_path, **{name: value})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("text", "got"), [(None, "none"), ("{", "none"), ("{}", "others")])
def test_folder_of_another_making_is_refused_with_the_remedy(tmp_path, text, got):
    root = Synthetic(tmp_path, **SMALL).root
    record = root / "synthetic.json"
    record.unlink() if text is None else record.write_text(text)
    message = (
        rf"synthetic\.json: expected the parameters of this data set, got {got}\. "
        rf"Delete '.*{root.name}' to have it made again\."
    )
    with pytest.raises(DataError, match=message):
        Synthetic(tmp_path, **SMALL)


def test_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="synthetic data: expected a folder that can be written"):
        Synthetic(tmp_path / "file", **SMALL)


def test_full_disk_is_reported_and_cleaned_up(tmp_path, monkeypatch):
    def full(root, sample):
        (root / sample.category).mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "_write", full)
    message = (
        r"synthetic data: expected to write to '.*', got 'No space left on device'\. "
        r"Free some space or choose another folder\."
    )
    with pytest.raises(OutputError, match=message):
        Synthetic(tmp_path, **SMALL)
    assert not [*tmp_path.iterdir()]
