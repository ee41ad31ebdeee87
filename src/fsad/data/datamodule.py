"""The data of a run: which categories, which shots, and the loaders of each domain."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fsad.data.datasets import DomainImages, EpochSampler, NoImages, Truths, make_loader
from fsad.data.depth_rules import DepthRules
from fsad.data.identity import Read, files_digest
from fsad.data.oddities import oddities
from fsad.data.pairs import ImageBatch, PairReader, Sample, Truth, check_category, check_names
from fsad.data.profile import InputProfile
from fsad.data.protocols.draws import check_selection, choose_shots
from fsad.data.record import prepared_as
from fsad.errors import ConfigError, DataError, check_at_least
from fsad.storage.tensor_store import TensorStore

T = TypeVar("T")
Share = tuple[int, int]
"""Which process of how many: process ``i`` of ``n`` gets every n-th batch, from the i-th on."""
ALL: Share = (0, 1)

log = logging.getLogger(__name__)


class PairDataModule(LightningDataModule):
    """RGB/depth pairs: RGB of all training images, depth of a few, depth of the test images.

    Each loader opens only the files its batches show: the source loaders RGB of the training
    split, the target loader depth of the shots, the test loader depth of the test split, the truth
    loader its masks. Loaders and samples belong to one category; see :meth:`for_category`.

    Laws (``tests/data/test_datamodule.py``):

    * The shots are a function of seed, category and training files.
    * No shot is a test image.
    * The order of training images is a function of seed and epoch.

    Args:
        reader: Makes the dataset's reader from its root.
        root: The dataset's folder.
        category: One name, a list of names, or ``all``.
        shots: Normal target images used for adaptation, per category.
        image_size: Height and width of the images, pixels.
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

    Attributes:
        store: Keeps masks that take long to find; None, to begin with, keeps nothing.

    Raises:
        ConfigError: A number or ``shot_selection`` is out of range, or ``category`` is not made of
            names; later, when the dataset is looked at, a category is unknown or has fewer training
            images than shots.
        DataError: When the dataset is looked at, a training image has a defect.
    """

    def __init__(
        self,
        reader: Callable[[Path, DepthRules], PairReader],
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
    ) -> None:
        super().__init__()
        self._make_reader = reader
        self.root = Path(root)
        self.category = check_names(category)
        self.shots = check_at_least("data.shots", shots, 1)
        self.image_size = check_at_least("data.image_size", image_size, 1)
        self.batch_size = check_at_least("data.batch_size", batch_size, 1)
        self.workers = check_at_least("data.workers", workers, 0)
        self.seed = check_at_least("data.seed", seed, 0)
        self.shot_selection = check_selection(shot_selection)
        self.published = published
        self.rules = DepthRules(invalid, z_range, unit, shrink)  # type: ignore[arg-type]  # checked
        self.store: TensorStore | None = None

    @cached_property
    def reader(self) -> PairReader:
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

    def for_category(self, name: str) -> "PairDataModule":
        """Return the same data, narrowed to one category."""
        narrowed = PairDataModule(
            reader=self._make_reader,
            root=self.root,
            category=name,
            shots=self.shots,
            image_size=self.image_size,
            batch_size=self.batch_size,
            workers=self.workers,
            shot_selection=self.shot_selection,
            seed=self.seed,
            published=self.published,
            invalid=self.rules.invalid,
            z_range=self.rules.z_range,
            unit=self.rules.unit,
            shrink=self.rules.shrink,
        )
        narrowed.store = self.store
        return narrowed

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002
        """List the samples and choose the shots; doing it again changes nothing."""
        _ = self.shot_samples, self.test_samples

    @cached_property
    def train_samples(self) -> list[Sample]:
        """The training split, sorted; one with a defect is refused."""
        samples = self.reader.samples(self._one_category, "train")
        for sample in samples:
            if sample.is_anomalous:
                raise DataError(
                    f"{sample.depth}: expected training images without defects, "
                    f"got {sample.defect!r}. Move them to test/{sample.defect}, or out of the "
                    "dataset"
                )
        return samples

    @cached_property
    def test_samples(self) -> list[Sample]:
        """The test split, sorted; a test batch's ``index`` points in here."""
        return self.reader.samples(self._one_category, "test")

    @cached_property
    def shot_samples(self) -> list[Sample]:
        """The training samples whose depth is known, in the order of the draw."""
        return choose_shots(
            self.train_samples, self._one_category, self.shots, self.shot_selection, self.seed
        )

    @property
    def shot_files(self) -> list[str]:
        """The shots' depth files, relative to the dataset's folder."""
        return [self.relative(sample.depth) for sample in self.shot_samples]

    def inspect_shots(self) -> InputProfile:
        """Look at the shots' depth files before anything is computed from them.

        Returns:
            What new images will be held against.

        Raises:
            DataError: A file cannot be used, or would mislead whatever is learnt from it: its
                range is collapsed, or its points are in another order.
        """
        about = type(self.reader).__qualname__, json.dumps(self.rules.to_json())
        shots = _Shots(
            tuple(self.shot_samples), self.digest("depth", "shots"), about, self.reader, self.rules
        )
        profile, lines = _inspected(shots)
        for line in lines:
            log.warning("%s", line)
        return profile

    @property
    def n_source(self) -> int:
        """How many source images there are."""
        return len(self.train_samples)

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
        if not known and any(sample.part for sample in self.shot_samples):
            return {"threshold": None}
        return known

    def digest(self, read: Read, split: str) -> str:
        """Digest what a run reads of the ``source``, the ``shots`` or the ``test`` images.

        Args:
            read: ``rgb``, ``depth`` or ``mask``.
            split: Whose.
        """
        samples = {
            "source": self.train_samples,
            "shots": self.shot_samples,
            "test": self.test_samples,
        }
        return files_digest(samples[split], read)

    def relative(self, path: Path) -> str:
        """Return a path as seen from the dataset's folder, with forward slashes."""
        return path.relative_to(self.reader.root).as_posix()

    def train_dataloader(self) -> DataLoader[ImageBatch] | DataLoader[Tensor]:
        """Return what the module's ``train_domains`` ask for.

        ``("source",)`` gives the shuffled source images, ``("target",)`` the shuffled shots, ``()``
        one empty batch per epoch.

        Raises:
            ConfigError: They ask for anything else.
        """
        module: Any = self.trainer.lightning_module  # type: ignore[union-attr]
        domains = tuple(module.train_domains)
        if domains == ():
            return make_loader(NoImages(), batch_size=1, workers=0, seed=self.seed)
        if domains == ("source",):
            return self._loader(self._source, EpochSampler(self.n_source, self.seed))
        if domains == ("target",):
            order = EpochSampler(len(self.shot_samples), self.seed)
            return self._loader(self._depth(self.shot_samples), order)
        raise ConfigError(f"train_domains: expected ('source',), ('target',) or (), got {domains}")

    def source_dataloader(self, share: Share = ALL) -> DataLoader[ImageBatch]:
        """Return RGB of the training images, in sorted order."""
        return self._shared(self._source, share)

    def target_dataloader(self, share: Share = ALL) -> DataLoader[ImageBatch]:
        """Return depth of the shots, in their order."""
        return self._shared(self._depth(self.shot_samples), share)

    def test_dataloader(self) -> DataLoader[ImageBatch]:
        """Return this process's share of the test images' depth: every n-th image of n processes.

        Raises:
            ConfigError: There are more processes than images; one without any would miss the test.
        """
        images = self._depth(self.test_samples)
        if self.trainer is None or self.trainer.world_size == 1:
            return self._loader(images)
        number, count = self.trainer.global_rank, self.trainer.world_size
        if count > len(images):
            raise ConfigError(
                f"trainer.devices: expected at most {len(images)}, one per test image, got {count}"
            )
        return self._loader(images, range(number, len(images), count))

    def truth_dataloader(self) -> DataLoader[Truth]:
        """Return the ground truth of all test images, in sorted order."""
        return self._loader(Truths(self.reader, self.test_samples, self.image_size, self.store))

    @property
    def _source(self) -> DomainImages:
        return DomainImages(self.reader, self.train_samples, self.image_size, "rgb")

    def _depth(self, samples: Sequence[Sample]) -> DomainImages:
        return DomainImages(self.reader, samples, self.image_size, "depth")

    def _shared(self, dataset: DomainImages, share: Share) -> DataLoader[ImageBatch]:
        first, step = share
        places = range(len(dataset))
        batches = [places[i : i + self.batch_size] for i in places[:: self.batch_size]]
        mine = [place for batch in batches[first::step] for place in batch]
        return self._loader(dataset, mine)

    def _loader(
        self, dataset: Dataset[T], sampler: Sampler[int] | Sequence[int] | None = None
    ) -> DataLoader[T]:
        return make_loader(dataset, self.batch_size, self.workers, self.seed, sampler)

    @property
    def _one_category(self) -> str:
        if len(self.categories) != 1:
            raise ConfigError(
                f"data.category: expected one at a time, got {', '.join(self.categories)}. "
                "Use for_category(name)."
            )
        return self.categories[0]


@dataclass(frozen=True)
class _Shots:
    """Shots to look at; equal to those of another job that are the same files."""

    samples: tuple[Sample, ...]
    content: str
    read_as: tuple[str, str]
    reader: PairReader = field(compare=False)
    rules: DepthRules = field(compare=False)


@lru_cache(maxsize=16)
def _inspected(shots: _Shots) -> tuple[InputProfile, list[str]]:
    """Return what new images will be held against, and what a user shall be warned of.

    Of the jobs of a grid in one process, the first looks at the files.
    """
    rules, lines = shots.rules, []
    arrays = [shots.reader.read_stored(sample) for sample in shots.samples]
    for sample, array in zip(shots.samples, arrays, strict=True):
        z = rules.depth(array, str(sample.depth))
        for oddity in oddities(array, z, rules):
            problem = f"{sample.depth}: {oddity.problem}"
            if oddity.misleads:
                raise DataError(problem)
            if oddity.kind == "far":
                lines.append(problem)
            elif oddity.kind == "unit":
                lines.append(f"{problem}. Scores do not depend on it")
    return InputProfile.of(arrays, rules), lines
