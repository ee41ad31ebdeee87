"""Cross-domain few-shot: plentiful images of one modality, a few of the one that is tested."""

from dataclasses import dataclass

from fsad.data.protocols.draws import check_selection, choose_shots
from fsad.data.protocols.training import training_images
from fsad.data.reader import DatasetReader
from fsad.data.task import Role, Task, check_modality
from fsad.errors import ConfigError, check_at_least


@dataclass(frozen=True)
class CrossDomain:
    """All training images in one modality, and a few of them in the modality that is tested.

    Roles: ``source``, all training images in :attr:`source_modality`; ``shots``, the images of
    :attr:`shots` of them in :attr:`modality`. The whole test split is tested in the latter.

    Attributes:
        shots: How many shots, per category.
        selection: How they are chosen; see :func:`~fsad.data.protocols.draws.choose_shots`.
        seed: Seed of their draw.
        source_modality: Of the source images.
        modality: Of the shots and of the test images.

    Raises:
        ConfigError: A value is out of range, or both modalities are one.

    Source:
        HyperTrans, section 3.1.
    """

    shots: int
    selection: str = "random"
    seed: int = 0
    source_modality: str = "rgb"
    modality: str = "depth"

    def __post_init__(self) -> None:
        check_at_least("data.shots", self.shots, 1)
        check_selection(self.selection)
        check_at_least("data.seed", self.seed, 0)
        if self.modality == self.source_modality:
            raise ConfigError(
                "protocol.source_modality: expected another than protocol.modality, got "
                f"{self.modality!r} for both. With one modality alone choose a method that needs "
                "no other, such as method=patchcore, or protocol=few_shot."
            )

    def task(self, reader: DatasetReader, category: str) -> Task:
        """Return a category's task.

        Raises:
            ConfigError: There are fewer training images than shots, or no such modality.
            DataError: A training image has a defect.
        """
        check_modality("protocol.source_modality", self.source_modality, reader)
        check_modality("protocol.modality", self.modality, reader)
        training = training_images(reader, category, self.modality)
        shots = choose_shots(training, category, self.shots, self.selection, self.seed)
        return Task(
            category=category,
            roles={
                "source": Role(training, self.source_modality),
                "shots": Role(shots, self.modality),
            },
            test=Role(reader.samples(category, "test"), self.modality),
        )
