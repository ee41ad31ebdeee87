"""Open-set supervised: all normal training images and a few labelled anomalous ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from fsad.data.protocols.draws import permuted
from fsad.data.protocols.training import training_images
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.task import Role, Task, check_modality
from fsad.errors import ConfigError, check_at_least, check_bool, check_choice

SETTINGS = ("general", "hard")


@dataclass(frozen=True)
class OpenSet:
    """All training images, and a few images of the test split with a defect, whose label is known.

    Roles: ``normals``, the training images; ``seen_anomalies``, with labels. The rest of the test
    split is tested, less what is set aside:

    * ``general``: the seen anomalies are drawn from all classes of defects, the first of a seeded
      order of the sorted listing, at most half of all. The first :attr:`reserve` of that order are
      never tested, so that one seen anomaly is one of ten, and both are tested on the same images.
    * ``hard``: they are drawn from one class, :attr:`known_defect`, of which no image is tested.
      The published numbers are means over the choice of that class.

    Attributes:
        n_anomalies: How many seen anomalies, M, per category.
        setting: ``general`` or ``hard``.
        known_defect: In the hard setting, the class of defects that is seen.
        reserve: In the general setting, how many anomalous images are never tested, whatever
            ``n_anomalies`` is.
        seed: Seed of the draw.
        modality: Of all images.
        labels: Whether the seen anomalies may be learnt from. If not, the normal images are
            ``shots`` and nothing else is learnt from, for methods that know no anomalies; the test
            is the same.
        masks: False: labels of whole images are all that may be learnt.

    Raises:
        ConfigError: A value is out of range, or a class is named in the general setting, or none in
            the hard one; or masks are asked for.

    Source:
        Ding et al., DRA (CVPR 2022), section 4 and appendix A.
    """

    n_anomalies: int = 10
    setting: str = "general"
    known_defect: str | None = None
    reserve: int = 10
    seed: int = 0
    modality: str = "rgb"
    labels: bool = True
    masks: bool = False

    def __post_init__(self) -> None:
        check_bool("protocol.labels", self.labels)
        if self.masks is not False:
            raise ConfigError(
                f"protocol.masks: expected none, got {self.masks!r}. Leave it out: only labels of "
                "whole images may be learnt; masks in the data set are used by the metrics."
            )
        check_at_least("protocol.n_anomalies", self.n_anomalies, 1)
        check_at_least("protocol.reserve", self.reserve, 1)
        check_at_least("data.seed", self.seed, 0)
        check_choice("protocol.setting", self.setting, SETTINGS)
        is_hard = self.setting == "hard"
        if is_hard and self.known_defect is None:
            raise ConfigError(
                "protocol.known_defect: expected the class of defects that is seen, got none. Name "
                "one of the folders of test/, or use protocol.setting=general."
            )
        if not is_hard and self.known_defect is not None:
            raise ConfigError(
                "protocol.known_defect: expected none in the general setting, got "
                f"{self.known_defect!r}. Say protocol.setting=hard with it."
            )
        if not is_hard and self.n_anomalies > self.reserve:
            raise ConfigError(
                f"protocol.n_anomalies: expected at most protocol.reserve={self.reserve}, got "
                f"{self.n_anomalies}. Raise protocol.reserve too."
            )

    def task(self, reader: DatasetReader, category: str) -> Task:
        """Return a category's task.

        Raises:
            ConfigError: There are no or too few anomalous images, or no such class or modality.
            DataError: A training image has a defect.
        """
        check_modality("protocol.modality", self.modality, reader)
        normals = training_images(reader, category, self.modality)
        listed = reader.samples(category, "test")
        anomalous = [sample for sample in listed if sample.is_anomalous]
        if not anomalous:
            raise ConfigError(
                f"protocol.n_anomalies: expected images of {category} with a defect in its test "
                f"split, got none. Add some to test/, or leave {category} out of data.category."
            )
        choose = self._of_one_class if self.setting == "hard" else self._of_all_classes
        seen, set_aside = choose(anomalous, category)
        untested = {sample.name for sample in set_aside}
        labelled = {
            "normals": Role(normals, self.modality),
            "seen_anomalies": Role(seen, self.modality, labels=True),
        }
        return Task(
            category=category,
            roles=labelled if self.labels else {"shots": Role(normals, self.modality)},
            test=Role([sample for sample in listed if sample.name not in untested], self.modality),
        )

    def _of_all_classes(
        self, anomalous: Sequence[Sample], category: str
    ) -> tuple[list[Sample], list[Sample]]:
        """Return the seen anomalies, and all anomalous images that are not tested."""
        half = len(anomalous) // 2
        if self.n_anomalies > half:
            raise ConfigError(
                f"protocol.n_anomalies: expected at most {half}, half of the {len(anomalous)} "
                f"anomalous images of {category}, got {self.n_anomalies}. Take fewer, or add "
                "images."
            )
        _check_enough("protocol.reserve", self.reserve + 1, anomalous, category)
        order = permuted(anomalous, category, self.seed)
        return order[: self.n_anomalies], order[: self.reserve]

    def _of_one_class(
        self, anomalous: Sequence[Sample], category: str
    ) -> tuple[list[Sample], list[Sample]]:
        """Return the seen anomalies, and all images of their class, which are not tested."""
        classes = sorted({sample.defect for sample in anomalous})
        if self.known_defect not in classes or len(classes) == 1:
            raise ConfigError(
                f"protocol.known_defect: expected one of several classes of defects of {category}, "
                f"which has {', '.join(classes) or 'none'}, got {self.known_defect!r}"
            )
        known = [sample for sample in anomalous if sample.defect == self.known_defect]
        _check_enough("protocol.n_anomalies", self.n_anomalies, known, category)
        return permuted(known, category, self.seed)[: self.n_anomalies], known


def _check_enough(name: str, needed: int, pool: Sequence[Sample], category: str) -> None:
    if len(pool) < needed:
        raise ConfigError(
            f"{name}: expected at least {needed} anomalous images of {category} to draw from, got "
            f"{len(pool)}. Lower {name}, or add images."
        )
