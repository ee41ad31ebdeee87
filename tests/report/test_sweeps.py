"""Curves and heat maps over numbers of a method: closed forms, and every hole in sight."""

import json
import re
import statistics
from dataclasses import replace

import pytest

from fsad.metrics import METRICS
from fsad.report.grid import grids, symbol
from fsad.report.sections.sweeps import curve_html, heat_map_html, sweeps
from fsad.results.record import CategoryResult, read_result, write_result

BACKBONE = {"name": "tiny", "weights": "shipped", "sha256": "ab" * 32}


def category(value):
    return CategoryResult(
        shots=["000.tiff"],
        n_source=40,
        n_test_good=10,
        n_test_defect=20,
        fused={name: None if value is None else value + i / 100 for i, name in enumerate(METRICS)},
        source_only={},
        target_only={},
        part_mask={},
        bank_rows={"source": 4, "target": 4},
        seconds={},
        backbone_seconds=1.0,
        peak_rss_mb=1.0,
    )


@pytest.fixture
def run(tmp_path):
    """Write one run's result.json and read it back; ``values`` holds a number per category."""

    def write(alpha, beta, values, seed=0, method="hypertrans", **more):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}" / "result.json"
        path.parent.mkdir()
        settings = more if alpha is None else {"alpha": alpha, "beta": beta, **more}
        config = {
            "seed": seed,
            "data": {"category": list(values), "shots": 1, "reader": {"_target_": "a.Made"}},
            "backbone": {"name": "tiny"},
            "method": settings,
        }
        categories = {name: category(value) for name, value in values.items()}
        write_result(path, method, seed, config, BACKBONE, categories, {})
        return read_result(path)

    return write


def traces(html):
    """Return the traces of the plotly figure in a piece of HTML."""
    start = re.search(r'Plotly\.newPlot\(\s*"[^"]+",\s*', html).end()
    return json.JSONDecoder().raw_decode(html[start:])[0]


def test_a_cell_is_the_mean_over_seeds_of_the_means_over_categories(run):
    numbers = {(0.3, 0.6): [(0.5, 0.9), (0.6, 0.7)], (0.1, 0.2): [(0.1, 0.2), (0.3, 0.6)]}
    results = [
        run(*place, {"bolt": bolt, "tile": tile}, seed=seed)
        for place, seeds in numbers.items()
        for seed, (bolt, tile) in enumerate(seeds)
    ]
    (grid,) = grids(results)
    for place, seeds in numbers.items():
        means = [(bolt + tile) / 2 for bolt, tile in seeds]
        cell = grid.cell(place, "image_auroc")
        assert (cell.mean, cell.std) == pytest.approx((sum(means) / 2, statistics.stdev(means)))
        assert grid.cell(place, "pixel_auroc").mean == pytest.approx(sum(means) / 2 + 0.01)


def test_the_heat_map_holds_the_cells_and_crosses_the_holes_out(run):
    values = {(0.1, 0.2): 0.5, (0.1, 0.6): 0.6, (0.5, 0.2): 0.7}  # (0.5, 0.6) was not run
    (grid,) = grids([run(*place, {"bolt": value}) for place, value in values.items()])
    html = heat_map_html(grid, "map")
    first, crosses = traces(html)[:2]
    assert (first["x"], first["y"]) == (["0.1", "0.5"], ["0.2", "0.6"])
    assert first["z"] == [[0.5, 0.7], [0.6, None]]
    assert (crosses["x"], crosses["y"]) == (["0.5"], ["0.6"])
    assert "1 of 4 places have no result and are crossed out" in html


def test_a_seed_without_one_of_the_categories_is_a_hole_not_a_mean_of_another_kind(run):
    results = [
        run(0.1, 0.6, {"bolt": 0.5, "tile": 0.7}),
        run(0.3, 0.6, {"bolt": 0.9}),
        run(0.5, 0.6, {"bolt": 0.9, "tile": None}),
    ]
    (grid,) = grids(results)
    means = [grid.cell((alpha,), "image_auroc").mean for alpha in (0.1, 0.3, 0.5)]
    assert means == [pytest.approx(0.6), None, None]
    assert traces(curve_html(grid, "method.alpha", "curve"))[0]["y"] == [
        pytest.approx(0.6),
        None,
        None,
    ]


@pytest.fixture
def lacking(run):
    """Runs over alpha in which metrics of ``tile`` are undefined."""

    def write(metrics, categories=("bolt", "tile"), places=((0.1, 0.6), (0.3, 0.6))):
        results = []
        for alpha, beta in places:
            result = run(alpha, beta, dict.fromkeys(categories, 0.5 + alpha))
            tile = result.categories["tile"]
            result.categories["tile"] = replace(
                tile,
                fused={**tile.fused, **dict.fromkeys(metrics)},
                undefined=dict.fromkeys(metrics, "no test image is <defective>"),
            )
            results.append(result)
        return results

    return write


def test_a_category_without_the_metric_is_left_out_and_that_is_said(lacking):
    (grid,) = grids(lacking(["image_auroc"]))
    assert grid.cell((0.1,), "image_auroc").mean == pytest.approx(0.6)
    html = curve_html(grid, "method.alpha", "curve")
    assert traces(html)[0]["y"] == pytest.approx([0.6, 0.8])
    assert "image AUROC is undefined in tile: no test image is &lt;defective&gt;." in html
    assert "have no result" not in html


def test_a_metric_that_no_run_has_gets_no_empty_figure(lacking):
    (grid,) = grids(lacking(["pixel_auroc", "pixel_auroc_part"], ["tile"]))
    html = curve_html(grid, "method.alpha", "curve")
    assert len(traces(html)) == 1
    assert "in-part pixel AUROC is undefined in tile" in html
    (grid,) = grids(lacking(["image_auroc", "pixel_auroc", "pixel_auroc_part"], ["tile"]))
    html = curve_html(grid, "method.alpha", "curve")
    assert "Plotly" not in html
    assert html.startswith("<p>Category tile. image AUROC is undefined in tile: no test image")


def test_without_an_image_auroc_the_heat_map_has_the_pixel_metrics(lacking):
    places = [(alpha, beta) for alpha in (0.1, 0.3) for beta in (0.2, 0.6)]
    (grid,) = grids(lacking(["image_auroc"], ["tile"], places))
    html = heat_map_html(grid, "map")
    assert len(traces(html)) == 4  # two maps, and their crosses
    assert "crossed out" not in html
    assert "One seed each" in html


def test_categories_run_one_by_one_are_put_together(run):
    values = {"bolt": 0.5, "tile": 0.7}
    results = [run(a, 0.6, {name: value + a}) for a in (0.1, 0.2) for name, value in values.items()]
    (grid,) = grids(results)
    assert grid.cell((0.2,), "image_auroc").mean == pytest.approx(0.8)


def test_a_curve_lies_where_most_points_are_and_says_where(run):
    results = [run(a, b, {"bolt": a + b / 10}) for a in (0.1, 0.3, 0.5) for b in (0.2, 0.6)]
    results += [run(0.4, 0.6, {"bolt": 0.46}), run(0.9, 0.2, {"bolt": 0.9}, knn=10)]
    results += [run(a, 0.2, {"bolt": 0.9}, knn=10) for a in (0.1, 0.3)]
    (grid, _) = grids(results)  # runs that name another number are others
    assert grid.held("method.alpha") == {"method.beta": 0.6}
    html = curve_html(grid, "method.alpha", "curve")
    assert traces(html)[0]["x"] == [0.1, 0.3, 0.4, 0.5]
    assert traces(html)[0]["y"] == [pytest.approx(a + 0.06) for a in (0.1, 0.3, 0.4, 0.5)]
    assert "Category bolt. At β = 0.6." in html
    assert "how much the numbers vary by chance is unknown" in html


def test_a_value_that_was_not_run_there_breaks_the_line(run):
    results = [run(a, 0.2, {"bolt": a}) for a in (0.1, 0.3)] + [run(0.2, 0.6, {"bolt": 0.5})]
    (grid,) = grids(results)
    html = curve_html(grid, "method.alpha", "curve")
    assert traces(html)[0]["y"] == [pytest.approx(0.1), None, pytest.approx(0.3)]
    assert "1 of 3 values have no result: the line is broken there" in html


@pytest.mark.parametrize(("betas", "middle"), [((0.2, 0.6, 0.9), 0.6), ((0.0, 0.2, 0.6, 0.9), 0.2)])
def test_of_several_values_with_as_many_points_the_middle_one_stays(run, betas, middle):
    (grid,) = grids([run(a, b, {"bolt": 0.5}) for a in (0.1, 0.3) for b in betas])
    assert grid.held("method.alpha") == {"method.beta": middle}


def test_a_curve_over_the_only_number_that_varies_says_nothing_of_the_others(run):
    (grid,) = grids([run(a, 0.6, {"bolt": a}) for a in (0.1, 0.3)])
    html = curve_html(grid, "method.alpha", "curve")
    assert "Category bolt. One seed each" in html
    assert "choosing α by them would be tuning on the test set" in html


def test_the_spread_over_seeds_is_the_sample_standard_deviation(run):
    values = [0.5, 0.6, 0.8]
    results = [run(a, 0.6, {"bolt": v}, seed=s) for a in (0.1, 0.3) for s, v in enumerate(values)]
    (grid,) = grids(results)
    html = curve_html(grid, "method.alpha", "curve")
    assert traces(html)[0]["error_y"]["array"] == [pytest.approx(statistics.stdev(values))] * 2
    assert "Mean ± sample standard deviation over 3 seeds" in html


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(0.3, 0.6)], []),
        ([(0.1, 0.6), (0.3, 0.6)], ["alpha-0"]),
        ([(0.3, 0.2), (0.3, 0.6)], ["beta-0"]),
        ([(0.1, 0.2), (0.3, 0.6)], ["alpha-beta-0"]),  # a diagonal is no curve
        ([(a, b) for a in (0, 1) for b in (0, 1)], ["alpha-beta-0", "alpha-0", "beta-0"]),
    ],
)
def test_a_figure_is_drawn_only_where_runs_vary_what_it_shows(run, places, expected):
    results = [run(*place, {"bolt": 0.5}, seed=seed) for place in places for seed in (0, 1)]
    assert [section.name for section in sweeps(results)] == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"scale": "one"}, {"scale": "median"}),
        ({"rectify_banks": True}, {"rectify_banks": False}),
        ({"rotations": "auto"}, {"rotations": 4}),
        ({"bank_max_rows": None}, {"bank_max_rows": 100}),
        ({}, {"knn": 4}),
    ],
    ids=["a word", "a switch", "a word or a number", "nothing or a number", "unnamed"],
)
def test_runs_that_differ_in_what_is_no_number_make_no_curve(run, one, other):
    results = [run(0.1, 0.6, {"bolt": 0.5}, **one), run(0.3, 0.6, {"bolt": 0.5}, **other)]
    assert sweeps(results) == []


def test_numbers_of_the_run_that_are_not_the_methods_make_no_curve(run):
    results = [run(0.3, 0.6, {"bolt": 0.5}) for _ in range(2)]
    results[1].config["data"]["shots"] = 5
    assert sweeps(results) == []


def test_any_number_of_any_method_has_a_curve(run):
    values = {3: 0.5, 5: 0.7, 9: 0.6}
    settings = [{"window": {"Cells": window}, "shrinkage": 0.1} for window in values]
    results = [
        run(None, None, {"bolt": value}, method="padim", **more)
        for more, value in zip(settings, values.values(), strict=True)
    ]
    (section,) = sweeps(results)
    assert (section.name, section.title) == ("cells-0", "Scores over Cells")
    curve = traces(section.html)[0]
    assert (curve["x"], curve["y"]) == ([3, 5, 9], [0.5, 0.7, 0.6])
    assert "choosing Cells by them would be tuning on the test set" in section.html


def test_two_numbers_with_the_same_last_name_are_told_apart(run):
    results = [
        run(None, None, {"bolt": 0.5}, first={"epochs": a}, second={"epochs": b})
        for a in (1, 2)
        for b in (1, 2)
    ]
    names = [section.name for section in sweeps(results)]
    one, other = "method-first-epochs", "method-second-epochs"
    assert names == [f"{one}-{other}-0", f"{one}-0", f"{other}-0"]


def test_of_three_numbers_each_has_a_curve_where_the_others_have_most_points(run):
    results = [
        run(a, b, {"bolt": a}, knn=knn) for a in (0.1, 0.3) for b in (0.2, 0.6) for knn in (4, 10)
    ]
    results.append(run(0.5, 0.6, {"bolt": 0.5}, knn=10))
    sections = sweeps(results)
    assert [section.name for section in sections] == ["alpha-0", "beta-0", "knn-0"]
    assert "At β = 0.6, knn = 10." in sections[0].html
    assert traces(sections[0].html)[0]["y"] == [0.1, 0.3, 0.5]
    assert "choosing α or β or knn by them" in sections[0].html


def test_two_experiments_have_a_figure_each_that_says_which_it_is(run):
    results = [run(a, 0.6, {"bolt": 0.5}, scale=s) for a in (0.1, 0.3) for s in ("one", "two")]
    sections = sweeps(results)
    assert [section.name for section in sections] == ["alpha-0", "alpha-1"]
    assert ["scale one" in sections[0].html, "scale two" in sections[1].html] == [True, True]


def test_a_name_of_a_setting_is_no_markup(run):
    results = [run(None, None, {"bolt": 0.5}, **{"<b>": number}) for number in (1, 2)]
    (section,) = sweeps(results)
    assert section.name == "-b-0"
    assert "<b>" not in section.html


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("alpha", "α"),
        ("beta", "β"),
        ("lambda", "λ"),
        ("Sigma", "σ"),
        ("std", "std"),
        ("p_x", "p_x"),
    ],
)
def test_the_name_of_a_greek_letter_is_shown_as_the_letter(name, shown):
    assert symbol(name) == shown
