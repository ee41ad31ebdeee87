import re
import shutil
from collections import defaultdict
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from pair_folders import DEFECT, PART, SHAPE, save_png, write_mvtec3d

from fsad.data.batch import ImageBatch, Truth, stack_images
from fsad.data.datamodule import DataModule
from fsad.data.datasets import RoleImages
from fsad.data.depth import nearest_resize
from fsad.data.inspect.audit import audit_samples
from fsad.data.mvtec3d import MVTec3D
from fsad.data.protocols.cross_dataset import CrossDataset
from fsad.data.protocols.few_shot import FewShot
from fsad.data.protocols.open_set import OpenSet
from fsad.data.protocols.source_data import SourceData
from fsad.data.sampling import EpochSampler
from fsad.data.task import Role
from fsad.data.transforms import load_tensors
from fsad.errors import ConfigError, DataError, MissingDataError, message_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # workers are a setting
    # Lightning 2.6 on torch 2.15
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:FutureWarning"),
]


class Watched(MVTec3D):
    """Writes down every file that it is asked to open."""

    opened: ClassVar = defaultdict(list)

    def read(self, sample, modality):
        if modality != "depth":  # which is opened below
            self.opened[modality].append(sample)
        return super().read(sample, modality)

    def read_stored(self, sample):
        self.opened["depth"].append(sample)
        return super().read_stored(sample)

    def read_mask(self, sample):
        self.opened["mask"].append(sample)
        return super().read_mask(sample)

    def read_part(self, sample):
        self.opened["part"].append(sample)
        return super().read_part(sample)


@pytest.fixture
def opened(monkeypatch):
    record = defaultdict(list)
    monkeypatch.setattr(Watched, "opened", record)
    return record


@pytest.fixture
def module(mvtec3d):
    """``module(shots=2, ...)``: the data module of the generated dataset."""

    def make(shots=2, reader=MVTec3D, category="bolt", **options):
        settings = {"image_size": 32, "batch_size": 4, **options}
        return DataModule(reader, mvtec3d, category, shots, **settings)

    return make


# --- categories ---


def test_a_category_is_one_name_a_list_or_all(mvtec3d, module):
    write_mvtec3d(mvtec3d, "anchor")
    assert module(category="bolt").categories == ["bolt"]
    assert module(category=["bolt", "anchor"]).categories == ["bolt", "anchor"]
    assert module(category="all").categories == ["anchor", "bolt"]


def test_all_keeps_a_category_that_lost_a_split_so_that_it_fails_by_name(mvtec3d, module):
    shutil.rmtree(write_mvtec3d(mvtec3d, "knob") / "train")
    whole = module(category="all")
    assert whole.categories == ["bolt", "knob"]
    whole.for_category("bolt").setup()
    with pytest.raises(MissingDataError, match=r"knob/train: expected .*, got none"):
        whole.for_category("knob").setup()


def test_an_unknown_category_lists_the_known_ones(module):
    with pytest.raises(ConfigError, match=r"data.category: expected one of bolt, got 'bagel'"):
        _ = module(category=["bolt", "bagel"]).categories


@pytest.mark.parametrize("names", [[], ["bolt", "bolt"]])
def test_no_category_or_the_same_twice_is_refused(module, names):
    message = f"data.category: expected different names, got {names}"
    with pytest.raises(ConfigError, match=re.escape(message)):
        _ = module(category=names).categories


@pytest.mark.parametrize("value", [3, True, None, {"name": "bolt"}, ["bolt", 3]])
def test_what_is_neither_a_name_nor_a_list_of_names_is_refused(module, value):
    message = f"data.category: expected a name, a list of names or all, got {value!r}"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        module(category=value)


def test_loaders_of_several_categories_have_the_images_of_all(mvtec3d, module):
    write_mvtec3d(mvtec3d, "anchor")
    data = module(category="all")
    parts = [data.for_category(name).loader("source").dataset for name in ("anchor", "bolt")]
    whole = data.loader("source").dataset
    assert len(whole) == sum(map(len, parts))
    assert torch.equal(whole[len(parts[0])].image, parts[1][0].image)


def test_narrowing_keeps_every_setting(mvtec3d, module):
    write_mvtec3d(mvtec3d, "anchor", train=3)
    options = {"shots": 3, "seed": 7, "shot_selection": "first", "workers": 0}
    whole = module(category="all", **options)
    narrow, direct = whole.for_category("anchor"), module(category="anchor", **options)
    assert narrow.categories == ["anchor"]
    settings = ("root", "category", "shots", "image_size", "batch_size", "workers", "seed")
    assert [getattr(narrow, name) for name in (*settings, "shot_selection")] == [
        getattr(direct, name) for name in (*settings, "shot_selection")
    ]
    assert narrow.shot_files == direct.shot_files


def test_all_says_which_published_categories_are_absent(mvtec3d, module, caplog):
    assert module(category="all", published="bagel,bolt,rope").categories == ["bolt"]
    assert f"data.category=all: not in {mvtec3d}: bagel, rope" in caplog.text


# --- shots ---


def test_the_same_seed_draws_the_same_shots_whatever_else_was_drawn(module):
    first = module(seed=3).shot_files
    torch.rand(5)
    np.random.rand(5)
    assert module(seed=3).shot_files == first


def test_seeds_draw_different_shots(module):
    assert len({tuple(module(seed=seed).shot_files) for seed in range(10)}) > 3


def test_categories_draw_on_their_own(mvtec3d, module):
    for name in ("anchor", "clip", "dowel"):
        write_mvtec3d(mvtec3d, name)
    draws = {
        tuple(sample.stem for sample in module(category=name, shots=5).task.role("shots").samples)
        for name in ("anchor", "bolt", "clip", "dowel")
    }
    assert len(draws) > 1


@pytest.mark.parametrize("selection", ["random", "first"])
@pytest.mark.parametrize("seed", range(5))
def test_fewer_shots_are_the_first_of_more(module, selection, seed):
    one, two, five = (
        module(shots=k, seed=seed, shot_selection=selection).shot_files for k in (1, 2, 5)
    )
    assert one == five[:1]
    assert two == five[:2]
    assert len(set(five)) == 5


def test_selecting_the_first_takes_the_first_by_name(module):
    assert module(shots=3, shot_selection="first", seed=5).shot_files == [
        f"bolt/train/good/xyz/00{index}.tiff" for index in range(3)
    ]


def test_no_shot_is_a_test_image(module):
    data = module(shots=6)
    files = {sample.files["depth"] for sample in data.task.role("shots").samples}
    assert files <= {sample.files["depth"] for sample in data.task.role("source").samples}
    assert not files & {sample.files["depth"] for sample in data.test_samples}


def test_more_shots_than_training_images_are_refused(module):
    message = (
        "data.shots: expected at most 6 for category 'bolt', got 7. "
        "Take fewer shots or add training images"
    )
    with pytest.raises(ConfigError, match=message):
        module(shots=7).setup()


# --- settings ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "data.shots: expected a whole number of at least 1, got 0"),
        ({"image_size": 0}, "data.image_size: expected a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "data.batch_size: expected a whole number of at least 1, got 0"),
        ({"workers": -1}, "data.workers: expected a whole number of at least 0, got -1"),
        ({"seed": -1}, "data.seed: expected a whole number of at least 0, got -1"),
        (
            {"shot_selection": "best"},
            "data.shot_selection: expected one of random, first, got 'best'",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(module, options, message):
    with pytest.raises(ConfigError, match=message):
        module(**options)


def test_a_training_image_with_a_defect_is_refused(mvtec3d, module):
    (mvtec3d / "bolt/test/cut").rename(mvtec3d / "bolt/train/cut")
    message = "cut/xyz/000.tiff: expected training images without defects, got 'cut'"
    with pytest.raises(DataError, match=message):
        module().setup()


def test_setting_up_again_changes_nothing_and_opens_nothing(module, opened):
    data = module(reader=Watched)
    data.setup("fit")
    shots, tests = data.task.role("shots").samples, data.test_samples
    data.setup("test")
    assert data.task.role("shots").samples is shots
    assert data.test_samples is tests
    assert not opened


def test_counts_are_those_of_the_folders(module):
    data = module()
    assert (data.n_source, data.n_test_good, data.n_test_defect) == (6, 2, 3)


# --- loaders ---


def test_the_source_loader_opens_the_rgb_of_training_images_alone(module, opened):
    data = module(reader=Watched)
    assert sum(len(batch.index) for batch in data.loader("source")) == 6
    assert set(opened) == {"rgb"}
    assert opened["rgb"] == data.task.role("source").samples


def test_the_target_loader_opens_the_depth_of_the_shots_alone(module, opened):
    data = module(shots=2, reader=Watched)
    assert sum(len(batch.index) for batch in data.loader("shots")) == 2
    assert opened["depth"] == data.task.role("shots").samples
    assert (
        opened["part"] == data.task.role("shots").samples
    )  # where to fill holes, in prepared data
    assert set(opened) == {"depth", "part"}


@pytest.mark.parametrize(
    ("loader", "files"),
    [
        ("test_dataloader", {"depth", "part"}),  # the part says where to fill holes
        ("truth_dataloader", {"depth", "part", "mask"}),
    ],
)
def test_these_loaders_open_these_files_of_test_images_alone(module, opened, loader, files):
    data = module(reader=Watched)
    list(getattr(data, loader)())
    assert set(opened) == files
    assert all(samples == data.test_samples for samples in opened.values())


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("role", ["source", "shots"])
def test_processes_share_out_whole_batches_in_turn_and_leave_none(module, role, processes):
    data = module(shots=5, batch_size=2)
    all_batches = [batch.index.tolist() for batch in data.loader(role)]
    shares = [
        [batch.index.tolist() for batch in data.loader(role, share=(rank, processes))]
        for rank in range(processes)
    ]
    for rank, share in enumerate(shares):
        assert share == all_batches[rank::processes]


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_processes_share_out_the_test_images_and_each_gets_some(module, processes):
    data, seen = module(batch_size=4), []
    for rank in range(processes):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=processes)
        share = torch.cat([batch.index for batch in data.test_dataloader()]).tolist()
        assert share
        seen += share
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_more_processes_than_test_images_are_refused(module):
    data = module()
    data.trainer = SimpleNamespace(global_rank=0, world_size=6)
    message = "trainer.devices: expected at most 5, one per test image, got 6"
    with pytest.raises(ConfigError, match=message):
        data.test_dataloader()


@pytest.mark.parametrize("role", ["source", "shots", "test"])
def test_image_batches_are_in_order_and_as_promised(module, role):
    data = module(shots=5)
    batches = list(data.test_dataloader() if role == "test" else data.loader(role))
    assert all(isinstance(batch, ImageBatch) for batch in batches)
    index = torch.cat([batch.index for batch in batches])
    assert torch.equal(index, torch.arange(6 if role == "source" else 5))
    assert batches[0].image.shape == (4, 3, 32, 32)
    assert batches[0].image.dtype == torch.float32
    assert 0 <= batches[0].image.min() <= batches[0].image.max() <= 1


def test_an_index_points_to_the_sample_whose_image_it_came_with(module):
    data = module()
    batch = next(iter(data.loader("source")))
    for image, index in zip(batch.image, batch.index, strict=True):
        sample = data.task.role("source").samples[index]
        assert torch.equal(image, load_tensors(data.reader, sample, 32, ["rgb"])["rgb"])


def test_truth_batches_hold_mask_part_and_label(module):
    data = module(batch_size=8)
    (batch,) = data.truth_dataloader()
    assert isinstance(batch, Truth)
    marked, part = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    marked[DEFECT], part[PART] = True, True
    assert batch.label.tolist() == [True, True, True, False, False]
    assert batch.index.tolist() == [0, 1, 2, 3, 4]
    for mask, label in zip(batch.mask, batch.label, strict=True):
        np.testing.assert_array_equal(mask, nearest_resize(marked, 32) & label.item())
    for found in batch.part:
        np.testing.assert_array_equal(found, nearest_resize(part, 32))


def test_loaders_leave_the_global_generator_alone(module):
    data = module()
    before = torch.get_rng_state()
    for loader in (data.loader("source"), data.loader("shots"), data.test_dataloader()):
        list(loader)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_error_in_a_worker_keeps_its_type_and_its_one_line(mvtec3d, module):
    broken = mvtec3d / "bolt/train/good/rgb/002.png"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        list(module(workers=1).loader("source"))
    assert message_of(caught.value).startswith(f"{broken}: expected a readable png, got '")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_read_the_same_batches(module):
    alone, helped = (list(module(workers=count).loader("source")) for count in (0, 1))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.image, other.image)


# --- training ---


def test_the_sampler_shuffles_as_a_pure_function_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = EpochSampler(20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert all(sorted(each) == list(range(20)) for each in orders)
    assert len(set(map(tuple, orders))) == 9
    assert order(1, 2) == orders[5]


class Recorder(LightningModule):
    """Writes down what its training step is given."""

    def __init__(self, reads, sampling="shuffled"):
        super().__init__()
        self.reads, self.sampling = reads, sampling
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = defaultdict(list)

    def training_step(self, batch):
        self.seen[self.current_epoch].append(batch)
        return self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def orders(self):
        return {e: torch.cat([b.index for b in seen]).tolist() for e, seen in self.seen.items()}


def fit(recorder, data, epochs, tmp_path, ckpt=None):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(recorder, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return trainer


def test_a_module_that_reads_the_source_sees_every_image_once_in_another_order(module, tmp_path):
    recorder = Recorder(("source",))
    fit(recorder, module(), 3, tmp_path)
    orders = recorder.orders()
    assert [sorted(order) for order in orders.values()] == [list(range(6))] * 3
    assert len(set(map(tuple, orders.values()))) > 1


def test_a_resumed_run_sees_the_order_of_the_uninterrupted_one(module, tmp_path):
    whole, start, rest = (Recorder(("source",)) for _ in range(3))
    fit(whole, module(), 4, tmp_path)
    fit(start, module(), 2, tmp_path).save_checkpoint(tmp_path / "half.ckpt")
    fit(rest, module(), 4, tmp_path, tmp_path / "half.ckpt")
    assert start.orders() | rest.orders() == whole.orders()


def test_a_module_that_reads_no_role_gets_one_empty_batch_per_epoch_and_no_file(
    module, tmp_path, opened
):
    recorder = Recorder(())
    fit(recorder, module(reader=Watched), 3, tmp_path)
    assert [[batch.tolist() for batch in seen] for seen in recorder.seen.values()] == [[[0.0]]] * 3
    assert not opened


def test_another_role_is_refused_with_those_there_are(module, tmp_path):
    message = r"protocol: expected one with the role 'both', got one with source, shots, test\. "
    with pytest.raises(ConfigError, match=message):
        fit(Recorder(("both",)), module(), 1, tmp_path)


def test_a_module_that_reads_the_shots_gets_every_one_once_an_epoch_in_changing_order(
    module, tmp_path
):
    recorder, data = Recorder(("shots",)), module(shots=4)
    fit(recorder, data, 4, tmp_path)
    orders = [
        [i for batch in seen for i in batch.index.tolist()] for seen in recorder.seen.values()
    ]
    assert [sorted(order) for order in orders] == [[0, 1, 2, 3]] * 4
    assert len({tuple(order) for order in orders}) > 1


# --- roles ---


def test_the_protocol_decides_who_plays_which_role(module):
    data = module(protocol=FewShot(2, modality="rgb"))
    assert set(data.task.roles) == {"shots"}
    assert all("/rgb/" in name for name in (*data.shot_files, *data.test_files))
    assert (data.n_source, data.for_category("bolt").task) == (0, data.task)
    with pytest.raises(ConfigError, match="expected one with the role 'source', got one with shot"):
        data.loader("source")


def test_a_loader_of_photographs_opens_no_depth(module, opened):
    data = module(reader=Watched, protocol=FewShot(2, modality="rgb"))
    assert [batch.index.tolist() for batch in data.loader("shots")] == [[0, 1]]
    assert sum(len(batch.index) for batch in data.test_dataloader()) == 5
    assert set(opened) == {"rgb"}


def test_labels_come_where_a_role_has_them_and_masks_never_unasked(module):
    data = module(protocol=OpenSet(1, "hard", "dent"))
    for role, labels in (("normals", None), ("seen_anomalies", [True])):
        (batch, *_) = data.loader(role)
        assert batch.mask is None
        assert batch.label is None if labels is None else batch.label.tolist() == labels
    both = torch.cat([batch.label for batch in data.loader(("normals", "seen_anomalies"))])
    assert both.tolist() == [False] * 6 + [True]
    assert all(batch.label is None for batch in data.test_dataloader())


def test_masks_come_where_a_role_has_them(module):
    data = module()
    test = data.reader.samples("bolt", "test")
    images = RoleImages(data.reader, [Role(test, "rgb", labels=True, masks=True)], 32)
    batch = stack_images([images[place] for place in range(len(images))])
    (truth,) = module(batch_size=8).truth_dataloader()
    assert torch.equal(batch.mask, truth.mask)
    assert torch.equal(batch.label, truth.label)


def test_a_module_may_ask_for_balanced_batches_of_two_roles(module, tmp_path):
    recorder = Recorder(("normals", "seen_anomalies"), "balanced")
    fit(recorder, module(protocol=OpenSet(1, "hard", "dent")), 3, tmp_path)
    for batches in recorder.seen.values():
        assert [batch.label.tolist() for batch in batches] == [[False, False, True, True]] * 3
        assert all(set(batch.index[2:].tolist()) == {6} for batch in batches)
        assert sorted(i for batch in batches for i in batch.index[:2].tolist()) == list(range(6))
    assert len(set(map(tuple, recorder.orders().values()))) > 1


def test_an_unknown_sampling_or_a_share_of_a_shuffled_pass_is_refused(module):
    message = "sampling: expected one of sequential, shuffled, balanced, got 'sorted'"
    with pytest.raises(ConfigError, match=message):
        module().loader("source", "sorted")
    with pytest.raises(ConfigError, match=r"share: expected the whole of a shuffled pass, got \(0"):
        module().loader("source", "shuffled", (0, 2))


def test_the_digest_of_a_role_is_of_what_it_reads_and_of_its_labels(mvtec3d, module):
    def digests(protocol):
        data = module(protocol=protocol)
        return [data.digest(name) for name in ("source", "shots", "seen_anomalies", "test")]

    cross = digests(None)
    assert len(set(cross)) == 4  # of the role that is not there, a digest of nothing
    assert digests(FewShot(2))[1] == cross[1]
    assert digests(FewShot(2, modality="rgb"))[1] != cross[1]
    save_png(mvtec3d / "bolt/train/good/rgb/000.png", np.zeros((*SHAPE, 3), np.uint8))
    again = digests(None)
    assert again[0] != cross[0]
    assert again[1:] == cross[1:]


class WithSettings(MVTec3D):
    def __init__(self, root, rules=None, light=0):
        super().__init__(root, rules)
        self.light = light


def test_the_digest_of_a_role_is_of_the_reader_and_its_settings(module):
    makes = (MVTec3D, WithSettings, partial(WithSettings, light=1), partial(WithSettings, light=2))
    for name in ("shots", "test"):
        assert len({module(reader=make).digest(name) for make in makes}) == len(makes)
    assert module(reader=partial(MVTec3D)).digest("shots") == module().digest("shots")
    assert len({module(reader=make).test_content() for make in makes}) == len(makes)


def test_the_digest_of_what_is_learnt_elsewhere_is_of_that_data_set_alone(module, tmp_path):
    write_mvtec3d(tmp_path / "there", test={"good": 3, "cut": 2})

    def learnt(target, make=MVTec3D):
        protocol = CrossDataset(SourceData(make, tmp_path / "there"), modality="rgb")
        return module(reader=target, protocol=protocol).digest("source_data")

    assert learnt(MVTec3D) == learnt(WithSettings)
    assert len({learnt(MVTec3D, make) for make in (MVTec3D, partial(WithSettings, light=1))}) == 2


def test_the_digest_of_labelled_images_is_of_their_categories(module):
    data = module(protocol=OpenSet(1, "hard", "dent"))
    before = data.digest("seen_anomalies")
    role = data.task.role("seen_anomalies")
    moved = replace(role, samples=[replace(it, category="other") for it in role.samples])
    data.task = replace(data.task, roles={**data.task.roles, "seen_anomalies": moved})
    assert data.digest("seen_anomalies") != before


@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_what_is_learnt_from_is_inspected_in_its_modality(module, opened, modality):
    for protocol in (FewShot(2, modality=modality), OpenSet(1, "hard", "dent", modality=modality)):
        opened.clear()
        profile = module(reader=Watched, protocol=protocol).inspect_shots()
        assert profile.aspect == SHAPE[1] / SHAPE[0]
        assert set(opened) == {modality}


# --- photographs alone ---


class Photographs(MVTec3D):
    """A data set without depth."""

    modalities = ("rgb",)

    def samples(self, category, split):
        whole = super().samples(category, split)
        return [replace(sample, files={"rgb": sample.files["rgb"]}) for sample in whole]


def test_a_data_set_of_photographs_needs_a_reader_and_no_more(module):
    data = module(reader=Photographs, protocol=FewShot(2, modality="rgb"), batch_size=8)
    data.setup()
    assert data.inspect_shots().extent is None
    (truth,) = data.truth_dataloader()
    (known,) = module(batch_size=8).truth_dataloader()
    assert torch.equal(truth.mask, known.mask)
    assert truth.part.all()
    assert not truth.misleading.any()
    assert truth.extent[:, 1].isnan().all()
    assert len(audit_samples(data.reader, "bolt", data.test_samples)) == 3  # of the photograph
    with pytest.raises(ConfigError, match=r"protocol.modality: expected one of rgb, got 'depth'"):
        module(reader=Photographs).setup()
