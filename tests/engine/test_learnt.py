"""What was learnt from the test split is written down, and never tested again."""

import json

import pytest

from fsad.data.sample import Sample
from fsad.data.task import Role, Task
from fsad.engine.learnt import LEARNT, record_learnt, refuse_learnt
from fsad.errors import DataError, RunError


def sample(stem, split="test", defect="dent"):
    return Sample("tile", split, defect, stem, {"rgb": f"{split}/{stem}.png"})


def task(seen, tested):
    normals = Role([sample("0", "train", "good")], "rgb")
    anomalies = Role([sample(stem) for stem in seen], "rgb", labels=True)
    roles = {"normals": normals, "seen_anomalies": anomalies}
    return Task("tile", roles, Role([sample(stem) for stem in tested], "rgb"))


def test_the_same_task_goes_on(tmp_path):
    record_learnt(tmp_path, task("ab", "cd"))
    assert json.loads((tmp_path / LEARNT).read_text())["images"] == [
        "tile/test/dent/a",
        "tile/test/dent/b",
    ]
    refuse_learnt(tmp_path, task("ba", "dc"))
    refuse_learnt(tmp_path, task("ab", "cde"))  # more may be tested


def test_a_lost_record_beside_what_was_trained_is_refused(tmp_path):
    (tmp_path / "fit.ckpt").touch()
    with pytest.raises(RunError, match="expected the record of the test images that were learnt"):
        refuse_learnt(tmp_path, task("a", "b"))
    refuse_learnt(tmp_path, task("", "b"))


def test_where_no_test_image_is_learnt_from_nothing_is_written(tmp_path):
    record_learnt(tmp_path, task("", "ab"))
    assert not list(tmp_path.iterdir())
    refuse_learnt(tmp_path, task("a", "b"))


@pytest.mark.parametrize(
    ("today", "message"),
    [
        (task("a", "bc"), "no test image that was learnt from, got tile/test/dent/b"),
        (
            task("abc", "d"),
            "the same images to learn from, got a difference: tile/test/dent/c",
        ),
        (
            task("a", "cd"),
            "the same images to learn from, got a difference: tile/test/dent/b",
        ),
    ],
)
def test_another_task_is_refused(tmp_path, today, message):
    record_learnt(tmp_path, task("ab", "cd"))
    with pytest.raises(
        RunError, match=rf"learnt\.json: expected {message}.* or start a new run\.$"
    ):
        refuse_learnt(tmp_path, today)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": 3}', '{"images": [], "digest": "0"}'])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / LEARNT).write_text(text)
    with pytest.raises(DataError, match=r"learnt\.json: .* got a file that cannot be read"):
        refuse_learnt(tmp_path, task("a", "b"))
