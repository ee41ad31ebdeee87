"""A file that was changed since it was exported is refused; one of an earlier version is said."""

import logging
import random
import zipfile

import onnx
import pytest
import torch
from exported_runs import LIMITS
from model_files import plain
from typer.testing import CliRunner

from fsad.cli import app
from fsad.data.input import DepthInput
from fsad.engine.trained import load_trained
from fsad.errors import DataError
from fsad.export.about import about
from fsad.export.module import traced
from fsad.export.pt2 import check_pt2, write_pt2
from fsad.predict.model_file.metadata import KEY
from fsad.predict.model_file.seal import SEAL
from fsad.predict.onnx import OnnxScorer, load_onnx

CHANGED = r"expected the file as it was exported, got one that was changed or damaged since\. Copy"


def flipped(path, place, bit, target):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    target.write_bytes(content)
    return target


def places(path, count):
    """Bytes of a file, chosen by chance, and those of its ends and its record."""
    content = path.read_bytes()
    chance = random.Random(0)
    record = content.find(b'"threshold"')
    return [record + 14, len(content) // 2, *(chance.randrange(len(content)) for _ in range(count))]


def test_any_flipped_bit_of_an_onnx_file_is_noticed(onnx_of, tmp_path):
    path = onnx_of("raw")[1]
    OnnxScorer(path)
    for number, place in enumerate(places(path, 40)):
        with pytest.raises(DataError, match=rf"damaged\.onnx: {CHANGED}"):
            OnnxScorer(flipped(path, place, number % 8, tmp_path / "damaged.onnx"))


def test_a_damaged_file_predicts_nothing_in_one_line(onnx_of, tmp_path):
    path = onnx_of("raw")[1]
    damaged = flipped(path, path.stat().st_size // 2, 3, tmp_path / "damaged.onnx")
    (tmp_path / "part.npy").touch()
    words = ["predict", str(damaged), str(tmp_path / "part.npy"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "got one that was changed or damaged since" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_of_an_earlier_version_is_used_and_said_once_to_have_no_digest(
    onnx_of, tmp_path, caplog
):
    whole = onnx_of("raw")[1]
    model = onnx.load(whole)
    kept = [each for each in model.metadata_props if each.key != SEAL]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "earlier.onnx")
    image = torch.rand(1, 1, 64, 64).numpy()
    with caplog.at_level(logging.WARNING):
        expected = OnnxScorer(whole).score(image)
        assert not caplog.records
        earlier = load_onnx(tmp_path / "earlier.onnx").scorer
        for _ in range(2):
            assert earlier.score(image).score == expected.score
    assert len(caplog.records) == 1
    assert "earlier.onnx: has no digest, so damage to it would not show" in caplog.text


def test_an_empty_file_is_no_model(tmp_path):
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(DataError, match="expected an ONNX model, got"):
        OnnxScorer(tmp_path / "empty.onnx")
    assert OnnxScorer(plain(tmp_path / "by_hand.onnx"))


@pytest.fixture(scope="module")
def pt2(run_of, tmp_path_factory):
    trained = load_trained(run_of("raw"))
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    write_pt2(traced(trained), about(trained, LIMITS, DepthInput(64)), path)
    return path


def test_a_pt2_file_says_what_it_is_without_being_loaded(pt2, run_of):
    assert check_pt2(pt2) == about(load_trained(run_of("raw")), LIMITS, DepthInput(64))
    extra = {KEY: "", SEAL: ""}
    torch.export.load(pt2, extra_files=extra)
    assert len(extra[SEAL]) == 64


def test_any_flipped_bit_of_what_a_pt2_file_holds_is_noticed(pt2, tmp_path):
    with zipfile.ZipFile(pt2) as archive:
        members = [it for it in archive.infolist() if it.file_size]
    content = pt2.read_bytes()
    for number, member in enumerate(members):
        names = int.from_bytes(
            content[member.header_offset + 26 : member.header_offset + 28], "little"
        )
        more = int.from_bytes(
            content[member.header_offset + 28 : member.header_offset + 30], "little"
        )
        start = member.header_offset + 30 + names + more
        damaged = flipped(pt2, start + member.file_size // 2, number % 8, tmp_path / "model.pt2")
        with pytest.raises(DataError, match=r"model\.pt2: expected .* as it was exported, got"):
            check_pt2(damaged)


def test_a_pt2_file_that_is_cut_or_has_no_digest_is_refused(pt2, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(pt2.read_bytes()[:1000])
    with pytest.raises(
        DataError, match=r"expected a file of torch\.export as it was exported, got"
    ):
        check_pt2(path)
    with zipfile.ZipFile(pt2) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if not name.endswith(SEAL):
                new.writestr(name, old.read(name))
    with pytest.raises(DataError, match="got one without a digest"):
        check_pt2(path)
    with zipfile.ZipFile(pt2) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"threshold": 3.5', b'"threshold": 9.5'))
    with pytest.raises(DataError, match=CHANGED):
        check_pt2(path)
