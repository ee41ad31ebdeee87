"""Cross-dataset: learn from one data set; of another know a few good and a few bad images."""

from dataclasses import dataclass

from fsad.data.protocols.draws import permuted
from fsad.data.protocols.source_data import SourceData
from fsad.data.protocols.training import training_images
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.task import Role, Task, check_modality
from fsad.errors import ConfigError, DataError, check_at_least, check_choice
from fsad.runtime.randomness import generator

SETTINGS = ("general", "hard")
SPLITS = ("train", "test")


@dataclass(frozen=True)
class CrossDataset:
    """A model is trained on one data set, and tested on another with a few references.

    Roles: ``source_data``, the images of the other data set with labels and masks, the same for
    each category; ``shots``, :attr:`n_normal` normal references; ``seen_anomalies``,
    :attr:`n_anomalous` defective references, with masks. The references are never tested.

    The defective references are of one class of defects. That class is the first with enough
    images in a seeded order; its images are drawn, like the normal references, as the first of a
    seeded order, so that 1 is in 2 is in 4.

    Attributes:
        source: The data set that is learnt from.
        n_normal: Normal references, per category.
        n_anomalous: Defective references, per category.
        setting: ``general``: all other images are tested; ``hard``: none of the references' class
            of defects is.
        known_defect: That class; drawn if omitted.
        reference_split: Where the normal references come from: ``train``; ``test`` for
            comparison with published numbers.
        seed: Seed of the draw.
        modality: Of the references and of the test images.

    Raises:
        ConfigError: A value is out of range, or there is no source.

    Source:
        IDEAL (arXiv 2605.23231). Departure: its references all come from the test split.
    """

    source: SourceData | None = None
    n_normal: int = 1
    n_anomalous: int = 1
    setting: str = "general"
    known_defect: str | None = None
    reference_split: str = "train"
    seed: int = 0
    modality: str = "rgb"

    def __post_init__(self) -> None:
        if self.source is None:
            raise ConfigError(
                "source: expected the data set that is learnt from, got none. Say source=NAME "
                "source.root=PATH, or source=synthetic."
            )
        check_at_least("protocol.n_normal", self.n_normal, 1)
        check_at_least("protocol.n_anomalous", self.n_anomalous, 1)
        check_choice("protocol.setting", self.setting, SETTINGS)
        check_choice("protocol.reference_split", self.reference_split, SPLITS)
        check_at_least("data.seed", self.seed, 0)

    def task(self, reader: DatasetReader, category: str) -> Task:
        """Return a category's task.

        Raises:
            ConfigError: The category is learnt from too; the references would leave no image to be
                tested, or there are not as many; or no such class or modality.
            DataError: A training image has a defect, or no defective image has a mask.
        """
        check_modality("protocol.modality", self.modality, reader)
        assert self.source is not None
        _refuse_same(self.source, reader, category)
        listed = reader.samples(category, "test")
        normal = self._normal(reader, category, listed)
        known = self._known_class(category, listed)
        defective = permuted(known, category, self.seed)[: self.n_anomalous]
        untested = {sample.name for sample in (*normal, *defective)}
        if self.setting == "hard":
            untested |= {it.name for it in listed if it.defect == defective[0].defect}
        return Task(
            category=category,
            roles={
                "source_data": self.source.role,
                "shots": Role(normal, self.modality),
                "seen_anomalies": Role(defective, self.modality, labels=True, masks=True),
            },
            test=Role([it for it in listed if it.name not in untested], self.modality),
        )

    def _normal(self, reader: DatasetReader, category: str, listed: list[Sample]) -> list[Sample]:
        """Return the normal references."""
        training = self.reference_split == "train"
        pool = (
            training_images(reader, category, self.modality)
            if training
            else [sample for sample in listed if not sample.is_anomalous]
        )
        most, but_one = (len(pool), "") if training else (len(pool) - 1, " but one to be tested")
        if self.n_normal > most:
            raise ConfigError(
                f"protocol.n_normal: expected at most {max(most, 0)}, the normal "
                f"{self.reference_split} images of {category}{but_one}, got {self.n_normal}. Take "
                "fewer, or add images."
            )
        return permuted(pool, category, self.seed)[: self.n_normal]

    def _known_class(self, category: str, listed: list[Sample]) -> list[Sample]:
        """Return the masked images of the class of defects that the references are of."""
        masked = [sample for sample in listed if sample.is_anomalous and sample.masks]
        if not masked:
            raise DataError(
                f"protocol.n_anomalous: expected images of {category} with a defect and a mask in "
                f"its test split, got none. Add masks, or leave {category} out of data.category."
            )
        classes = sorted({sample.defect for sample in masked})
        if self.setting == "hard" and len({it.defect for it in listed if it.is_anomalous}) == 1:
            raise ConfigError(
                f"protocol.setting: expected several classes of defects of {category} for hard, "
                f"got {classes[0]} alone. Say protocol.setting=general."
            )
        if self.known_defect is not None:
            name = "protocol.known_defect"
            classes = [check_choice(name, self.known_defect, classes)]
        rng = generator(self.seed, category, "class")
        pools = [
            [sample for sample in masked if sample.defect == classes[place]]
            for place in rng.permutation(len(classes))
        ]
        others = sum(sample.is_anomalous for sample in listed) - 1  # one is left to be tested
        most = min(max(len(pool) for pool in pools), others)
        if self.n_anomalous > most:
            raise ConfigError(
                f"protocol.n_anomalous: expected at most {most}, the masked images of one class of "
                f"defects of {category} that leave a defective one to be tested, got "
                f"{self.n_anomalous}. Take fewer, or add images."
            )
        return next(pool for pool in pools if len(pool) >= self.n_anomalous)


def _refuse_same(source: SourceData, reader: DatasetReader, category: str) -> None:
    """Refuse to test a category that is learnt from.

    Raises:
        ConfigError: It is.
    """
    if source.reader.root.resolve() == reader.root.resolve() and category in source.categories:
        raise ConfigError(
            f"source: expected other categories than those that are tested, got {category} in "
            "both. Name others in source.category, or choose another data set."
        )
