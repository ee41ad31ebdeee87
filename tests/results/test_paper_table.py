"""The paper's Table 1: complete, recomputed, and shown only where it belongs."""

import pytest
from test_table import run

from fsad.results.table import collect, write_table
from fsad.results.table.paper import beside, paper_table

METHODS = {"Depth iNet", "SIFT", "AST", "3DSR", "M3DM", "HyperTrans"}


def numbers(shots, method):
    return {
        each.category: each
        for each in paper_table()
        if (each.shots, each.method) == (shots, method)
    }


def test_every_row_has_ten_categories_and_their_recomputed_mean():
    for shots in (1, 2, 5):
        for method in METHODS - ({"HyperTrans"} if shots == 1 else set()):  # illegible as a whole
            row = numbers(shots, method)
            mean = row.pop("mean")
            assert len(row) == 10
            known = [each.image_auroc for each in row.values() if each.image_auroc is not None]
            if len(known) == 10:
                assert mean.image_auroc == pytest.approx(sum(known) / 10, abs=1e-4)
            else:
                assert mean.image_auroc is None
                assert mean.note


def test_known_numbers_of_the_paper():
    assert numbers(5, "HyperTrans")["carrot"].image_auroc == 0.998
    assert numbers(5, "HyperTrans")["mean"].image_auroc == pytest.approx(0.831, abs=5e-4)
    assert numbers(2, "AST")["mean"].note == "recomputed; printed 0.654"
    assert numbers(2, "SIFT")["potato"].image_auroc is None


def test_only_the_same_data_shots_and_categories_are_beside():
    assert beside("Eyecandies", 5, ["bagel"]) == []
    assert beside("mvtec3d", 3, ["bagel"]) == []
    assert beside("mvtec3d", 5, ["my_part"]) == []
    assert {each.method for each in beside("mvtec3d", 5, ["bagel"])} == METHODS
    assert "mean" not in {each.category for each in beside("mvtec3d", 5, ["bagel"])}
    everything = [each.category for each in paper_table()]
    assert "mean" in {each.category for each in beside("mvtec3d", 5, everything)}


def test_the_table_shows_them_below_with_a_warning(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5}, shots=5)
    text = write_table(tmp_path, collect([tmp_path]))[0].read_text()
    head, _, line = text.partition("Table 1")[2].strip("*, imageAUROC\n").splitlines()[:3]
    cells = dict(zip(*(each.strip("| ").split(" | ") for each in (head, line)), strict=True))
    assert (cells["category"], cells["HyperTrans"], cells["SIFT"]) == ("bagel", "0.922", "0.568")
    assert "not comparable where" in text


def test_other_data_have_no_such_table(tmp_path):
    run(tmp_path / "0", {"my_part": 0.5}, shots=5)
    assert "Table 1" not in write_table(tmp_path, collect([tmp_path]))[0].read_text()
