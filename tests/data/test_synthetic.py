"""The generated data set on disk: the same bytes twice, never half of it, never a mixture."""

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from fsad.data.synthetic import Synthetic, write
from fsad.data.synthetic.defects import DEFECTS, DEPTH_DEFECTS
from fsad.data.synthetic.parts import PARTS
from fsad.data.synthetic.render import render_rgb, render_xyz
from fsad.data.synthetic.write import Draw

TINY = {
    "size": 32,
    "n_train": 2,
    "n_validation": 1,
    "n_test_good": 2,
    "n_test_defect": 1,
    "categories": ["bolt", "tile"],
    "defects": DEFECTS,
}


def digests(root):
    """Hash of every file, by its path below ``root``."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Synthetic(tmp_path_factory.mktemp("synthetic"), **TINY)


def test_layout_is_read_back_pixel_by_pixel(tiny):
    assert tiny.categories() == ["bolt", "tile"]
    for category in tiny.categories():
        counts = {split: len(tiny.samples(category, split)) for split in ("train", "validation")}
        assert counts == {"train": 2, "validation": 1}
        samples = tiny.samples(category, "test")
        assert [s.defect for s in samples] == [
            "bump",
            "cut",
            "dent",
            "good",
            "good",
            "hole",
            "stain",
        ]
        for sample in samples:
            made = Draw(32, 0, category, "test", sample.defect, int(sample.stem))
            scene = made.scene()
            defect = made.defect(scene)
            np.testing.assert_array_equal(tiny.read(sample, "rgb"), render_rgb(scene, defect))
            xyz = render_xyz(scene, defect)
            z = np.where(xyz[..., 2] > 0, xyz[..., 2], np.nan)
            np.testing.assert_array_equal(tiny.read(sample, "depth"), z)
            np.testing.assert_array_equal(tiny.read_mask(sample), defect.mask)


def test_every_test_image_has_a_mask_file_and_good_ones_are_empty(tiny):
    rgb = sorted(tiny.root.glob("*/test/*/rgb/*.png"))
    assert len(rgb) == 2 * (2 + len(DEFECTS))
    for path in rgb:
        kind = path.parent.parent
        with Image.open(kind / "gt" / path.name) as image:
            assert image.mode == "L"
            values = set(np.unique(np.asarray(image)))
        assert values == ({0} if kind.name == "good" else {0, 255})


def test_same_parameters_give_the_same_bytes(tiny, tmp_path):
    again = Synthetic(tmp_path, **TINY)
    assert again.root.name == tiny.root.name
    assert digests(again.root) == digests(tiny.root)


def test_another_seed_changes_every_image(tiny, tmp_path):
    other = Synthetic(tmp_path, **TINY, seed=1)
    assert other.root.name != tiny.root.name
    before, after = digests(tiny.root), digests(other.root)
    assert before.keys() == after.keys()
    empty = {name for name in before if "good/gt" in name}
    assert not [name for name in before.keys() - empty if before[name] == after[name]]


def test_no_two_samples_are_the_same(tiny):
    images = [digest for name, digest in digests(tiny.root).items() if "/gt/" not in name]
    assert len(set(images)) == len(images)


def test_raising_a_count_adds_samples_and_changes_none(tiny, tmp_path):
    more = digests(Synthetic(tmp_path, **{**TINY, "n_train": 3, "n_test_defect": 2}).root)
    fewer = digests(tiny.root)
    del fewer["synthetic.json"]
    assert fewer.items() < more.items()


def test_record_holds_the_parameters(tiny):
    record = json.loads((tiny.root / "synthetic.json").read_text())
    assert record["seed"] == 0
    assert {name: record[name] for name in TINY} == {**TINY, "defects": sorted(DEFECTS)}


def test_default_is_every_part_with_the_defects_that_depth_shows(tmp_path):
    small = {"size": 32, "n_train": 1, "n_validation": 0, "n_test_good": 1, "n_test_defect": 1}
    data = Synthetic(tmp_path, **small)
    assert data.categories() == sorted(PARTS)
    kinds = {sample.defect for sample in data.samples("knob", "test")}
    assert kinds == {"good", *DEPTH_DEFECTS}
    assert data.samples("knob", "validation") == []


def test_second_use_writes_nothing_and_order_of_names_does_not_matter(tiny):
    def times(root):
        return {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    before = times(tiny.root.parent)
    again = Synthetic(tiny.root.parent, **{**TINY, "categories": ["tile", "bolt"]})
    assert again.root == tiny.root
    assert times(tiny.root.parent) == before


def test_writers_at_once_share_one_complete_set(tiny, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        roots = {data.root for data in pool.map(lambda _: Synthetic(tmp_path, **TINY), range(3))}
    assert [*tmp_path.iterdir()] == [*roots]
    assert digests(roots.pop()) == digests(tiny.root)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_interrupted_generation_leaves_nothing_and_the_next_is_complete(
    tiny, tmp_path, monkeypatch, stop
):
    complete, calls = write._write, []

    def interrupted(root, sample):
        calls.append(sample)
        if len(calls) == 5:
            raise stop
        complete(root, sample)

    with monkeypatch.context() as patch:
        patch.setattr(write, "_write", interrupted)
        with pytest.raises(type(stop)):
            Synthetic(tmp_path, **TINY)
    assert not [*tmp_path.iterdir()]
    assert digests(Synthetic(tmp_path, **TINY).root) == digests(tiny.root)


def test_what_a_killed_generation_left_behind_is_never_read(tiny, tmp_path, monkeypatch):
    # SIGKILL runs no clean-up: the hidden, unfinished folder stays.
    def killed(root, sample):
        (root / sample.category).mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "_write", killed)
        patch.setattr(write.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            Synthetic(tmp_path, **TINY)
    assert [path.name[0] for path in tmp_path.iterdir()] == ["."]
    assert digests(Synthetic(tmp_path, **TINY).root) == digests(tiny.root)
