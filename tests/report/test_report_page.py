"""What the page says without a script: numbers, warnings, provenance, and what is left out."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest
import torch
from made_run import READER, SIZE, images_in, make_run
from typer.testing import CliRunner

from fsad.cli import app
from fsad.data.inspect.audit import ShortcutStatistic
from fsad.errors import ConfigError, DataError, MissingDataError
from fsad.metrics import METRICS
from fsad.report import write_report
from fsad.report.cards import images_of
from fsad.report.comparable import WHOLE, is_stand_in, reasons
from fsad.report.features import kept_features
from fsad.report.page import STATIC
from fsad.report.sections.audit import audit
from fsad.report.sections.perturbation import perturbation
from fsad.report.sections.rectification import rectification
from fsad.results.dataset import open_dataset
from fsad.results.dataset import test_samples as samples_of
from fsad.results.feature_samples import read_embeddings
from fsad.results.record import read_result
from fsad.results.table.paper import paper_table
from fsad.scores.threshold import THRESHOLD
from fsad.storage.tensors import write_tensors

IMAGES = [(f"a/{i}.tiff", "good" if i % 2 else "dent") for i in range(6)]
DINO = {"name": "dino_vitb8", "weights": "pretrained", "sha256": "ab" * 32}
MVTEC = {"reader": {"_target_": "fsad.data.mvtec3d.MVTec3D", "_partial_": True}}


class Reader(HTMLParser):
    """Collects the rows of all tables, the exact numbers behind them, and all text."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.values, self.text, self.parts, self._inside = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self._inside.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.values.append([])
        if tag == "td" and self.rows:
            self.rows[-1].append("")
            self.values[-1].append(about.get("data-value"))
        if tag == "section":
            self.parts.append(about["id"])

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, text):
        if {"script", "style"} & set(self._inside):
            return
        self.text.append(text)
        if "td" in self._inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += text


def read(path):
    return Reader(path.read_text(encoding="utf-8"))


def text_of(path):
    return re.sub(r"\s+", " ", " ".join(read(path).text))


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    return write_report([made[0]], tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def without_data(tmp_path):
    """A run whose data set is gone."""
    folder = tmp_path / "run"
    make_run(folder, {"knob": IMAGES}, tmp_path / "nowhere")
    return folder


def test_the_numbers_are_those_of_result_json(page, made):
    result = json.loads((made[0] / "result.json").read_text())
    seen = read(page)
    sets = {"fused": None, "source only": "source_only", "target only": "target_only"}
    sets["part mask"] = "part_mask"
    found = {tuple(row[:2]): values[2:] for row, values in zip(seen.rows, seen.values, strict=True)}
    for name, entry in result["categories"].items():
        for shown, key in sets.items():
            numbers = entry[key] if key else entry
            wanted = [numbers[metric] for metric in METRICS]
            assert [float(it) for it in found[name, shown]] == pytest.approx(wanted, abs=1e-12)
    mean = [float(it) for it in found["mean", "fused"]]
    assert mean == pytest.approx([result["mean"][metric] for metric in METRICS], abs=1e-12)


def test_the_parts_come_in_order(page):
    assert read(page).parts == ["results", "images", "audit", "provenance"]


def test_the_page_needs_no_other_file_and_forbids_to_load_one(page):
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.S)  # plotly.js names many addresses
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", own)


def test_provenance_tells_code_weights_shots_seconds_memory_and_notes(page):
    text = text_of(page)
    assert "cd" * 32 in text
    assert "knob/train/good/xyz/000.tiff, knob/train/good/xyz/001.tiff" in text
    assert "knob: a note of the run" in text
    row = next(row for row in read(page).rows if "source 4, target 4" in row)
    assert row[:8] == ["knob", "1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7"]
    assert f"image_size: {SIZE}" in text
    assert "torch" in text


def test_a_stand_in_backbone_and_random_weights_are_announced(page, tmp_path):
    assert "Stand-in backbone: tiny. The paper uses DINO ViT-B/8" in text_of(page)
    random = {"name": "tiny", "weights": "random weights", "sha256": "00"}
    make_run(tmp_path, {"knob": IMAGES}, tmp_path / "nowhere", backbone=random)
    text = text_of(write_report([tmp_path]))
    assert "Random weights: tiny is untrained" in text
    assert "Stand-in backbone" not in text


def test_the_papers_row_stands_beside_ours_with_the_reason_it_is_not_comparable(tmp_path):
    make_run(tmp_path, {"bagel": IMAGES}, tmp_path / "nowhere", data=MVTEC)
    row = next(
        row for row in read(write_report([tmp_path])).rows if row[:1] == ["hypertrans (tiny)"]
    )
    printed = {it.method: it for it in paper_table() if (it.shots, it.category) == (2, "bagel")}
    assert row[4:-1] == [f"{it.image_auroc:.3f}" for it in printed.values()]
    why = "backbone tiny, not DINO ViT-B/8; 2 of 244 training images; 6 of 110 test images"
    assert row[-1] == f"not comparable: {why}"


def test_another_data_set_has_no_row_of_the_papers(page):
    assert "Beside the paper" not in text_of(page)


def test_another_protocol_has_no_row_of_the_papers(tmp_path):
    make_run(tmp_path, {"bagel": IMAGES}, tmp_path / "nowhere", data=MVTEC)
    path = tmp_path / "result.json"
    record = json.loads(path.read_text())
    record["config"]["protocol"] = {
        "_target_": "fsad.data.protocols.few_shot.FewShot",
        "shots": 2,
        "modality": "rgb",
    }
    path.write_text(json.dumps(record))
    assert "Beside the paper" not in text_of(write_report([tmp_path]))


def test_a_whole_category_with_the_papers_backbone_is_comparable(tmp_path):
    make_run(tmp_path, {"bagel": IMAGES}, tmp_path, data=MVTEC, backbone=DINO)
    result = read_result(tmp_path / "result.json")
    assert reasons(result, "bagel") == ["2 of 244 training images", "6 of 110 test images"]
    train, test = WHOLE["bagel"]
    for name, value in (("n_source", train), ("n_test_good", 22), ("n_test_defect", test - 22)):
        object.__setattr__(result.categories["bagel"], name, value)
    assert reasons(result, "bagel") == []


def test_the_counts_of_mvtec_3d_add_up_to_the_published_totals():
    # 2656 training and 1197 test images: Bergmann et al., VISAPP 2022
    assert [sum(column) for column in zip(*WHOLE.values(), strict=True)] == [2656, 1197]


def test_a_method_with_features_of_its_own_has_no_stand_in_backbone(tmp_path):
    make_run(tmp_path, {"knob": IMAGES}, tmp_path)
    result = read_result(tmp_path / "result.json")
    assert is_stand_in(result)
    result.backbone["name"] = "pixels"
    assert not is_stand_in(result)


def test_without_the_data_set_the_report_comes_and_says_so_at_the_top(without_data):
    path = write_report([without_data])
    text = text_of(path)
    top = text[: text.index("Five metrics")]
    assert "No pictures, PRO curves and audit:" in top
    assert "expected the data set of the run, got no such folder" in top
    assert read(path).parts == ["results", "images", "provenance"]


def test_the_data_set_can_be_said_to_lie_elsewhere(dataset, tmp_path):
    make_run(tmp_path, {"knob": images_in(dataset, "knob")}, tmp_path / "nowhere")
    path = write_report([tmp_path], data_root=dataset.root.parent)
    assert "audit" in read(path).parts
    assert "No pictures" not in text_of(path)


def test_another_data_set_in_its_place_is_refused_by_name(dataset, tmp_path):
    make_run(tmp_path, {"knob": IMAGES}, dataset.root.parent)
    found = images_of(read_result(tmp_path / "result.json"))
    (problem,) = found.problems
    assert problem.startswith("knob is without pictures: ")
    assert "expected the 6 test images of knob that the run scored, got 13 others" in problem
    with pytest.raises(DataError, match="test images of knob that the run scored"):
        samples_of(dataset, "knob", ["a"])


def test_a_reader_from_elsewhere_is_not_run(tmp_path):
    make_run(tmp_path, {"knob": IMAGES}, tmp_path, data={"reader": {"_target_": "os.system"}})
    result = read_result(tmp_path / "result.json")
    with pytest.raises(
        DataError, match=r"data\.reader: expected one of .*MVTec3D.*, got 'os.system'"
    ):
        open_dataset(result)
    result.config["data"]["reader"] = READER | {"nonsense": 1}
    with pytest.raises(DataError, match=r"data\.reader: expected its settings, got '.*nonsense"):
        open_dataset(result)
    del result.config["data"]["reader"]
    with pytest.raises(DataError, match=r"expected data\.reader and data\.root in the settings"):
        open_dataset(result)
    result.config["data"]["reader"] = READER
    result.config["data"]["root"] = str(tmp_path / "gone")
    with pytest.raises(MissingDataError, match="expected the data set of the run, got no such"):
        open_dataset(result)


def test_a_category_with_a_damaged_file_is_left_out_and_named(made, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(made[0], folder)
    (folder / "categories/tile/patch_scores.safetensors").write_bytes(b"half a file")
    found = images_of(read_result(folder / "result.json"))
    assert [it["name"] for it in found.payload["categories"]] == ["knob"]
    assert "tile is without cards" in found.problems[0]
    assert "tile is without cards" in text_of(write_report([folder]))


def test_a_damaged_threshold_is_named_and_the_cards_stay(made, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(made[0], folder)
    (folder / "categories/tile" / THRESHOLD).write_text("{}")
    found = images_of(read_result(folder / "result.json"))
    (problem,) = found.problems
    assert problem.startswith("tile has no threshold: ")
    assert THRESHOLD in problem
    assert [it["threshold"] for it in found.payload["categories"]] == [None, None]


def test_a_picture_that_cannot_be_read_leaves_the_card_without_it(dataset, made, tmp_path):
    copy = tmp_path / dataset.root.name
    shutil.copytree(dataset.root, copy)
    (copy / "knob/test/dent/rgb/000.png").write_bytes(b"half a file")
    found = images_of(read_result(made[0] / "result.json"), data_root=tmp_path)
    (problem,) = found.problems
    assert problem.startswith("knob: a card has no pictures")
    knob = found.payload["categories"][0]
    place = str(knob["images"].index("knob/test/dent/xyz/000.tiff"))
    assert set(knob["cards"][place]) == {"patches"}
    assert found.cards == found.images == 26


def test_the_worst_mistakes_keep_their_cards_when_the_page_is_full(made):
    result = read_result(made[0] / "result.json")
    whole = images_of(result)
    found = images_of(result, budget=40_000)
    assert 0 < found.cards < whole.cards == found.images
    kept = {(e["name"], place) for e in found.payload["categories"] for place in e["cards"]}
    assert len(kept) == found.cards
    size = sum(
        len(text)
        for entry in found.payload["categories"]
        for card in entry["cards"].values()
        for text in (*card["patches"].values(), card["rgb"], card["depth"], card["truth"])
    )
    assert size <= 40_000


def test_the_script_reads_all_that_the_page_carries(made):
    payload = images_of(read_result(made[0] / "result.json")).payload
    script = (STATIC / "explorer.js").read_text(encoding="utf-8")
    carried = [f"data.{name}" for name in payload]
    carried += [f".{name}" for name in payload["categories"][0]]
    assert [name for name in carried if not re.search(rf"{re.escape(name)}\b", script)] == []


def test_a_solved_category_is_warned_of():
    solved = ShortcutStatistic("knob", "rgb", "mean brightness", 0.02, 20, 10)
    html = audit([solved])[0].html
    assert "knob: mean brightness (rgb, AUROC 0.02) alone separates good from defective" in html
    open_ = ShortcutStatistic("knob", "rgb", "mean brightness", 0.5, 20, 10)
    html = audit([open_], ["knob", "tile"])[0].html
    assert "No trivial statistic separates the test images." in html
    assert "Not measured in tile: there are no good, or no defective test images." in html
    assert "Not measured" not in audit([open_], ["knob"])[0].html
    assert audit([], ["knob"]) == []


def test_the_audit_has_a_column_for_what_was_measured_alone():
    brightness = ShortcutStatistic("knob", "rgb", "mean brightness", 0.5, 20, 10)
    area = ShortcutStatistic("tile", "depth", "area of the part", 0.25, 20, 10)
    seen = Reader(audit([brightness, area])[0].html)
    assert seen.rows[1:] == [["knob", "0.500", "–"], ["tile", "–", "0.250"]]


@pytest.fixture
def compared(tmp_path):
    """Two methods over two seeds on the same images; scores differ by chance."""
    folder = tmp_path / "runs"
    for seed in (0, 1):
        make_run(folder / f"a{seed}", {"knob": IMAGES}, tmp_path, seed=seed)
        make_run(folder / f"b{seed}", {"knob": IMAGES}, tmp_path, seed=seed, method="patchcore")
    return folder


def test_a_difference_that_chance_explains_is_said_to_be_one(compared, tmp_path):
    text = text_of(write_report([compared], tmp_path / "r.html", reference="patchcore"))
    assert "Differences from patchcore" in text
    said = "hypertrans (tiny, shots 2): the difference is not statistically significant"
    assert said in text


def test_images_are_those_of_the_run_named_first_and_the_page_says_whose(compared, tmp_path):
    for name, method, seed in (("a0", "hypertrans", 0), ("b1", "patchcore", 1)):
        run = compared / name
        text = text_of(write_report([run, compared], tmp_path / "r.html"))
        whose = f"one run, the first of 4: {method}, 2 shots, seed {seed}, in {run.resolve()}. "
        assert f"Images are those of {whose}" in text
        assert "to see another run's, name its folder first." in text


def test_one_draw_has_no_interval(compared, tmp_path):
    folders = [compared / "a0", compared / "b0"]
    text = text_of(write_report(folders, tmp_path / "r.html", reference="patchcore"))
    assert "because there is only one draw of the shots" in text


def test_an_unknown_reference_is_refused(without_data):
    with pytest.raises(ConfigError, match="reference: expected one of hypertrans, got 'x'"):
        write_report([without_data], reference="x")


def test_without_any_result_there_is_one_line(tmp_path):
    (tmp_path / "started").mkdir()
    (tmp_path / "started/config.yaml").write_text("seed: 0\n")
    with pytest.raises(MissingDataError, match=r"started: expected a run with a result, got one"):
        write_report([tmp_path / "started"])
    (tmp_path / "started/result.json").write_text("{")
    with pytest.raises(DataError, match=r"result\.json: expected JSON"):
        write_report([tmp_path / "started"])


def test_runs_without_a_result_are_named_beside_those_with_one(without_data):
    broken, missing = (without_data.parent / name for name in ("broken", "missing"))
    for folder in (broken, missing):
        folder.mkdir()
        (folder / "config.yaml").write_text("seed: 0\n")
    (broken / "result.json").write_text("{")
    text = text_of(write_report([without_data.parent], without_data.parent / "r.html"))
    assert "Without a result: missing" in text
    assert f"Not read: {broken / 'result.json'}: expected JSON" in text


def test_features_come_before_the_provenance(without_data):
    names = "source", "target", "source_rectified", "target_rectified"
    sets = {f"rectify.{name}": torch.rand(8, 4) for name in names}
    write_tensors(without_data / "categories/knob/embeddings.safetensors", sets, {})
    path = write_report([without_data])
    assert read(path).parts == ["results", "images", "rectification-knob", "provenance"]


@pytest.mark.parametrize(
    ("loss", "said"),
    [(0.42, "The adapters learnt to undo"), (3.1, "The adapters did not learn to undo")],
)
def test_the_page_says_whether_the_adapters_learnt_to_undo_the_noise(without_data, loss, said):
    stage = {"loss_over_variance": loss, "loss_over_variance_untrained": 3.3, "clean_drift": 0.002}
    path = without_data / "result.json"
    record = json.loads(path.read_text())
    record["categories"]["knob"]["diagnostics"] = {"perturb": stage}
    path.write_text(json.dumps(record))
    names = "source", "perturbed", "adapted", "target", "target_adapted"
    sets = {f"perturb.{name}": torch.rand(8, 4) for name in names}
    write_tensors(without_data / "categories/knob/embeddings.safetensors", sets, {})
    text = text_of(write_report([without_data]))
    assert f"{said} the noise: their error is {loss:.2f} times the variance" in text
    assert ("The scores of the run are valid" in text) == (loss > 1)


def keep(folder, stage, *names):
    sets = {f"{stage}.{name}": torch.rand(8, 4) for name in names}
    path = folder / "categories/knob/embeddings.safetensors"
    write_tensors(path, sets | dict(read_embeddings(path.parent)), {})


RECTIFIED = ("source", "target", "source_rectified", "target_rectified")
PERTURBED = ("source", "perturbed", "adapted", "target", "target_adapted")


def test_of_each_stage_the_features_of_the_first_run_that_kept_some_are_drawn(tmp_path):
    for seed in range(3):
        make_run(tmp_path / str(seed), {"knob": IMAGES}, tmp_path, seed=seed)
        keep(tmp_path / str(seed), "rectify", *RECTIFIED)
    keep(tmp_path / "1", "perturb", *PERTURBED)
    features = kept_features([read_result(tmp_path / f"{i}/result.json") for i in range(3)])
    (perturbed,), (rectified,) = perturbation(features), rectification(features)
    assert "seed 1" in perturbed.html
    assert "other run" not in perturbed.html
    assert "seed 0" in rectified.html
    assert "2 other runs kept features of the category too" in rectified.html
    assert '"source (RGB)"' in rectified.html
    assert '"target (depth of the shots)"' in rectified.html


@pytest.mark.parametrize("stage", ["perturb", "rectify", "adapt"])
def test_features_that_no_section_knows_are_left_out(tmp_path, stage):
    make_run(tmp_path, {"knob": IMAGES}, tmp_path)
    keep(tmp_path, stage, "before", "after")
    features = kept_features([read_result(tmp_path / "result.json")])
    assert [(it.stage, sorted(it.sets)) for it in features] == [(stage, ["after", "before"])]
    assert [*perturbation(features), *rectification(features)] == []


def test_damaged_features_are_left_out_and_named(without_data):
    (without_data / "categories/knob/embeddings.safetensors").write_bytes(b"cut short")
    path = write_report([without_data])
    assert read(path).parts == ["results", "images", "provenance"]
    assert "No figures of features: " in text_of(path)
    assert "embeddings.safetensors" in text_of(path)


def test_the_command_writes_beside_the_result_or_where_it_is_told(without_data, tmp_path):
    def run(*words):
        return CliRunner().invoke(app, ["report", *map(str, words)])

    done = run(without_data)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"wrote {without_data.resolve() / 'report.html'}\n"
    assert run(without_data, "--out", tmp_path / "new/page.html").exit_code == 0
    assert (tmp_path / "new/page.html").is_file()
    refused = run(tmp_path / "nothing")
    assert refused.exit_code == 1
    assert "expected a folder with results, got nothing there" in refused.stderr
