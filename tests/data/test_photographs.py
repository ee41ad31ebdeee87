"""Data sets of photographs, each against a folder in the exact layout of its distribution."""

import csv
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from box_scene import write_mvtec3d
from PIL import Image
from typer.testing import CliRunner

from fsad.cli import app
from fsad.data.datamodule import DataModule
from fsad.data.inspect.check import check
from fsad.data.layout import find_format
from fsad.data.photographs.btad import BTAD
from fsad.data.photographs.cameras import Cameras
from fsad.data.photographs.elpv import ELPV
from fsad.data.photographs.held_out import held_out
from fsad.data.photographs.image_folder import ImageFolder
from fsad.data.photographs.kolektorsdd import KolektorSDD
from fsad.data.photographs.mpdd import MPDD
from fsad.data.photographs.mvtec_ad import MVTecAD
from fsad.data.photographs.visa import VisA
from fsad.data.protocols.few_shot import FewShot
from fsad.data.transforms import load_tensors
from fsad.errors import ConfigError, DataError, MissingDataError, PackageError
from fsad.results.dataset import open_dataset

SHAPE = (20, 30)


def photograph(path, seed=0, mode="RGB", shape=SHAPE):
    pixels = np.random.default_rng(seed).integers(0, 255, (*shape, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def mask(path, value=255, shape=SHAPE):
    pixels = np.zeros(shape, np.uint8)
    pixels[4:8, 5:10] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def mvtec_ad(root, category="bottle"):
    (root / "readme.txt").parent.mkdir(parents=True, exist_ok=True)
    (root / "readme.txt").touch()
    for number in range(3):
        photograph(root / category / f"train/good/{number:03d}.png", number)
    for number in range(2):
        photograph(root / category / f"test/good/{number:03d}.png", 10 + number)
        photograph(root / category / f"test/broken_large/{number:03d}.png", 20 + number)
        mask(root / category / f"ground_truth/broken_large/{number:03d}_mask.png")
    return root


def btad(root):
    for number in range(3):
        photograph(root / f"01/train/ok/{number:04d}.bmp", number)
    photograph(root / "01/test/ok/0003.bmp", 3)
    photograph(root / "01/test/ko/0004.bmp", 4)
    mask(root / "01/ground_truth/ko/0004.png")
    return root


def visa(root):
    rows = []
    for number in range(3):
        split = "train" if number < 2 else "test"
        path = f"candle/Data/Images/Normal/{number:04d}.JPG"
        photograph(root / path, number)
        rows.append(("candle", split, "normal", path, ""))
    path, truth = "candle/Data/Images/Anomaly/000.JPG", "candle/Data/Masks/Anomaly/000.png"
    photograph(root / path, 9)
    mask(root / truth, value=2)  # kinds of defects are numbered
    rows.append(("candle", "test", "anomaly", path, truth))
    table = root / "split_csv/1cls.csv"
    table.parent.mkdir()
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("object", "split", "label", "image", "mask"), *rows])
    return root


def kolektorsdd(root):
    for item in range(2):
        for part in range(4):
            photograph(root / f"kos{item + 1:02d}/Part{part}.jpg", 4 * item + part, "L")
            value = 255 if (item, part) == (0, 2) else 0
            mask(root / f"kos{item + 1:02d}/Part{part}_label.bmp", value)
    return root


ELPV_CELLS = [(0.0, "mono")] * 5 + [(1 / 3, "mono"), (2 / 3, "poly"), (1.0, "mono"), (1.0, "poly")]


def elpv(root):
    lines = []
    for number, (chance, cell) in enumerate(ELPV_CELLS, 1):
        photograph(root / f"images/cell{number:04d}.png", number, "L")
        lines.append(f"images/cell{number:04d}.png  {chance}                 {cell}\n")
    (root / "labels.csv").write_text("".join(lines))
    return root


def cameras(root):
    for split, defect, count in (("train", "good", 3), ("test", "good", 1), ("test", "hole", 2)):
        for number in range(count):
            for camera in ("rgb", "ir"):
                photograph(root / f"cotton/{split}/{defect}/{camera}/{number:03d}.png", number)
    mask(root / "cotton/test/hole/gt/000.png")  # a part of the defects has one
    return root


CASES = {
    "mvtec_ad": (mvtec_ad, MVTecAD, "bottle", 3, {"good": 2, "broken_large": 2}),
    "mpdd": (mvtec_ad, MPDD, "bottle", 3, {"good": 2, "broken_large": 2}),
    "image_folder": (mvtec_ad, ImageFolder, "bottle", 3, {"good": 2, "broken_large": 2}),
    "btad": (btad, BTAD, "01", 3, {"good": 1, "ko": 1}),
    "visa": (visa, VisA, "candle", 2, {"good": 1, "anomaly": 1}),
    "kolektorsdd": (kolektorsdd, KolektorSDD, "kolektorsdd", 5, {"good": 2, "defect": 1}),
    "elpv": (elpv, ELPV, "elpv", 3, {"good": 2, "mono": 1, "poly": 1}),
    "cameras": (cameras, Cameras, "cotton", 3, {"good": 1, "hole": 2}),
}
ALIKE = {"mvtec_ad": "image_folder", "mpdd": "image_folder"}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    write, reader, *rest = CASES[request.param]
    return request.param, reader(write(tmp_path / "data")), *rest


def counts(samples):
    kinds = [sample.defect for sample in samples]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def test_every_layout_is_listed_as_it_is_distributed(case):
    _, reader, category, train, test = case
    assert reader.categories() == [category]
    assert counts(reader.samples(category, "train")) == {"good": train}
    assert counts(reader.samples(category, "test")) == test
    assert reader.samples(category, "validation") == []


def test_every_image_is_read_with_its_mask(case):
    name, reader, category, *_ = case
    for sample in reader.samples(category, "test"):
        tensors = load_tensors(reader, sample, 15, [reader.modalities[-1], "mask"])
        assert tensors[reader.modalities[-1]].shape == (3, 15, 15)
        has_mask = sample.is_anomalous and name != "elpv" and sample.stem != "001"
        if name in ("mvtec_ad", "mpdd", "image_folder"):
            has_mask = sample.is_anomalous
        assert bool(tensors["mask"].any()) == has_mask
        assert bool(sample.masks) == has_mask


def test_a_check_finds_the_layout_and_nothing_wrong_with_it(case):
    name, reader, category, train, test = case
    assert find_format(reader.root) == ALIKE.get(name, name)
    report = check(reader.root, name)
    assert report.problems == []
    assert [category in row.folder.place for row in report.rows] == [True] * len(report.rows)
    images = {(row.folder.split, row.folder.defect): len(row.folder.stems) for row in report.rows}
    known = {("train", "good"): train} | {("test", kind): n for kind, n in test.items()}
    assert images == known
    done = CliRunner().invoke(app, ["data", "check", str(reader.root)])
    assert done.exit_code == 0, done.output


def test_a_preparation_refuses_what_has_no_depth(case, tmp_path):
    _, reader, *_ = case
    words = ["data", "prepare", str(reader.root), str(tmp_path / "copy")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "expected depth, by which the ground is found, got a data set of rgb" in done.stderr
    assert not (tmp_path / "copy").exists()


def test_an_audit_knows_every_layout(case):
    _, reader, *_ = case
    done = CliRunner().invoke(app, ["data", "audit", str(reader.root)])
    assert done.exit_code == 0, done.output
    for modality in reader.modalities:
        assert modality in done.output


def test_two_shots_are_drawn_from_each(case):
    _, reader, category, *_ = case
    task = FewShot(2, modality=reader.modalities[-1]).task(reader, category)
    assert len(task.role("shots").samples) == 2


def test_a_quarter_of_the_good_images_is_tested_as_scikit_learn_splits_them():
    from sklearn.model_selection import train_test_split

    for count in (4, 9, 347):
        train, test = train_test_split(list(range(count)), test_size=0.25, random_state=42)
        assert held_out(range(count)) == (sorted(train), sorted(test))


def test_the_kind_of_cells_and_the_probability_of_a_defect_can_be_chosen(tmp_path):
    root = elpv(tmp_path)
    assert counts(ELPV(root, cells="poly").samples("elpv", "test")) == {"poly": 1}
    assert counts(ELPV(root, defect_from=0.3).samples("elpv", "test")) == {
        "good": 2,
        "mono": 2,
        "poly": 2,
    }
    with pytest.raises(ConfigError, match=r"data\.reader\.cells: expected one of all, mono, poly"):
        ELPV(root, cells="thin")
    for value in (0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match=r"data\.reader\.defect_from: expected"):
            ELPV(root, defect_from=value)
    (root / "labels.csv").write_text("images/cell0001.png 0.0\n")
    with pytest.raises(DataError, match=r"labels\.csv: expected lines of an image, a probability"):
        ELPV(root).samples("elpv", "train")


def test_the_installed_package_is_read_or_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("fsad.data.photographs.elpv.find_spec", lambda _: None)
    with pytest.raises(PackageError, match=r"elpv-dataset.*fsad\[elpv\]"):
        ELPV("package")
    module = ModuleType("elpv_dataset")
    module.__path__ = [str(tmp_path)]
    monkeypatch.undo()
    elpv(tmp_path / "data")
    (tmp_path / "elpv_dataset").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert ELPV("package").root == tmp_path / "elpv_dataset" / "data"
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)


def test_a_path_is_a_path_and_only_the_word_means_the_installed_package(tmp_path, monkeypatch):
    monkeypatch.setattr("fsad.data.photographs.elpv.find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)
    elpv(tmp_path / "package")
    here = Path("package")
    for root in ("./package", str(tmp_path / "package"), here):
        assert ELPV(root).categories() == ["elpv"]
    for root in ("./package", here):
        assert DataModule(ELPV, root, "elpv", 2, protocol=FewShot(2, modality="rgb")).test_samples
    with pytest.raises(PackageError, match="elpv-dataset"):
        _ = DataModule(ELPV, "package", "elpv", 2).reader
    done = CliRunner().invoke(app, ["data", "check", "package", "--format", "elpv"])
    assert done.exit_code == 0, done.output
    data = {"reader": {"_target_": "fsad.data.photographs.elpv.ELPV"}, "root": "./package"}
    result = SimpleNamespace(config={"data": data}, path="result.json")
    assert open_dataset(result).root == here
    data["root"] = "package"
    with pytest.raises(PackageError, match="elpv-dataset"):
        open_dataset(result)


def test_visa_says_what_is_missing_and_what_its_table_lacks(tmp_path):
    reader = VisA(visa(tmp_path))
    table = tmp_path / "split_csv/1cls.csv"
    text = table.read_text()
    for damaged in (text.replace("label", "lable"), text.replace("anomaly", "bad"), "object\n\xff"):
        table.write_text(damaged)
        with pytest.raises(DataError, match=r"1cls\.csv: expected a table of object, split, label"):
            reader.samples("candle", "test")
    table.write_text(text.replace("0002.JPG", "0001.JPG"))  # learnt from, and tested
    with pytest.raises(DataError, match=r"got 'candle/Data/Images/Normal/0001\.JPG in 2 rows'"):
        reader.samples("candle", "test")
    for other in ("0009.JPG", "../../../../secret.JPG"):
        table.write_text(text.replace("0002.JPG", other))
        with pytest.raises(MissingDataError, match=r"JPG: expected a file of the data set"):
            reader.samples("candle", "test")
    table.unlink()
    with pytest.raises(MissingDataError, match=r"1cls\.csv: expected the table of VisA's split"):
        reader.samples("candle", "test")


def test_a_surface_without_a_label_is_neither_good_nor_bad(tmp_path):
    reader = KolektorSDD(kolektorsdd(tmp_path))
    (tmp_path / "kos02/Part1_label.bmp").unlink()
    with pytest.raises(MissingDataError, match=r"Part1_label\.bmp: expected a label beside Part1"):
        reader.samples("kolektorsdd", "train")


def test_suffixes_may_be_upper_case_and_other_files_are_left_out_with_one_line(tmp_path):
    root = mvtec_ad(tmp_path)
    good = root / "bottle/train/good"
    (good / "000.png").rename(good / "000.PNG")
    for name in ("jpg", "JPEG", "bmp", "tif", "TIFF"):
        photograph(good / f"one.{name}.{name}", 7)
    (good / "Thumbs.db").touch()
    (good / "._000.png").touch()
    (good / "raw").mkdir()
    samples = ImageFolder(root).samples("bottle", "train")
    assert len(samples) == 8
    report = check(root)
    assert report.problems == []
    (note,) = report.notes
    assert note.startswith("bottle/train/good: 1 file ignored")
    assert "Thumbs.db" in note


def test_small_defects_are_counted_on_the_canvas_of_the_run(tmp_path):
    tall, wide = (120, 40), (40, 120)
    for number in range(3):
        photograph(tmp_path / f"rod/train/good/{number}.png", number, shape=tall)
    for number, shape in enumerate((tall, wide)):  # one that fills the canvas, one that cannot
        photograph(tmp_path / f"rod/test/dot/{number}.png", 10 + number, shape=shape)
        truth = np.zeros(shape, np.uint8)
        truth[7:9, 5:10] = 255  # 10 pixels
        save = tmp_path / f"rod/ground_truth/dot/{number}_mask.png"
        save.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(truth).save(save)

    def tiny(**how):
        return [row.tiny for row in check(tmp_path, image_size=16, **how).rows if row.tiny]

    assert tiny() == [["0", "1"]]  # a pixel of a square of 16 covers 19 of theirs ...
    assert tiny(resize="keep") == [["1"]]  # ... of 48 x 16 it covers 6, and of 5 x 16 of it 60
    told = (
        CliRunner()
        .invoke(app, ["data", "check", str(tmp_path), "--image-size", "16", "--resize", "keep"])
        .output
    )
    assert "rod/test/dot: 1 of 2 defects are smaller than a pixel at data.image_size=16 (1)" in told


def test_training_images_that_a_run_could_not_keep_in_shape_are_a_problem_of_that_run(tmp_path):
    root = mvtec_ad(tmp_path)
    photograph(root / "bottle/train/good/002.png", 2, shape=(30, 20))
    assert check(root).problems == []
    (problem,) = check(root, resize="keep").problems
    assert problem == (
        "bottle: data.resize: expected training images of one width : height for keep, got 1.5 : 1 "
        "and, of bottle/train/good/002, 0.667 : 1. Sort them into categories, or choose "
        "data.resize=square."
    )


def test_the_shape_to_check_for_is_one_that_a_run_has(tmp_path):
    with pytest.raises(ConfigError, match=r"^--resize: expected one of square, keep, got 'crop'"):
        check(mvtec_ad(tmp_path), resize="crop")
    with pytest.raises(ConfigError, match=r"^--resize: expected square with a data set of depth"):
        check(write_mvtec3d(tmp_path / "depth"), resize="keep")


def test_a_mask_may_lack_its_ending(tmp_path):
    root = mvtec_ad(tmp_path)
    truth = root / "bottle/ground_truth/broken_large"
    (truth / "000_mask.png").rename(truth / "000.png")
    samples = ImageFolder(root).samples("bottle", "test")
    assert [len(sample.masks) for sample in samples] == [1, 1, 0, 0]


def test_what_two_files_are_called_alike_is_refused(tmp_path):
    root = mvtec_ad(tmp_path)
    photograph(root / "bottle/train/good/001.jpg")
    with pytest.raises(DataError, match=r"expected one file of each name, got 001\.jpg and 001"):
        ImageFolder(root).samples("bottle", "train")
    assert any("001.jpg and 001.png" in problem for problem in check(root).problems)


def test_a_mask_without_its_image_is_refused(tmp_path):
    root = mvtec_ad(tmp_path)
    (root / "bottle/test/broken_large/001.png").unlink()
    message = r"001_mask\.png: expected an image for every mask, got none for it in bottle/test/"
    with pytest.raises(MissingDataError, match=message):
        ImageFolder(root).samples("bottle", "test")


def test_a_mask_of_another_size_is_refused(tmp_path):
    root = mvtec_ad(tmp_path)
    mask(root / "bottle/ground_truth/broken_large/000_mask.png", shape=(10, 12))
    reader = ImageFolder(root)
    sample = reader.samples("bottle", "test")[0]
    for wanted in (["rgb", "mask"], ["mask"]):  # as a card of the report, and as the truth
        with pytest.raises(DataError, match=r"000_mask\.png: expected the size of broken_large"):
            load_tensors(reader, sample, 15, wanted)


@pytest.mark.parametrize("form", ["ones", "rgb", "none"])
def test_masks_of_ones_and_in_colour_mark_the_same_and_a_missing_one_nothing(tmp_path, form):
    root = mvtec_ad(tmp_path)
    path = root / "bottle/ground_truth/broken_large/000_mask.png"
    reader = ImageFolder(root)
    known = load_tensors(reader, reader.samples("bottle", "test")[0], 15, ["mask"])["mask"]
    if form == "ones":
        mask(path, value=1)
    elif form == "rgb":
        Image.open(path).convert("RGB").save(path)
    else:
        path.unlink()
    sample = reader.samples("bottle", "test")[0]
    found = load_tensors(reader, sample, 15, ["mask"])["mask"]
    assert (found == known).all() if form != "none" else not found.any()
    assert sample.is_truth(found) == (form != "none")


def test_no_training_image_and_pairs_in_place_of_photographs_are_named(tmp_path):
    root = mvtec_ad(tmp_path)
    for path in (root / "bottle/train/good").iterdir():
        path.unlink()
    with pytest.raises(
        MissingDataError, match=r"bottle/train: expected images in good/, .* got no"
    ):
        ImageFolder(root).samples("bottle", "train")
    photograph(root / "bottle/train/good/rgb/000.png")
    with pytest.raises(MissingDataError, match=r"Pairs of RGB and depth need data=mvtec3d\.$"):
        ImageFolder(root).samples("bottle", "train")


def test_a_defect_among_the_training_images_is_refused(tmp_path):
    root = mvtec_ad(tmp_path)
    photograph(root / "bottle/train/scratch/000.png")
    with pytest.raises(DataError, match="scratch"):
        FewShot(1, modality="rgb").task(ImageFolder(root), "bottle")
    assert any("bottle/train/scratch" in problem for problem in check(root).problems)


def test_a_category_in_place_of_the_data_set_is_told_what_to_say(tmp_path):
    root = mvtec_ad(tmp_path / "data")
    message = r"got a category\. Say data\.root=.*data data\.category=bottle\."
    with pytest.raises(MissingDataError, match=message):
        ImageFolder(root / "bottle").categories()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "rgba"])
def test_a_camera_held_sideways_is_turned_upright(tmp_path, suffix):
    root = mvtec_ad(tmp_path)
    path = root / f"bottle/train/good/000.{suffix}"
    (root / "bottle/train/good/000.png").unlink()
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    pixels[:, :5] = 255  # bright on the left as it is stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = Image.fromarray(pixels)
    if suffix == "rgba":
        image, path = image.convert("RGBA"), path.with_suffix(".png")
    image.save(path, exif=exif, **({"quality": 95} if suffix == "jpg" else {}))
    reader = ImageFolder(root)
    sample = reader.samples("bottle", "train")[0]
    seen = reader.read(sample, "rgb")
    assert seen.shape == (SHAPE[1], SHAPE[0], 3)
    assert seen[:4].min() > 200  # now at the top
    assert seen[8:].max() < 60
    assert reader.read_mask(sample).shape == (SHAPE[1], SHAPE[0])


@pytest.mark.parametrize("mode", ["I;16", "CMYK", "F"])
def test_what_cannot_be_shown_as_a_person_sees_it_is_refused_with_the_reason(tmp_path, mode):
    root = mvtec_ad(tmp_path)
    path = root / "bottle/train/good/000.tif"
    path.with_suffix(".png").unlink()
    if mode == "CMYK":
        Image.new(mode, SHAPE).save(path)
    else:
        dtype = np.uint16 if mode == "I;16" else np.float32
        Image.fromarray(np.ones(SHAPE, dtype)).save(path)
    reader = ImageFolder(root)
    message = r"000\.tif: expected an 8-bit colour or grey image \(H, W, 3\), got .* Convert it"
    with pytest.raises(DataError, match=message):
        reader.read(reader.samples("bottle", "train")[0], "rgb")
    assert any("000.tif" in problem for problem in check(root).problems)


@pytest.mark.parametrize(
    "names",
    [
        "rgb",
        [],
        ["rgb", "rgb"],
        ["rgb", "depth"],
        ["gt"],
        ["mask"],
        ["score"],
        [0, 1],
        5,
        None,
        ["a/b"],
        ["rgb", "area"],  # a name of the truth's
    ],
)
def test_cameras_have_different_names_of_their_own(tmp_path, names):
    with pytest.raises(ConfigError, match=r"data\.reader\.cameras: expected a list of"):
        Cameras(tmp_path, cameras=names)


def test_a_test_folder_that_is_laid_out_otherwise_is_no_missing_test(tmp_path):
    root = cameras(tmp_path)
    shutil.rmtree(root / "cotton/test")
    photograph(root / "cotton/test/hole/0.png")
    with pytest.raises(MissingDataError, match=r"expected images in <defect>/\{rgb,ir\}/, got"):
        Cameras(root).samples("cotton", "test")


def test_hidden_folders_are_no_kinds_of_defects(tmp_path):
    root = mvtec_ad(tmp_path / "plain")
    for place in ("test", "train"):
        photograph(root / "bottle" / place / ".ipynb_checkpoints/000-checkpoint.png")
    reader = ImageFolder(root)
    assert counts(reader.samples("bottle", "test")) == {"broken_large": 2, "good": 2}
    assert len(reader.samples("bottle", "train")) == 3
    pairs = cameras(tmp_path / "pairs")
    photograph(pairs / "cotton/test/.ipynb_checkpoints/rgb/000.png")
    assert counts(Cameras(pairs).samples("cotton", "test")) == {"good": 1, "hole": 2}


def test_a_label_without_its_surface_is_named(tmp_path):
    reader = KolektorSDD(kolektorsdd(tmp_path))
    (tmp_path / "kos02/Part1.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"Part1_label\.bmp: expected its image beside it"):
        reader.samples("kolektorsdd", "train")


def test_a_camera_that_missed_a_part_is_named(tmp_path):
    root = cameras(tmp_path)
    (root / "cotton/test/hole/ir/001.png").unlink()
    with pytest.raises(MissingDataError, match=r"hole: expected ir/001 beside the other cameras'"):
        Cameras(root).samples("cotton", "test")
    assert any("ir/*.png" in problem for problem in check(root, "cameras").problems)


@pytest.mark.parametrize("reader", ["image_folder", "cameras"])
def test_one_listing_by_modality_serves_photographs_and_cameras(tmp_path, reader):
    write, kind, category, *_ = CASES[reader]
    assert kind.samples is VisA.samples
    assert kind.folders is VisA.folders
    for listed in kind(write(tmp_path)).listed(category, "test"):
        assert tuple(listed.images) == kind(tmp_path).modalities
        assert {*listed.patterns} == {*listed.images, "gt"}


def test_what_one_camera_lacks_is_refused_as_it_is_of_photographs(tmp_path):
    root = cameras(tmp_path)
    (root / "cotton/test/hole/ir/000.png").unlink()
    message = (
        r"gt/000\.png: expected an image for every mask, got none for it in cotton/test/hole\."
    )
    with pytest.raises(MissingDataError, match=message):
        Cameras(root, cameras=["ir"]).samples("cotton", "test")
    (root / "cotton/test/hole/rgb/000.png").unlink()  # its mask alone is left
    message = r"hole: expected rgb/000 beside the other cameras' image or its mask, got none$"
    with pytest.raises(MissingDataError, match=message):
        Cameras(root).samples("cotton", "test")
    photograph(root / "cotton/test/hole/ir/001.jpg")
    message = r"hole/ir: expected one file of each name, got 001\.jpg and 001\.png\. Delete one\.$"
    with pytest.raises(DataError, match=message):
        Cameras(root).samples("cotton", "test")


def test_a_camera_without_training_images_is_named(tmp_path):
    root = cameras(tmp_path)
    for camera in ("rgb", "ir"):
        shutil.rmtree(root / "cotton/train/good" / camera)
    (root / "cotton/train/good/rgb").mkdir()
    (root / "cotton/train/good/rgb/notes.txt").touch()
    with pytest.raises(MissingDataError, match=r"train: expected images in good/rgb/, got none\.$"):
        Cameras(root).samples("cotton", "train")


NESTED = {
    "image_folder": (
        ("train/good/second_day/0.png", "train/good/second_day/1.JPG", "test/.trash/a.png"),
        "bottle: 3 images in nested or hidden folders not read: test/.trash (1), "
        "train/good/second_day (2). Move them up to where the others are to have them read",
    ),
    "cameras": (
        ("train/good/ir/raw/0.png", "train/good/thermal/0.png"),  # no camera of the run's
        "cotton: 1 image in nested or hidden folders not read: train/good/ir/raw (1). Move",
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_images_in_nested_and_hidden_folders_are_named_in_one_line(tmp_path, name, caplog):
    write, kind, category, *_ = CASES[name]
    files, line = NESTED[name]
    reader = kind(write(tmp_path))
    known = check(tmp_path, name).notes
    for file in (*files, "train/good/empty/notes.txt", "train/good/empty/._0.png"):
        (tmp_path / category / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / category / file).touch()  # none of them is opened
    (note,) = set(check(tmp_path, name).notes) - set(known)
    assert note.startswith(line)
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert f"note: {line}" in done.output
    protocol = FewShot(2, modality=reader.modalities[-1])
    data = DataModule(lambda root, _: kind(root), tmp_path, category, 2, protocol=protocol)
    data.inspect_shots()
    assert [record.getMessage() for record in caplog.records] == [note]


def test_a_hidden_folder_is_named_in_any_layout(tmp_path):
    photograph(visa(tmp_path) / "candle/Data/Images/.trash/0.png")
    (note,) = check(tmp_path).notes
    assert note.startswith("candle: 1 image in nested or hidden folders not read: Data/Images/.tra")


def test_a_check_and_an_audit_are_told_the_cameras(tmp_path):
    root = cameras(tmp_path)
    for folder in root.glob("cotton/*/*"):
        (folder / "ir").rename(folder / "uv")
    told = [str(root), "--camera", "rgb", "--camera", "uv"]
    done = CliRunner().invoke(app, ["data", "check", *told])
    assert done.exit_code == 0, done.output
    assert "no problems found" in done.output
    assert find_format(root, "auto", ["rgb", "uv"]) == "cameras"
    done = CliRunner().invoke(app, ["data", "audit", *told])
    assert done.exit_code == 0, done.output
    assert "uv" in done.output
    assert " ir " not in done.output
    (root / "cotton/test/hole/uv/001.png").unlink()
    done = CliRunner().invoke(app, ["data", "check", *told])
    assert done.exit_code == 1
    assert "expected uv/*.png for every image, got 1 of 2 (none for 001)" in done.output
    assert any("ir/*.png" in problem for problem in check(root, "cameras").problems)


@pytest.mark.parametrize("command", ["check", "audit"])
def test_cameras_that_no_data_set_can_have_are_refused(tmp_path, command):
    words = ["data", command, str(cameras(tmp_path)), "--camera", "rgb", "--camera"]
    done = CliRunner().invoke(app, [*words, "rgb"])
    assert done.exit_code == 1
    assert "error: --camera: expected a list of different names of folders, none of" in done.stderr
    done = CliRunner().invoke(app, [*words, "ir", "--format", "image_folder"])
    assert done.exit_code == 1
    assert done.stderr == (
        "error: --camera: expected none with --format image_folder, got rgb, ir. Leave it out, or "
        "say --format cameras.\n"
    )
