"""How the parts of a score become one, and patch scores become maps."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from fsad.errors import ConfigError, ShapeError, check_choice, check_fraction
from fsad.functional.scoring import Size, anomaly_maps
from fsad.scores.score_set import ScoreSet

Kind = Literal["mean", "max", "sum"]


@dataclass(frozen=True)
class Combination:
    r"""How the parts :math:`s_p` of a score become one.

    ``mean`` is :math:`\sum_p w_p s_p` with weights that sum to 1, ``max`` the largest part and
    ``sum`` the sum. A part alone is the whole score, whatever the kind.

    >>> mean = Combination("mean", {"source": 0.25, "target": 0.75})
    >>> mean.combine({"source": torch.tensor([4.0]), "target": torch.tensor([8.0])})
    tensor([7.])

    Attributes:
        kind: Which.
        weights: Of the parts, in [0, 1], summing to 1; for ``mean``.

    Raises:
        ConfigError: The kind is unknown, or weights are out of range.

    Source:
        HyperTrans, eqs. (18)-(19): a mean with weights beta and 1 - beta.
    """

    kind: Kind = "mean"
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("combination", self.kind, get_args(Kind))
        for name, weight in self.weights.items():
            check_fraction(f"weight of {name}", weight)
        if self.weights and abs(sum(self.weights.values()) - 1) > 1e-9:
            raise ConfigError(
                f"weights: expected a sum of 1, got {sum(self.weights.values())}. Divide by it."
            )

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Combine scores, or maps, of one shape.

        Args:
            parts: By name, any shape.

        Raises:
            ShapeError: The shapes differ.
            ConfigError: A part of a mean has no weight.
        """
        if len(parts) == 1:
            return next(iter(parts.values()))
        first, *others = parts.values()
        if any(part.shape != first.shape for part in others):  # no set of them: a graph's are open
            shapes = {name: tuple(part.shape) for name, part in parts.items()}
            raise ShapeError(f"parts: expected one shape, got {shapes}")
        if self.kind == "max":
            return reduce(torch.maximum, parts.values())
        if self.kind == "sum":
            return _sum(parts.values())
        if missing := parts.keys() - self.weights.keys():
            raise ConfigError(
                f"combination: expected a weight for each of {', '.join(parts)}, got none for "
                f"{', '.join(sorted(missing))}. Give weights, or take the maximum or the sum."
            )
        return _sum(self.weights[name] * part for name, part in parts.items())

    def has_map(self, mapped: Collection[str], parts: Collection[str]) -> bool:
        """Tell whether there is a map of the whole score.

        A sum has one of those parts that have: the others raise every pixel of an image alike. A
        mean or a maximum has one where all parts have.

        Args:
            mapped: The parts that have maps.
            parts: All parts.
        """
        return bool(mapped) and (self.kind == "sum" or set(mapped) == set(parts))

    def share(self, name: str) -> float:
        """Return the weight of a part; 0 of one that has none."""
        return self.weights.get(name, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return what a category's record holds of it."""
        return {"kind": self.kind, "weights": dict(self.weights)}

    @classmethod
    def of(cls, record: Mapping[str, Any], otherwise: "Combination") -> "Combination":
        """Read it from a category's record; runs of before recorded a share ``beta`` alone.

        Args:
            record: The category's.
            otherwise: What the plan says, for a record that says nothing.
        """
        if "combination" in record:
            stored = record["combination"]
            return cls(stored["kind"], stored["weights"])
        if "beta" in record:
            return two_domains(record["beta"])
        return otherwise


def two_domains(beta: float) -> Combination:
    """Return the mean of the parts ``source`` and ``target`` (eqs. 18, 19).

    Args:
        beta: Share of the source, in [0, 1].
    """
    return Combination("mean", {"source": beta, "target": 1 - beta})


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, parts)


@dataclass(frozen=True)
class MapMaker:
    """How patch scores become anomaly maps, and parts one.

    Attributes:
        size: Height and width of the maps in pixels, S; of such that are no squares both.
        sigma: Blur of the maps in pixels.
        combination: How parts become one.
    """

    size: Size
    sigma: float
    combination: Combination

    def maps(self, patches: Tensor) -> Tensor:
        """Enlarge and blur patch scores ``(n, h, w)`` to anomaly maps ``(n, S, S)``."""
        return anomaly_maps(patches, self.size, self.sigma)

    def part_maps(self, scores: ScoreSet) -> dict[str, Tensor]:
        """Return the maps of the parts that have some, by name."""
        return {
            name: self.maps(each.patches)
            for name, each in scores.items()
            if each.patches is not None
        }

    def combined_maps(self, maps: Mapping[str, Tensor], parts: Collection[str]) -> Tensor | None:
        """Return the method's own maps, if it :meth:`~Combination.has_map`."""
        return self.combination.combine(maps) if self.combination.has_map(maps, parts) else None

    def combine(self, scores: ScoreSet) -> tuple[Tensor, Tensor | None]:
        """Return the method's own image scores ``(n,)`` and maps ``(n, S, S)``, if it has maps."""
        images = self.combination.combine({name: each.images for name, each in scores.items()})
        return images, self.combined_maps(self.part_maps(scores), scores)
