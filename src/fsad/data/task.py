"""Which samples of a category play which role: what may be learnt from, and what is tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol

from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.errors import ConfigError, check_choice

TEST = "test"
ELSEWHERE = "source data set: "
"""Before the name of a sample that is of another data set than the one that is tested."""


@dataclass(frozen=True)
class Role:
    """Samples that serve one purpose, seen in one modality.

    Attributes:
        samples: Which, in the order of their index.
        modality: In which modality they are seen: ``rgb``, ``depth``.
        labels: Whether it is told which of them have a defect. Where it is not, none has.
        masks: Whether it is told which of their pixels are defective.
        reader: The data set that they are of, where that is another than the one that is tested.
        reading: Then, the :func:`~fsad.data.identity.reading_digest` of that reader.
    """

    samples: Sequence[Sample]
    modality: str
    labels: bool = False
    masks: bool = False
    reader: DatasetReader | None = None
    reading: str = ""

    def name_of(self, sample: Sample) -> str:
        """Return a sample's name; one of another data set has a name of its own."""
        return sample.name if self.reader is None else f"{ELSEWHERE}{sample.name}"


@dataclass(frozen=True)
class Task:
    """One category's data for one run.

    Laws (``tests/data/test_task.py``), each refused when it is broken:

    * No test sample is in a role that is learnt from, in whatever modality.
    * No image is in two roles: a sample may be in two only in different modalities, as a shot,
      whose depth is learnt from and whose photograph is a source image.
    * A role without labels has no sample with a defect.

    Attributes:
        category: Its name.
        roles: By name, what a method may learn from. ``source``: plentiful normal images of another
            modality. ``source_data``: images of another data set, normal and defective.
            ``shots``: the few normal images of the modality that is tested. ``normals``: plentiful
            normal images of that modality. ``seen_anomalies``: a few images with a defect.
        test: The samples that are scored. Their labels and masks are for metrics alone.

    Raises:
        ConfigError: A law is broken.
    """

    category: str
    roles: Mapping[str, Role]
    test: Role

    def __post_init__(self) -> None:
        tested = _names(self.test)
        for name, role in self.roles.items():
            _refuse_shared(_names(role) & tested, name, TEST)
            if not role.labels:
                defective = [sample for sample in role.samples if sample.is_anomalous]
                if defective:
                    raise ConfigError(
                        f"protocol: expected no defect among the unlabelled '{name}', "
                        f"got {defective[0].name}. Label the role, or leave the sample out."
                    )
        for (name, one), (other, two) in combinations(self.roles.items(), 2):
            if one.modality == two.modality:
                _refuse_shared(_names(one) & _names(two), name, other)

    @classmethod
    def joined(cls, tasks: Sequence["Task"]) -> "Task":
        """Put the tasks of several categories together, role by role.

        Args:
            tasks: At least one; all of one protocol, so that their roles are called alike.
        """
        if len(tasks) == 1:
            return tasks[0]
        first = tasks[0]
        roles = {name: _joined([task.roles[name] for task in tasks]) for name in first.roles}
        names = ", ".join(task.category for task in tasks)
        return cls(names, roles, _joined([task.test for task in tasks]))

    def role(self, name: str) -> Role:
        """Return a role, ``test`` among them.

        Raises:
            ConfigError: The task has no such role.
        """
        known = {**self.roles, TEST: self.test}
        if name not in known:
            raise ConfigError(
                f"protocol: expected one with the role '{name}', got one with {', '.join(known)}. "
                "Choose the protocol that the method is made for, as in protocol=cross_domain."
            )
        return known[name]


class EvaluationProtocol(Protocol):
    """How a data set becomes tasks: the same data, protocol and seed give the same task."""

    @property
    def modality(self) -> str:
        """In which modality images are tested."""
        ...

    def task(self, reader: DatasetReader, category: str) -> Task:
        """Return a category's task; no image is opened."""
        ...


def check_modality(name: str, modality: str, reader: DatasetReader) -> str:
    """Return ``modality`` if the data set has it; ``name`` is what the user calls the setting.

    Raises:
        ConfigError: It has not.
    """
    return check_choice(name, modality, reader.modalities)


def _joined(roles: Sequence[Role]) -> Role:
    samples = dict.fromkeys(sample for role in roles for sample in role.samples)
    return replace(roles[0], samples=list(samples))  # categories may share another data set


def _names(role: Role) -> set[str]:
    return {role.name_of(sample) for sample in role.samples}


def _refuse_shared(shared: set[str], name: str, other: str) -> None:
    if shared:
        raise ConfigError(
            f"protocol: expected no sample both in '{name}' and in '{other}', got {min(shared)}. "
            "Every image may serve one purpose."
        )
