"""Curves and heat maps over alpha and beta: closed forms, and every hole in sight."""

import json
import re
import statistics
from dataclasses import replace

import pytest

from fsad.metrics import METRICS
from fsad.report.diagnostics import diagnostics
from fsad.report.sweeps import curve_html, grids, heat_map_html, held
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
    numbers = {(0.3, 0.6): [(0.5, 0.9), (0.6, 0.7)], (0.3, 0.2): [(0.1, 0.2), (0.3, 0.6)]}
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
    means = [grid.cell((alpha, 0.6), "image_auroc").mean for alpha in (0.1, 0.3, 0.5)]
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
    assert grid.cell((0.1, 0.6), "image_auroc").mean == pytest.approx(0.6)
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
    assert grid.cell((0.2, 0.6), "image_auroc").mean == pytest.approx(0.8)


def test_a_curve_over_alpha_lies_at_the_papers_beta_where_that_was_run(run):
    results = [run(a, b, {"bolt": a + b / 10}) for a in (0.1, 0.3, 0.5) for b in (0.2, 0.6)]
    results.append(run(0.9, 0.2, {"bolt": 0.9}))
    (grid,) = grids(results)
    assert held(grid, "method.alpha") == 0.6
    html = curve_html(grid, "method.alpha", "curve")
    assert traces(html)[0]["y"] == [pytest.approx(a + 0.06) for a in (0.1, 0.3, 0.5)] + [None]
    assert "Category bolt. At β = 0.6." in html
    assert "1 of 4 values have no result: the line is broken there" in html
    assert "how much the numbers vary by chance is unknown" in html


def test_elsewhere_it_lies_where_most_points_are_and_says_so(run):
    results = [run(a, 0.2, {"bolt": a}) for a in (0.1, 0.3)] + [run(0.3, 0.6, {"bolt": 0.5})]
    (grid,) = grids(results)
    assert held(grid, "method.alpha") == 0.2
    assert "At β = 0.2" in curve_html(grid, "method.alpha", "curve")


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
    assert [section.name for section in diagnostics(results)] == expected


def test_runs_that_differ_in_another_setting_make_no_curve(run):
    assert (
        diagnostics([run(0.1, 0.6, {"bolt": 0.5}, knn=10), run(0.3, 0.6, {"bolt": 0.5}, knn=4)])
        == []
    )


def test_a_method_without_alpha_and_beta_has_none(run):
    assert diagnostics([run(None, None, {"bolt": 0.5}, ratio=r) for r in (0.1, 1.0)]) == []


def test_two_experiments_have_a_figure_each_that_says_which_it_is(run):
    results = [run(a, 0.6, {"bolt": 0.5}, knn=knn) for a in (0.1, 0.3) for knn in (4, 10)]
    sections = diagnostics(results)
    assert [section.name for section in sections] == ["alpha-0", "alpha-1"]
    assert ["knn 4" in sections[0].html, "knn 10" in sections[1].html] == [True, True]
