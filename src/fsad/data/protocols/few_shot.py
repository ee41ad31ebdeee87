"""Few-shot: a few normal images of one modality, and nothing else."""

from dataclasses import dataclass

from fsad.data.protocols.draws import check_selection, choose_shots
from fsad.data.protocols.training import training_images
from fsad.data.reader import DatasetReader
from fsad.data.task import Role, Task, check_modality
from fsad.errors import check_at_least


@dataclass(frozen=True)
class FewShot:
    """A few training images in one modality; the test split is tested in the same.

    Roles: ``shots``. The draw is the one of
    :class:`~fsad.data.protocols.cross_domain.CrossDomain`: the same seed gives the same shots.

    Attributes:
        shots: How many shots, per category.
        selection: How they are chosen; see :func:`~fsad.data.protocols.draws.choose_shots`.
        seed: Seed of their draw.
        modality: Of the shots and of the test images.

    Raises:
        ConfigError: A value is out of range.
    """

    shots: int
    selection: str = "random"
    seed: int = 0
    modality: str = "depth"

    def __post_init__(self) -> None:
        check_at_least("data.shots", self.shots, 1)
        check_selection(self.selection)
        check_at_least("data.seed", self.seed, 0)

    def task(self, reader: DatasetReader, category: str) -> Task:
        """Return a category's task.

        Raises:
            ConfigError: There are fewer training images than shots, or no such modality.
            DataError: A training image has a defect.
        """
        check_modality("protocol.modality", self.modality, reader)
        training = training_images(reader, category, self.modality)
        shots = choose_shots(training, category, self.shots, self.selection, self.seed)
        return Task(
            category=category,
            roles={"shots": Role(shots, self.modality)},
            test=Role(reader.samples(category, "test"), self.modality),
        )
