"""Texts that a spreadsheet would run, and back."""

import csv
import io

import pytest

from fsad.results.record import ScoreRow, write_scores
from fsad.storage.csv_cells import guarded, plain

TEXTS = [
    "=1+1",
    "+a",
    "-cmd|x",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "''-a",
    "'a",
    "a=1",
    "",
    "'",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_and_no_spreadsheet_runs_it(text):
    written = guarded(text)
    assert not written.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert plain(written) == text


@pytest.mark.parametrize("cell", [-0.5, -3, None, True, "-0.25", "+3", "-1.5e-7", "1", "a/b.tiff"])
def test_numbers_stay_numbers_and_plain_texts_stay_as_they_are(cell):
    assert guarded(cell) == cell
    assert type(guarded(cell)) is type(cell)


def test_a_runs_scores_are_guarded_and_their_numbers_are_numbers(tmp_path):
    row = ScoreRow("-tile", "=a/test/good/xyz/0.tiff", True, "@bent", -0.5, {"target": -1e-7})
    write_scores(tmp_path / "scores.csv", [row])
    text = (tmp_path / "scores.csv").read_text()
    assert "\n'-tile,'=a/test/good/xyz/0.tiff,1,'@bent,-0.5,,-1e-07\n" in text
    (read,) = csv.DictReader(io.StringIO(text))
    assert [plain(read[name]) for name in ("category", "image", "defect")] == [
        "-tile",
        "=a/test/good/xyz/0.tiff",
        "@bent",
    ]
