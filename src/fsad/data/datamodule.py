"""The data of a run: which categories, who plays which role, and the loaders of each role."""

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from fsad.data.batch import ImageBatch, Truth, stack_images
from fsad.data.canvas import RESIZES, Canvas
from fsad.data.datasets import NoImages, RoleImages, Truths, make_loader
from fsad.data.depth_rules import DepthRules
from fsad.data.identity import MASK, files_digest, reading_digest
from fsad.data.images import photograph_size
from fsad.data.inspect.references import refuse_copies, refuse_unmarked
from fsad.data.inspect.shots import inspect
from fsad.data.inspect.unread import unread_lines
from fsad.data.listing import check_category, check_names
from fsad.data.profile import InputProfile
from fsad.data.protocols.cross_domain import CrossDomain
from fsad.data.protocols.few_shot import FewShot
from fsad.data.reader import DatasetReader
from fsad.data.record import prepared_as
from fsad.data.sample import Sample
from fsad.data.sampling import (
    ALL,
    BalancedSampler,
    EpochSampler,
    Mix,
    MixedSampler,
    Share,
    batches_of,
)
from fsad.data.task import TEST, EvaluationProtocol, Role, Task
from fsad.errors import ConfigError, check_at_least, check_choice
from fsad.storage.tensor_store import TensorStore, digest

DEPTH, MODALITY = "depth", "modality"
SAMPLINGS = ("sequential", "shuffled", "balanced")
ITSELF = "itself"
"""The sampling of a stage that takes its images from the data module when it starts."""

log = logging.getLogger(__name__)


class DataModule(LightningDataModule):
    """A data set's images in the roles that a protocol gives them.

    Each loader opens only the files its batches show: that of a role the files of its samples in
    the role's modality, the test loader those of the test samples, the truth loader their masks
    and, for the part, their depth. Loaders and samples are those of all the run's categories;
    :meth:`for_category` narrows them to one.

    Laws (``tests/data/test_datamodule.py``):

    * The roles are a function of protocol, seed, category and the listing.
    * No image that is learnt from is a test image.
    * The order of training images is a function of seed and epoch.

    Args:
        reader: Makes the dataset's reader from its root, which it gets as it was written.
        root: The dataset's folder.
        category: One name, a list of names, or ``all``.
        shots: Normal images of the tested modality, per category, where the protocol has shots.
        image_size: Height and width of the images, pixels; with ``resize=keep`` of the shorter
            side.
        batch_size: Images per batch.
        workers: Processes that read images; 0 reads in the main one.
        shot_selection: ``random`` draws the shots, ``first`` takes the first by name.
        seed: Seed of the draw and of the order of training images.
        published: The dataset's own categories, comma separated as a sweep takes them; ``all``
            says which of them are not there.
        invalid: Numbers that mean "no reading" in depth files.
        z_range: Lowest and highest z that are readings.
        unit: The depth files' unit.
        shrink: How images become smaller; see :class:`~fsad.data.depth_rules.DepthRules` for these
            four. A run's settings of before they were there say nothing of them, so that what is
            taken without a word is what such runs did.
        resize: ``square`` makes photographs square, whatever their shape; ``keep`` leaves them the
            shape of the category's training images, see :meth:`lay_out`. Depth is made square.
        protocol: Which samples play which role; if omitted that of :func:`default_protocol`.
        modality: What is tested where ``target`` says nothing else, for that default; settings of a
            protocol refer to these three.
        source: ``modality`` of the plentiful images.
        target: ``modality`` of the shots and of the test images.

    Attributes:
        store: Keeps masks that take long to find; None, to begin with, keeps nothing.
        canvas: What images are brought to.

    Raises:
        ConfigError: A number, ``shot_selection`` or ``resize`` is out of range, or ``category`` is
            not made of names; later, when the dataset is looked at, a category is unknown or has
            fewer images than the protocol needs.
        DataError: When the dataset is looked at, a training image has a defect.
    """

    def __init__(
        self,
        reader: Callable[[str | Path, DepthRules], DatasetReader],
        root: str | Path,
        category: str | Sequence[str],
        shots: int,
        image_size: int = 224,
        batch_size: int = 8,
        workers: int = 0,
        shot_selection: str = "random",
        seed: int = 0,
        published: str = "",
        invalid: Sequence[float] = (),
        z_range: Sequence[float] | None = None,
        unit: str | None = None,
        shrink: str = "nearest",
        resize: str = "square",
        protocol: EvaluationProtocol | None = None,
        modality: str = "depth",
        source: Mapping[str, str] | None = None,
        target: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._make_reader = reader
        self.root = root if isinstance(root, str) else Path(root)
        self.category = check_names(category)
        self.image_size = check_at_least("data.image_size", image_size, 1)
        self.resize = check_choice("data.resize", resize, RESIZES)
        self.canvas = Canvas.square(image_size)
        self.batch_size = check_at_least("data.batch_size", batch_size, 1)
        self.workers = check_at_least("data.workers", workers, 0)
        self.seed = check_at_least("data.seed", seed, 0)
        self.shots, self.shot_selection = shots, shot_selection
        modalities = _modality("source", source, "rgb"), _modality("target", target, modality)
        default = default_protocol(shots, shot_selection, seed, *modalities)  # checks the ranges
        self.protocol: EvaluationProtocol = protocol or default
        self.published = published
        self.rules = DepthRules(invalid, z_range, unit, shrink)  # type: ignore[arg-type]  # checked
        self.store: TensorStore | None = None

    @cached_property
    def reader(self) -> DatasetReader:
        """The dataset's reader; made late, since a generated dataset is written on first use."""
        return self._make_reader(self.root, self.rules)

    @cached_property
    def categories(self) -> list[str]:
        """The run's categories: as given, or every one found for ``all``."""
        known = self.reader.categories()
        if self.category == "all":
            absent = [name for name in self.published.split(",") if name and name not in known]
            if absent:
                log.warning("data.category=all: not in %s: %s", self.root, ", ".join(absent))
            return known
        names = [self.category] if isinstance(self.category, str) else self.category
        return [check_category(name, known) for name in names]

    def for_category(self, name: str) -> "DataModule":
        """Return the same data, narrowed to one category."""
        narrowed = copy(self)
        for found_for_others in ("categories", "task"):
            narrowed.__dict__.pop(found_for_others, None)
        narrowed.category = name
        return narrowed

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002
        """List the samples and give them their roles; doing it again changes nothing."""
        _ = self.task

    @cached_property
    def task(self) -> Task:
        """Who plays which role in the category, or in all of them together."""
        return Task.joined([self.protocol.task(self.reader, name) for name in self.categories])

    @property
    def test_samples(self) -> Sequence[Sample]:
        """What is tested, sorted; a test batch's ``index`` points in here."""
        return self.task.test.samples

    @property
    def test_files(self) -> list[str]:
        """The test images, relative to the dataset's folder, in their order."""
        return self._files(self.task.test)

    @property
    def shot_files(self) -> list[str]:
        """The shots' images, relative to the dataset's folder; none without that role."""
        return self._files(self._role("shots"))

    @property
    def anomaly_files(self) -> list[str]:
        """The images with a defect that are learnt from, as :attr:`shot_files`."""
        return self._files(self._role("seen_anomalies"))

    def lay_out(self, cell: int) -> Canvas:
        """Choose the canvas of a category's images, by the training images alone; and return it.

        With ``resize=keep`` its shorter side is ``image_size``, and its aspect the median of the
        images that are learnt from in the tested modality.

        Args:
            cell: Height and width of what the backbone sees as one, pixels.

        Raises:
            ConfigError: Images of depth are to keep their shape.
            DataError: The training images are not of one shape.
        """
        if self.resize == "square":
            return self.canvas
        if DEPTH in self.reader.modalities:
            raise ConfigError(
                "data.resize: expected square with a data set of depth, got keep. Choose square, "
                "or a data set of photographs alone."
            )
        aspects = {
            name: {sample.name: _aspect(sample, role.modality) for sample in role.samples}
            for name, role in self.task.roles.items()
            if role.reader is None
        }
        learnt = aspects["normals" if "normals" in aspects else "shots"]
        canvas = Canvas.of_aspect(statistics.median(learnt.values()), self.image_size, cell)
        for role in aspects.values():
            canvas.refuse_other_shapes(role)
        self.canvas = canvas
        return canvas

    def inspect_shots(self) -> InputProfile:
        """Look at what is learnt from in the tested modality, before anything is computed from it.

        These are the shots, or where there are none the normal images. Images that lie where
        nothing is read are named, in one line for each category.

        Returns:
            What new images will be held against.

        Raises:
            DataError: A file cannot be used, or would mislead whatever is learnt from it: its
                range is collapsed, or its points are in another order.
        """
        for line in unread_lines(self.reader, self.categories):
            log.warning("%s", line)
        refuse_copies(self.reader, self.task)
        for known in self.task.roles.values():
            if known.masks and known.reader is None:
                refuse_unmarked(self.reader, known)
        role = self.task.role("normals" if "normals" in self.task.roles else "shots")
        profile = inspect(self.reader, role)
        return profile if self.canvas.aspect is None else replace(profile, canvas=self.canvas)

    @property
    def n_source(self) -> int:
        """How many images of another modality, or of another data set, there are."""
        return sum(len(self._role(name).samples) for name in ("source", "source_data"))

    @property
    def n_test_good(self) -> int:
        """How many test images have no defect."""
        return len(self.test_samples) - self.n_test_defect

    @property
    def n_test_defect(self) -> int:
        """How many test images have a defect."""
        return sum(sample.is_anomalous for sample in self.test_samples)

    @property
    def prepared(self) -> dict[str, Any]:
        """How ``fsad data prepare`` made the images; empty for images as they came.

        The threshold is None where the images are prepared and the record of it is not there.
        """
        known = prepared_as(self.reader.root)
        if not known and any(
            sample.part
            for role in self.task.roles.values()
            if role.reader is None
            for sample in role.samples
        ):
            return {"threshold": None}
        return known

    @property
    def source_digest(self) -> str:
        """Digest what the files hold of another data set that is learnt from; empty without one."""
        return self.files_digest("source_data") if "source_data" in self.task.roles else ""

    def files_digest(self, name: str) -> str:
        """Digest what the files hold that a run reads of a role; of one that is not there, nothing.

        Args:
            name: The role, ``test`` among them.
        """
        role = self._role(name)
        return files_digest(role.samples, role.modality, *([MASK] if role.masks else []))

    def digest(self, name: str) -> str:
        """Digest what a run knows of a role's images: files, who reads them, labels, categories.

        Args:
            name: The role, ``test`` among them.
        """
        role = self._role(name)
        labels = [[sample.is_anomalous, sample.category] for sample in role.samples]
        reading = role.reading or reading_digest(self._make_reader)
        return digest(reading, self.files_digest(name), labels if role.labels else [])

    def test_content(self) -> str:
        """Digest all that the ground truth of the test images is made of."""
        samples = self.test_samples
        reads = dict.fromkeys([self.task.test.modality, *self.reader.modalities, MASK])
        labels = [[sample.is_anomalous, sample.is_masked] for sample in samples]
        return digest(reading_digest(self._make_reader), files_digest(samples, *reads), labels)

    def relative(self, path: Path) -> str:
        """Return a path as seen from the dataset's folder, with forward slashes."""
        return path.relative_to(self.reader.root).as_posix()

    def train_dataloader(self) -> DataLoader[ImageBatch] | DataLoader[Tensor]:
        """Return what the module that is trained ``reads``, in the order of its ``sampling``.

        One that reads no role, or takes its images ``itself``, gets one empty batch per epoch.
        """
        module: Any = self.trainer.lightning_module  # type: ignore[union-attr]
        if not module.reads or module.sampling == ITSELF:
            return make_loader(NoImages(), batch_size=1, workers=0, seed=self.seed)
        return self.loader(module.reads, module.sampling)

    def loader(
        self, roles: str | Sequence[str], sampling: str | Mix = "sequential", share: Share = ALL
    ) -> DataLoader[ImageBatch]:
        """Return the images of a role, or of several together.

        Args:
            roles: The role's name, or several.
            sampling: ``sequential``, in the order of the samples; ``shuffled``, each image once, in
                an order that seed and epoch decide; ``balanced``, half of each batch with a defect,
                see :class:`~fsad.data.sampling.BalancedSampler`; or a
                :class:`~fsad.data.sampling.Mix`, batches of so many of each kind.
            share: Which batches of a sequential pass.

        Raises:
            ConfigError: The task has no such role, ``sampling`` is unknown, or what it needs is not
                there.
        """
        names = (roles,) if isinstance(roles, str) else tuple(roles)
        images = RoleImages(self.reader, [self.task.role(name) for name in names], self.canvas)
        labels = [sample.is_anomalous for sample, _, _ in images.images]
        if isinstance(sampling, Mix):
            return self._images(images, MixedSampler(labels, sampling, self.seed), sampling.size)
        check_choice("sampling", sampling, SAMPLINGS)
        if sampling == "sequential":
            return self._images(images, batches_of(len(images), self.batch_size, share))
        if share != ALL:
            raise ConfigError(f"share: expected the whole of a {sampling} pass, got {share}")
        if sampling == "shuffled":
            return self._images(images, EpochSampler(len(images), self.seed))
        return self._images(images, BalancedSampler(labels, self.batch_size, self.seed))

    def test_dataloader(self) -> DataLoader[ImageBatch]:
        """Return this process's share of the test images: every n-th image of n processes.

        Raises:
            ConfigError: There are more processes than images; one without any would miss the test.
        """
        test = self.task.test
        images = RoleImages(self.reader, [Role(test.samples, test.modality)], self.canvas)
        if self.trainer is None or self.trainer.world_size == 1:
            return self._images(images)
        number, count = self.trainer.global_rank, self.trainer.world_size
        if count > len(images):
            raise ConfigError(
                f"trainer.devices: expected at most {len(images)}, one per test image, got {count}"
            )
        return self._images(images, range(number, len(images), count))

    def truth_dataloader(self) -> DataLoader[Truth]:
        """Return the ground truth of all test images, in sorted order."""
        truths = Truths(self.reader, self.test_samples, self.canvas, self.store)
        return make_loader(truths, self.batch_size, self.workers, self.seed)

    def _role(self, name: str) -> Role:
        """Return a role; one without samples where the task lacks it."""
        absent = Role((), self.protocol.modality)
        return self.task.test if name == TEST else self.task.roles.get(name, absent)

    def _files(self, role: Role) -> list[str]:
        return [self.relative(sample.files[role.modality]) for sample in role.samples]

    def _images(
        self,
        images: RoleImages,
        sampler: Sampler[int] | Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> DataLoader[ImageBatch]:
        size = batch_size or self.batch_size
        return make_loader(images, size, self.workers, self.seed, sampler, collate=stack_images)


def default_protocol(
    shots: int, selection: str, seed: int, source: str, target: str
) -> EvaluationProtocol:
    """Return the protocol of data that name none: of two modalities, or of one alone.

    Raises:
        ConfigError: A value is out of range.
    """
    if source == target:
        return FewShot(shots, selection, seed, target)
    return CrossDomain(shots, selection, seed, source, target)


def _aspect(sample: Sample, modality: str) -> float:
    """Return width over height of a photograph, from its header."""
    height, width = photograph_size(sample.files[modality])
    return width / height


def _modality(name: str, node: Mapping[str, str] | None, default: str) -> str:
    """Return what a node of settings says of a domain's images.

    Raises:
        ConfigError: It says something else too.
    """
    known = node or {}
    if others := known.keys() - {MODALITY}:
        raise ConfigError(f"data.{name}: expected modality alone, got {min(others)}")
    return known.get(MODALITY, default)
