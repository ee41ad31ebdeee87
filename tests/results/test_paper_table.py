"""The paper's Table 1: complete, recomputed, and shown only where it belongs."""

import json

import pytest
from stored_protocols import CROSS_DOMAIN, FEW_SHOT
from test_table import run

from fsad.results.table import collect, table, write_table
from fsad.results.table.paper import ABOUT, DATASET, beside, paper_table

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
    of_five = {**ABOUT[0], "dataset": DATASET, "shots": 5}
    assert beside({**of_five, "dataset": "eyecandies"}, ["bagel"]) == []
    assert beside({**of_five, "shots": 3}, ["bagel"]) == []
    assert beside(of_five, ["my_part"]) == []
    assert {each.method for each in beside(of_five, ["bagel"])} == METHODS
    assert "mean" not in {each.category for each in beside(of_five, ["bagel"])}
    everything = [each.category for each in paper_table()]
    assert "mean" in {each.category for each in beside(of_five, everything)}


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


def run_under(folder, protocol, categories=("bagel",)):
    run(folder, dict.fromkeys(categories, 0.5), shots=5)
    path = folder / "result.json"
    result = json.loads(path.read_text())
    result["config"]["protocol"] = protocol
    path.write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("protocol", "is_beside"),
    [
        (CROSS_DOMAIN, True),
        (CROSS_DOMAIN | {"source_modality": "depth", "modality": "rgb"}, False),
        (FEW_SHOT, True),  # of a method without source images, as most of the table's rows are
        (FEW_SHOT | {"modality": "rgb"}, False),
    ],
    ids=["RGB to depth", "depth to RGB", "depth alone", "RGB alone"],
)
def test_only_runs_on_depth_have_the_papers_numbers_beside_them(tmp_path, protocol, is_beside):
    run_under(tmp_path / "0", protocol)
    content = table(collect([tmp_path]))
    assert bool(content.printed) == is_beside
    assert {bool(row.printed) for row in content.rows} == {is_beside}
    text = write_table(tmp_path, collect([tmp_path]))[0].read_text()
    assert ("Table 1" in text) == is_beside


def test_beside_each_other_only_the_row_of_the_papers_protocol_has_its_numbers(tmp_path):
    run_under(tmp_path / "0", CROSS_DOMAIN)
    run_under(tmp_path / "1", FEW_SHOT | {"modality": "rgb"})
    rows = {row.labels["protocol"]: row for row in table(collect([tmp_path])).rows}
    assert rows["cross_domain"].printed["HyperTrans"].image_auroc == 0.922
    assert rows["few_shot"].printed == {}


def test_the_papers_mean_stands_beside_a_mean_over_all_ten_categories_alone(tmp_path):
    everything = {each.category for each in paper_table()} - {"mean"}
    run_under(tmp_path / "0", CROSS_DOMAIN, ("bagel", "dowel"))
    (tmp_path / "whole").mkdir()
    run_under(tmp_path / "whole" / "0", CROSS_DOMAIN, everything)
    for folder, is_beside in ((tmp_path / "0", False), (tmp_path / "whole", True)):
        rows = table(collect([folder])).rows
        assert {bool(row.printed) for row in rows if row.labels["category"] == "mean"} == {
            is_beside
        }
