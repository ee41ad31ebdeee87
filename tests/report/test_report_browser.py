"""The page in a real browser: it computes what Python computes, and asks for nothing."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from made_run import BETA, SIGMA, SIZE, images_in, make_run

from fsad.data.transforms import load_tensors
from fsad.functional.scoring import anomaly_maps, fuse, image_scores
from fsad.metrics import METRICS
from fsad.metrics.exact import auroc
from fsad.metrics.masks import number_regions
from fsad.metrics.pro import pro_curve
from fsad.report import write_report
from fsad.report.scores import worst_first
from fsad.results.dataset import test_samples as samples_of
from fsad.results.record import read_result
from fsad.scores.combination import Combination
from fsad.scores.threshold import THRESHOLD, HeldOut, Threshold

BETAS = (0.0, 0.1, 1 / 3, 0.6, 0.77, 1.0)
NAMED = "explorer.categories.find(it => it.name === name)"


@pytest.fixture(scope="module")
def opened(visit, made, tmp_path_factory):
    """The report of the run with two categories, opened once: it takes seconds."""
    return visit(write_report([made[0]], tmp_path_factory.mktemp("page") / "report.html"))


@pytest.fixture
def here(opened):
    """The opened page, with everything chosen as at first."""
    opened.reset()
    return opened


def scores_in(here, name, beta):
    return here.js(f"([name, beta]) => [...explorer.imageScores({NAMED}, beta)]", [name, beta])


def scores_of(category, beta):
    return fuse(*(image_scores(it) for it in category.patches.values()), beta)


@pytest.mark.parametrize("beta", BETAS)
def test_image_scores_and_their_auroc_are_those_of_python(here, made, beta):
    for name, category in made[1].items():
        expected = scores_of(category, beta)
        assert scores_in(here, name, beta) == expected.tolist()  # to the last bit
        found = here.js(f"([name, beta]) => explorer.auroc({NAMED}, beta)", [name, beta])
        assert found == pytest.approx(auroc(expected, category.labels), abs=1e-6)


def test_at_the_runs_share_the_auroc_is_the_results(here, made):
    result = read_result(made[0] / "result.json")
    for name, each in result.categories.items():
        found = here.js(f"([name, beta]) => explorer.auroc({NAMED}, beta)", [name, BETA])
        assert found == pytest.approx(each.fused["image_auroc"], abs=1e-6)
    mean = here.js("explorer.meanAuroc(explorer.categories, explorer.state.share)")
    assert mean == pytest.approx(result.mean["image_auroc"], abs=1e-6)
    assert here.page.locator("#auroc").inner_text() == f"{mean:.3f}"


@pytest.mark.parametrize("beta", BETAS)
def test_maps_are_those_of_python(here, made, beta):
    category = made[1]["knob"]
    exact = [anomaly_maps(it[:2].double(), SIZE, SIGMA) for it in category.patches.values()]
    single = [anomaly_maps(it[:2], SIZE, SIGMA) for it in category.patches.values()]
    script = f"([name, place, kind, beta]) => [...explorer.map({NAMED}, place, kind, beta)]"
    for place in range(2):
        found = torch.tensor(here.js(script, ["knob", place, "fused", beta]), dtype=torch.float64)
        # Python's own maps are of float32, whose numbers near 6 lie 5e-7 apart.
        for maps, within in ((exact, 1e-9), (single, 1e-6)):
            expected = fuse(maps[0][place], maps[1][place], beta).double().flatten()
            assert float(((found - expected) / expected).abs().max()) < within


@pytest.mark.parametrize(("asked", "drawn"), [(0.0, 0.0), (0.34, 0.3), (BETA, BETA), (0.97, 1.0)])
def test_the_pro_curve_follows_the_share_and_says_at_which(here, made, dataset, asked, drawn):
    here.page.select_option("#category", "knob")
    here.js(MOVE, ["share", asked])
    here.settle()
    category = made[1]["knob"]
    maps = [anomaly_maps(it, SIZE, SIGMA) for it in category.patches.values()]
    samples = samples_of(dataset, "knob", category.images)
    masks = torch.stack([load_tensors(dataset, it, SIZE, ["mask"])["mask"] for it in samples])
    fpr, overlap = pro_curve(fuse(*maps, drawn), number_regions(masks))
    shown = here.js("document.getElementById('pro').data.find(it => it.name === 'fused')")
    assert shown["y"] == pytest.approx(np.interp(shown["x"], fpr, overlap), abs=1e-6)
    caption = here.page.locator("#pro-caption").inner_text()
    near = "" if asked == drawn else " (nearest computed)"
    assert caption == f"PRO, pixels, fused at share {drawn:g}{near}"


@pytest.mark.parametrize(
    ("grid", "size", "sigma"),
    [
        ((8, 8), 64, 4.0),
        ((5, 7), 50, 2.5),
        ((40, 40), 40, 0.0),
        ((12, 12), 10, 4.0),
        ((4, 10), (32, 80), 4.0),
        ((9, 3), (60, 12), 4.0),
    ],
    ids=[
        "as in a run",
        "no square",
        "no blur",
        "smaller than the patches, blur at the border",
        "images that keep their shape",
        "narrower than the blur",
    ],
)
def test_enlarging_and_blurring_are_those_of_python(opened, normal, grid, size, sigma):
    patches = normal(1, *grid)
    found = opened.js(
        "([p, grid, size, sigma]) => [...fsad.anomalyMap(p, grid, size, sigma)]",
        [patches.flatten().tolist(), list(grid), size, sigma],
    )
    expected = anomaly_maps(patches, size, sigma).flatten()
    assert float((torch.tensor(found, dtype=torch.float64) - expected).abs().max()) < 1e-9


def test_the_confusion_matrix_is_that_of_python_at_every_score(here, made):
    for name, category in made[1].items():
        scores = scores_of(category, 0.3)
        for threshold in scores.tolist():
            called = scores > threshold
            counts = here.js(
                f"([name, beta, at]) => explorer.confusion([{NAMED}], beta, at)",
                [name, 0.3, threshold],
            )
            assert counts == {
                "found": int((called & category.labels).sum()),
                "missed": int((~called & category.labels).sum()),
                "alarms": int((called & ~category.labels).sum()),
                "passed": int((~called & ~category.labels).sum()),
            }


def test_worst_mistakes_come_first_in_the_order_of_python(here, made):
    here.page.select_option("#category", "tile")
    here.settle()
    category = made[1]["tile"]
    ranked = [place for _, _, place in worst_first(scores_of(category, BETA), category.labels)]
    files = here.page.locator(".card .file").all_inner_texts()
    assert files == [category.images[place] for place in ranked][: len(files)]
    assert len(files) == 12


def test_ties_count_half(here):
    script = "fsad.auroc([1, 2, 2, 3], [0, 0, 1, 1])"
    assert here.js(script) == 3.5 / 4


def test_sliders_move_by_keyboard_and_change_what_is_shown(here, made):
    here.page.select_option("#category", "knob")
    here.page.focus("#share")
    for _ in range(5):
        here.page.keyboard.press("ArrowLeft")
    here.settle()
    beta = here.js("explorer.state.share")
    assert beta == pytest.approx(BETA - 0.05)
    assert here.page.locator("#share-value").inner_text() == "0.55"
    shown = auroc(scores_of(made[1]["knob"], beta), made[1]["knob"].labels)
    assert here.page.locator("#auroc").inner_text() == f"{shown:.3f}"
    here.page.focus("#threshold")
    here.page.keyboard.press("End")
    here.settle()
    good = int((~made[1]["knob"].labels).sum())
    assert here.page.locator("#passed").inner_text() == str(good)
    here.page.click("#share-reset")
    assert here.js("explorer.state.share") == BETA


RED = """() => { const canvas = document.querySelector('canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let i = 0; i < data.length; i += 4)
        found += data[i] === 255 && data[i + 1] === 45 && data[i + 2] === 85;
    return found; }"""
MOVE = """([id, value]) => { const slider = document.getElementById(id);
    slider.value = value; slider.dispatchEvent(new Event('input')); }"""


def test_the_outline_slider_draws_on_the_maps(here):
    median = here.js("""() => { const { category, place } = explorer.listed()[0];
        return explorer.map(category, place, 'source', null).toSorted()[32 * 64]; }""")
    found = []
    for value in (99.0, median):  # a slider stops at its end
        here.js(MOVE, ["outline", value])
        here.settle()
        found.append(here.js(RED))
    assert found[0] <= 1  # the highest pixel of all may be the end itself
    assert found[1] > 64  # half of the map is inside: its outline is longer than a side


HELD_OUT = [
    HeldOut("a.tiff", 5.9, {"source": 6.0, "target": 5.8}, 5.5),
    HeldOut("b.tiff", 6.1234, {"source": 6.2, "target": 5.9}, 5.75),
]


def test_the_sliders_start_where_the_run_set_its_own_threshold(visit, dataset, tmp_path):
    images = {name: images_in(dataset, name) for name in ("knob", "tile")}
    make_run(tmp_path, images, dataset.root.parent)
    Threshold.of(HELD_OUT).write(tmp_path / "categories" / "knob" / THRESHOLD)
    Threshold.none("one shot").write(tmp_path / "categories" / "tile" / THRESHOLD)
    page = visit(write_report([tmp_path], tmp_path / "report.html"))
    state = "[explorer.state.threshold, explorer.state.outline]"
    together = page.js(state)
    page.page.select_option("#category", "knob")
    assert page.js(state) == [6.1234, 5.75]
    shown = page.js("['threshold', 'outline'].map(id => document.getElementById(id).valueAsNumber)")
    assert shown == pytest.approx([6.1234, 5.75], abs=0.01)  # a step of the slider
    page.page.select_option("#category", "tile")
    scores = sorted(
        page.js("[...explorer.imageScores(explorer.categories[1], explorer.state.share)]")
    )
    assert page.js(state)[0] == scores[len(scores) // 2]
    page.page.select_option("#category", "knob")
    page.js(MOVE, ["share", 0.1])  # the threshold was set for another share of the source
    page.page.select_option("#category", "")
    page.page.select_option("#category", "knob")
    assert page.js(state)[0] not in (6.1234, together[0])
    assert not page.errors


def test_a_threshold_beyond_all_scores_is_within_the_slider(visit, dataset, tmp_path):
    make_run(tmp_path, {"knob": images_in(dataset, "knob")}, dataset.root.parent)
    high = [replace(each, score=each.score + 50) for each in HELD_OUT]
    Threshold.of(high).write(tmp_path / "categories" / "knob" / THRESHOLD)
    page = visit(write_report([tmp_path], tmp_path / "report.html"))
    assert page.js("document.getElementById('threshold').valueAsNumber") == pytest.approx(56.1234)
    assert page.page.inner_text("#alarms") == page.page.inner_text("#found") == "0"


def test_cards_can_be_narrowed_to_a_kind_of_defect(here):
    here.page.select_option("#defect", "dent")
    here.settle()
    titles = here.page.locator(".card h4").all_inner_texts()
    assert len(titles) == 4  # two in each category
    assert all("dent" in title for title in titles)
    here.page.select_option("#order", "lowest")
    here.settle()
    texts = here.page.locator(".card .score").all_inner_texts()
    scores = [float(text.split()[1].rstrip(",")) for text in texts]
    assert scores == sorted(scores)


def test_nothing_is_asked_for_and_nothing_goes_wrong(here):
    here.page.click("#more")
    here.settle()
    assert {url.split(":")[0] for url in here.requests} <= {"file", "data", "blob"}
    assert len([url for url in here.requests if url.startswith("file")]) == 1
    assert here.errors == []


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_does_not_scroll_sideways(here, width):
    here.page.set_viewport_size({"width": width, "height": 800})
    here.settle()
    assert here.js("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_label_every_picture_a_text_and_headings_are_in_order(here):
    unnamed = """() => [...document.querySelectorAll('input, select, button, canvas, img')]
        .filter(it => !(it.labels?.length || it.textContent || it.alt
                        || it.getAttribute('aria-label'))).map(it => it.outerHTML)"""
    assert here.js(unnamed) == []
    levels = here.js("[...document.querySelectorAll('h1,h2,h3,h4')].map(it => +it.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_names_are_shown_as_text(visit, tmp_path):
    evil = "<script>hacked = 1<", "<img src=x onerror='hacked = 1'>"
    images = [(f"{evil[1]}/{i}.tiff", "good" if i % 2 else evil[0]) for i in range(6)]
    make_run(tmp_path / "run", {evil[0]: images}, tmp_path / "nowhere")
    here = visit(write_report([tmp_path / "run"]))
    assert here.js("typeof hacked") == "undefined"
    assert evil[0] in here.page.locator("h1").inner_text()
    assert evil[0] in here.page.locator(".card h4").first.inner_text()
    assert evil[1] in here.page.locator(".card .file").first.inner_text()
    assert here.js("document.querySelectorAll('img[src=x]').length") == 0
    assert here.errors == []


def test_a_method_of_one_part_has_no_share_to_choose(visit, tmp_path):
    images = [(f"a/{i}.tiff", "good" if i % 2 else "dent") for i in range(6)]
    made = make_run(tmp_path, {"knob": images}, tmp_path / "nowhere", domains=("target",))
    here = visit(write_report([tmp_path]))
    assert not here.page.locator("#share-field").is_visible()
    assert here.page.locator(".card").first.locator("canvas").count() == 1
    expected = auroc(image_scores(made["knob"].patches["target"]), made["knob"].labels)
    assert here.js("explorer.meanAuroc(explorer.categories, null)") == pytest.approx(expected)
    assert here.errors == []


def test_two_parts_of_any_name_are_mixed_by_the_slider(visit, tmp_path):
    images = [(f"a/{i}.tiff", "good" if i % 2 else "dent") for i in range(6)]
    mean = Combination("mean", {"texture": 0.25, "shape": 0.75})
    parts = ("texture", "shape")
    made = make_run(tmp_path, {"knob": images}, tmp_path, domains=parts, combination=mean)
    here = visit(write_report([tmp_path]))
    assert here.page.locator("label[for=share]").inner_text() == "Share of texture in the score"
    assert here.page.locator("#share-value").inner_text() == "0.25"
    here.js(MOVE, ["share", 0.7])
    here.settle()
    expected = scores_of(made["knob"], 0.7)
    assert scores_in(here, "knob", 0.7) == expected.tolist()
    assert here.js("explorer.auroc(explorer.categories[0], explorer.state.share)") == (
        pytest.approx(auroc(expected, made["knob"].labels))
    )
    assert here.page.locator(".card").first.locator("canvas").count() == 3
    assert here.errors == []


def test_more_than_two_parts_have_a_curve_and_a_map_each(visit, dataset, tmp_path):
    parts = ("fine", "middle", "coarse", "whole")
    names = {name: images_in(dataset, name) for name in ("knob", "tile")}
    total = Combination("sum")
    made = make_run(tmp_path, names, dataset.root.parent, domains=parts, combination=total)
    here = visit(write_report([tmp_path], tmp_path / "report.html"))
    assert not here.page.locator("#share-field").is_visible()
    assert not here.page.locator("#pro-figure").is_visible()  # no curve of the sum is known
    drawn = """id => document.getElementById(id).data
        .filter(it => it.mode === 'lines').map(it => it.name)"""
    here.page.select_option("#category", "knob")
    here.settle()
    assert here.js(drawn, "roc") == ["fused", *sorted(parts)]
    assert here.js(drawn, "pro") == sorted(parts)
    assert here.page.locator(".card").first.locator("canvas").count() == 4
    expected = sum(image_scores(it) for it in made["knob"].patches.values())
    found = here.js("explorer.auroc(explorer.categories[0], null)")
    assert found == pytest.approx(auroc(expected, made["knob"].labels))
    assert here.errors == []


def test_good_images_alone_have_scores_and_no_roc_curve(visit, tmp_path):
    images = [(f"a/{i}.tiff", "good") for i in range(4)]
    make_run(tmp_path, {"knob": images}, tmp_path / "nowhere", domains=("target",))
    here = visit(write_report([tmp_path]))
    assert here.page.locator("#histogram").is_visible()
    assert not here.page.locator("#roc-figure").is_visible()
    assert here.page.locator("#auroc").inner_text() == "–"
    absent = "No ROC curve: test images of one kind alone."  # an earlier run does not say why
    assert here.page.locator("#absent").inner_text() == absent
    assert "mistake" not in here.page.locator("#cards").inner_text()
    assert here.errors == []


def test_the_reason_stands_where_the_number_and_the_curves_would_be(visit, tmp_path):
    good = [(f"a/{i}.tiff", "good") for i in range(3)]
    dented = [*good, ("a/3.tiff", "dent")]
    make_run(tmp_path, {"knob": good, "tile": dented}, tmp_path / "nowhere")
    undefine(tmp_path, "knob", dict.fromkeys(METRICS, "no test image is defective"))
    lost = "1 of 1 defective test images has no mask"
    undefine(tmp_path, "tile", dict.fromkeys(METRICS[1:], lost))
    here = visit(write_report([tmp_path]))
    text = {id: lambda id=id: here.page.locator(f"#{id}").inner_text() for id in SHOWN}

    assert text["auroc-note"]().startswith(
        "image AUROC, mean over 1 of 2 categories (–: knob: no test image is defective); the run's"
    )
    curves = f"PRO curve: knob: no test image is defective; tile: {lost}."
    assert text["absent"]() == f"No ROC curve: knob: no test image is defective. No {curves}"
    assert here.page.locator("#roc-figure").is_visible()  # of the one that has it
    assert here.js("document.getElementById('roc').data.map(it => it.name)[0]") == "tile"
    here.page.select_option("#category", "knob")
    here.settle()
    why = "no test image is defective"
    assert text["auroc"]() == "–"
    assert text["auroc-note"]() == f"image AUROC (–: {why})"
    assert text["absent"]() == f"No ROC curve: {why}. No PRO curve: {why}."
    assert not here.page.locator("#roc-figure").is_visible()
    here.page.select_option("#category", "tile")
    here.settle()
    assert text["absent"]() == f"No PRO curve: {lost}."
    assert here.page.locator("td", has_text="–").first.get_attribute("title") == why
    assert here.errors == []


SHOWN = ("auroc", "auroc-note", "absent")


def undefine(folder, category, reasons):
    """Take metrics out of a run's result."""
    path = folder / "result.json"
    result = json.loads(path.read_text())
    result["categories"][category] |= {**dict.fromkeys(reasons), "undefined": reasons}
    path.write_text(json.dumps(result))
