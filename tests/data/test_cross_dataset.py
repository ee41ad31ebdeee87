"""Cross-dataset: another data set is learnt from, and the known references are never tested."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pair_folders import write_mvtec3d

from fsad.data.batch import ImageBatch
from fsad.data.canvas import Canvas
from fsad.data.datasets import RoleImages
from fsad.data.mvtec3d import MVTec3D
from fsad.data.protocols.cross_dataset import CrossDataset
from fsad.data.protocols.source_data import SourceData
from fsad.data.task import ELSEWHERE, Task
from fsad.engine.learnt import learnt_from_test_split
from fsad.errors import ConfigError, DataError, MissingDataError


@pytest.fixture
def folders(tmp_path):
    """Two data sets of one category, ``bolt``, whose files are called alike."""
    for name in ("here", "there"):
        write_mvtec3d(tmp_path / name, test={"good": 3, "cut": 12, "dent": 9})
    return tmp_path


@pytest.fixture
def reader(folders):
    return MVTec3D(folders / "here")


@pytest.fixture
def source(folders):
    return SourceData(MVTec3D, folders / "there")


def names(samples):
    return [sample.name for sample in samples]


def task(source, reader, **options):
    return CrossDataset(source, **options).task(reader, "bolt")


@pytest.mark.parametrize("seed", range(5))
def test_references_are_nested_one_class_of_defects_and_never_tested(source, reader, seed):
    one, four = (
        task(source, reader, n_normal=count, n_anomalous=count, seed=seed) for count in (1, 4)
    )
    for role in ("shots", "seen_anomalies"):
        few, many = (names(each.role(role).samples) for each in (one, four))
        assert (len(few), len(many)) == (1, 4)
        assert few == many[:1]
        assert not set(many) & set(names(four.test.samples))
    assert len({sample.defect for sample in four.role("seen_anomalies").samples}) == 1
    assert all(sample.split == "train" for sample in four.role("shots").samples)
    assert len(four.test.samples) == 3 + 12 + 9 - 4


def test_hard_tests_no_image_of_the_class_that_is_known(source, reader):
    for seed in range(4):
        hard = task(source, reader, setting="hard", seed=seed)
        known = hard.role("seen_anomalies").samples[0].defect
        assert {it.defect for it in hard.test.samples} == {"good", "cut", "dent"} - {known}
    named = task(source, reader, setting="hard", known_defect="cut")
    assert {it.defect for it in named.test.samples} == {"good", "dent"}


def test_normal_references_of_the_test_split_are_not_tested(source, reader):
    drawn = task(source, reader, reference_split="test", n_normal=2)
    shots = names(drawn.role("shots").samples)
    assert all("/test/good/" in name for name in shots)
    assert not set(shots) & set(names(drawn.test.samples))
    assert len(drawn.test.samples) == 1 + 12 + 9 - 1


def test_the_draw_is_a_function_of_the_seed(source, reader):
    def drawn(seed):
        roles = task(source, reader, seed=seed).roles
        return tuple(names([*roles["shots"].samples, *roles["seen_anomalies"].samples]))

    assert drawn(2) == drawn(2)
    assert len({drawn(seed) for seed in range(10)}) > 5


def test_the_source_is_its_whole_test_split_with_masks_read_by_its_own_reader(source, reader):
    role = task(source, reader).role("source_data")
    assert role.reader is source.reader
    assert (role.labels, role.masks, role.modality) == (True, True, "rgb")
    assert len(role.samples) == 3 + 12 + 9
    images = RoleImages(reader, [role], Canvas.square(16))
    batches: list[ImageBatch] = [images[place] for place in range(len(images))]
    assert [bool(batch.label) for batch in batches] == [it.is_anomalous for it in role.samples]
    assert all(bool(batch.mask.any()) == bool(batch.label) for batch in batches)


def test_images_of_two_data_sets_that_are_called_alike_are_two_images(source, reader):
    drawn = task(source, reader)
    learnt = learnt_from_test_split(drawn)
    assert sum(name.startswith(ELSEWHERE) for name in learnt) == 24
    assert len(learnt) == 24 + 1  # and the defective reference


def test_the_source_of_several_categories_is_there_once(source, reader):
    drawn = task(source, reader)
    joined = Task.joined([drawn, drawn])
    assert joined.role("source_data").samples == drawn.role("source_data").samples


# --- what is refused ---


def test_a_category_is_not_learnt_from_and_tested(folders, reader):
    message = (
        r"^source: expected other categories than those that are tested, got bolt in both\. Name "
        r"others in source\.category, or choose another data set\.$"
    )
    with pytest.raises(ConfigError, match=message):
        task(SourceData(MVTec3D, folders / "here"), reader)


def test_there_is_a_source():
    message = r"^source: expected the data set that is learnt from, got none\. Say source=NAME "
    with pytest.raises(ConfigError, match=message):
        CrossDataset()


class WithoutMasks(MVTec3D):
    def samples(self, category, split):
        return [replace(sample, masks=()) for sample in super().samples(category, split)]


def test_a_source_without_masks_is_refused(folders, reader):
    message = (
        r"^source: expected normal images and defective ones with masks in the test split of bolt, "
        r"got 3 and 0\. Choose another source, or name its other categories in source\.category\.$"
    )
    with pytest.raises(DataError, match=message):
        task(SourceData(WithoutMasks, folders / "there"), reader)


def test_a_target_without_masks_has_no_defective_reference(folders, source):
    message = (
        r"^protocol\.n_anomalous: expected images of bolt with a defect and a mask in its test "
        r"split, got none\. Add masks, or leave bolt out of data\.category\.$"
    )
    with pytest.raises(DataError, match=message):
        task(source, WithoutMasks(folders / "here"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_normal": 500}, r"protocol\.n_normal: expected at most \d+, the normal train images"),
        (
            {"n_normal": 3, "reference_split": "test"},
            "protocol.n_normal: expected at most 2, the normal test images of bolt but one to be "
            "tested, got 3. Take fewer, or add images.",
        ),
        (
            {"n_anomalous": 13},
            "protocol.n_anomalous: expected at most 12, the masked images of one class of defects "
            "of bolt that leave a defective one to be tested, got 13. Take fewer, or add images.",
        ),
        ({"n_normal": 0}, "protocol.n_normal: expected a whole number of at least 1, got 0"),
        ({"setting": "easy"}, "protocol.setting: expected one of general, hard, got 'easy'"),
        ({"known_defect": "rust"}, "protocol.known_defect: expected one of cut, dent, got 'rust'"),
        (
            {"reference_split": "validation"},
            "protocol.reference_split: expected one of train, test, got 'validation'",
        ),
        ({"modality": "thermal"}, "protocol.modality: expected one of rgb, depth, got 'thermal'"),
    ],
)
def test_a_setting_out_of_range_is_refused(source, reader, options, message):
    with pytest.raises(ConfigError, match=message):
        task(source, reader, **options)


def test_the_references_leave_a_defective_image_to_be_tested(folders, source):
    write_mvtec3d(folders / "one", test={"good": 3, "cut": 4})
    only = MVTec3D(folders / "one")
    assert len(task(source, only, n_anomalous=3).test.samples) == 3 + 1
    message = (
        r"^protocol\.n_anomalous: expected at most 3, the masked images of one class of defects of "
        r"bolt that leave a defective one to be tested, got 4\. Take fewer, or add images\.$"
    )
    with pytest.raises(ConfigError, match=message):
        task(source, only, n_anomalous=4)


def test_hard_needs_several_classes_of_defects(folders, source):
    write_mvtec3d(folders / "one", test={"good": 3, "cut": 12})
    message = (
        r"^protocol\.setting: expected several classes of defects of bolt for hard, got cut alone\."
    )
    with pytest.raises(ConfigError, match=message):
        task(source, MVTec3D(folders / "one"), setting="hard")


def test_the_folder_and_the_categories_of_the_source_are_called_by_their_settings(folders):
    with pytest.raises(MissingDataError, match=r"got no such folder\. Set source\.root to it"):
        _ = SourceData(MVTec3D, folders / "nowhere").categories
    message = re.escape("source.category: expected one of bolt, got 'nut'")
    with pytest.raises(ConfigError, match=message):
        _ = SourceData(MVTec3D, folders / "there", "nut").categories
    with pytest.raises(ConfigError, match=r"source\.category: expected different names"):
        SourceData(MVTec3D, folders / "there", ["bolt", "bolt"])


def test_a_data_set_is_learnt_from_as_it_is_tested():
    """``conf/source`` names the readers of ``conf/data``."""
    conf = Path(__file__).parents[2] / "conf"
    for file in sorted((conf / "source").glob("[!_]*.yaml")):
        learnt, tested = (
            yaml.safe_load((conf / group / file.name).read_text())["reader"]
            for group in ("source", "data")
        )
        assert learnt["_target_"] == tested["_target_"]
