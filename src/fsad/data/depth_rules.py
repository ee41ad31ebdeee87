"""How a depth file's numbers are to be read: which are no reading, and in what unit they are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsad.data.depth_file import check_kind
from fsad.errors import ConfigError, DataError, check_choice, is_finite

METRES = {"m": 1.0, "mm": 0.001}
"""One unit in metres."""
SHRINK = ("area", "nearest")


@dataclass(frozen=True)
class DepthRules:
    """How a data set's depth files are read, the same in training and in prediction.

    A point that is 0 in all of x, y and z, a depth of 0 in a map, and what is not finite is never
    a reading. A negative depth is one: heights about a reference plane have them.

    Attributes:
        invalid: Numbers of the file that mean "no reading", compared with z, for example 65535.
        z_range: Lowest and highest z that are readings, in the file's own numbers.
        unit: The file's unit, ``m`` or ``mm``; depth and points come out in metres. None leaves
            them in the data set's own: metres in MVTec 3D-AD.
        shrink: How an image becomes a smaller one. ``area``: depth is the mean of the valid pixels
            that a pixel covers, and a mask is set where any of its pixels is, so that no small
            defect is lost between two pixels. ``nearest``: one pixel is picked, as published.

    Raises:
        ConfigError: A value is out of range.
    """

    invalid: tuple[float, ...] = ()
    z_range: tuple[float, float] | None = None
    unit: str | None = None
    shrink: str = "nearest"

    def __post_init__(self) -> None:
        object.__setattr__(self, "invalid", _listed(self.invalid))
        if self.z_range is not None:
            low, high = _pair(self.z_range)
            object.__setattr__(self, "z_range", (low, high))
        if self.unit is not None:
            check_choice("data.unit", self.unit, tuple(METRES))
        check_choice("data.shrink", self.shrink, SHRINK)

    @property
    def scale(self) -> float:
        """What a number of the file is multiplied with."""
        return 1.0 if self.unit is None else METRES[self.unit]

    def depth(self, array: NDArray[Any], name: str) -> NDArray[np.float32]:
        """Return z of a file's depth ``(H, W)`` or points ``(H, W, 3)``.

        Args:
            array: As stored.
            name: The file, for the message.

        Returns:
            ``(H, W)`` float32, NaN where there is no reading.

        Raises:
            DataError: The array is of another shape or kind, or has no reading at all.
        """
        valid = self._valid(array, name)
        z = array[..., 2] if array.ndim == 3 else array
        read = np.where(valid, z, 0).astype(np.float32) * np.float32(self.scale)
        return np.where(valid, read, np.float32(np.nan))

    def points(self, array: NDArray[Any], name: str) -> NDArray[np.float32]:
        """Return points ``(H, W, 3)`` float32, (0, 0, 0) where there is no reading.

        Raises:
            DataError: As :meth:`depth`, or ``array`` holds depth alone.
        """
        valid = self._valid(array, name)
        if array.ndim != 3:
            raise DataError(
                f"{name}: expected points (H, W, 3), got depth alone. The ground on which a part "
                "lies is found among points."
            )
        points = np.where(valid[..., None], array, 0).astype(np.float32)
        return points * np.float32(self.scale)

    def in_unit(self, unit: str) -> "DepthRules":
        """Return the rules for files in another unit; where readings can be goes with it.

        Raises:
            ConfigError: There is no such unit.
        """
        check_choice("--unit", unit, tuple(METRES))
        ratio = (self.scale if self.unit else 1.0) / METRES[unit]
        span = self.z_range and (self.z_range[0] * ratio, self.z_range[1] * ratio)
        return replace(self, unit=unit, z_range=span)

    def to_json(self) -> dict[str, Any]:
        """Return the rules as JSON has them."""
        plain = asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> "DepthRules":
        """Read rules back; those that a record does not have are those of earlier versions.

        Raises:
            ConfigError: A value is out of range.
            TypeError: There is a rule that this version does not know.
        """
        return cls(**(record or {}))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "DepthRules":
        """Pick the rules out of a run's settings under ``data``; others there are left alone.

        Raises:
            ConfigError: A value is out of range.
        """
        return cls(
            **{field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        )

    def _valid(self, array: NDArray[Any], name: str) -> NDArray[np.bool_]:
        check_kind(name, array.shape, array.dtype)
        channels = np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]
        z = channels[-1]
        valid = np.zeros(z.shape, np.bool_)
        for channel in channels:  # one by one: NumPy is slow along an axis of three
            valid |= channel != 0
        for channel in channels:
            valid &= np.isfinite(channel)
            if array.dtype.itemsize > 4:  # what float32 cannot hold would become infinite
                valid &= np.abs(channel) <= np.finfo(np.float32).max
        for number in self.invalid:
            # The file's numbers may have fewer digits than the setting's.
            valid &= z != np.asarray(number).astype(np.result_type(z.dtype, np.float32))
        if self.z_range is not None:
            low, high = self.z_range
            valid &= (z >= low) & (z <= high)
        if not valid.any():
            raise DataError(
                f"{name}: expected at least one depth that is finite and not 0, got none"
                + (" after data.invalid and data.z_range" if self.invalid or self.z_range else "")
            )
        return np.asarray(valid)


def _numbers(values: Any) -> tuple[float, ...] | None:
    """Return a list of finite numbers as such; None of anything else."""
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_list or not all(is_finite(value) for value in values):
        return None
    return tuple(float(value) for value in values)


def _listed(values: Any) -> tuple[float, ...]:
    numbers = _numbers(values)
    if numbers is None:
        raise ConfigError(
            f"data.invalid: expected a list of finite numbers such as [65535], got {values!r}"
        )
    return numbers


def _pair(values: Any) -> tuple[float, float]:
    numbers = _numbers(values)
    if numbers is None or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise ConfigError(
            "data.z_range: expected the lowest and the highest depth, as in [0.3,0.9], "
            f"got {values!r}"
        )
    return numbers[0], numbers[1]
