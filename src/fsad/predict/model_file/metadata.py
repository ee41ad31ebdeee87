"""What an exported file says of itself. Needs nothing but Python, as those do who read it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fsad.errors import DataError, is_finite, is_fraction

KEY = "fsad"
"""The name of the JSON text among a file's metadata."""
SCHEMA = 1
SCORE, MAP = "score", "map"
"""Names of the first two outputs; the input has the name of its modality."""
DEPTH = (
    "depth image (n, 1, S, S) float32: resized to S x S (rules.shrink: nearest picks pixels, area "
    "takes the mean of all valid ones below a pixel); 0.1 + 0.8 (z - min z) / "
    "(max z - min z) over the image's valid pixels, larger = farther; 0.5 if all are equal; a hole "
    "takes the nearest valid pixel's value, and stays 0 outside a part mask where there is one"
)
KEPT = (
    "photograph (n, 3, H, W) float32, red, green, blue, on a canvas of profile.canvas.height x "
    "width pixels: where its width over height is within 5 % of profile.canvas.aspect, resized to "
    "H x W; else by the largest factor by which it fits in, each side rounded to a multiple of "
    "profile.canvas.cell, halves up, laid in the upper left corner. Bicubic with antialiasing; "
    "divided by 255; -1 beside it, where score and map are not to be read"
)
PHOTOGRAPH = (
    "photograph (n, 3, S, S) float32 in [0, 1], red, green, blue: resized to S x S, bicubic with "
    "antialiasing, whatever its aspect; divided by 255"
)


@dataclass(frozen=True)
class Metadata:
    """An exported file's origin, and how to read its numbers.

    Attributes:
        fsad: Version of this program.
        method: The method's name.
        category: The category's.
        image_size: Height and width of the images and maps in pixels, S; of the shorter side where
            they keep their shape: both are in ``profile``, under ``canvas``.
        beta: Share of the source domain in score and map, in [0, 1].
        sigma: Blur of the map in pixels; it is done already.
        backbone: ``name``, ``weights`` (where they come from), ``sha256`` of these weights and
            their ``licence``.
        threshold: Image score above which an image counts as anomalous; None is not known.
        map_threshold: The same for a pixel of the map.
        false_alarm_rate: Share of good images expected above ``threshold``, in [0, 1].
        note: What these three rest on.
        part_above: How ``fsad data prepare`` made the images that the run saw: its threshold above
            the ground, in the unit of their points; None for images as they came.
        png_holes: Whether 0 in a depth png is a pixel without depth.
        rules: How image files are read, by :class:`~fsad.data.depth_rules.DepthRules`; None is as
            runs of before this was noted read them.
        profile: What the training images looked like, by
            :class:`~fsad.data.profile.InputProfile`; None where nobody noted it.
        state: Of the run's category, by :func:`~fsad.predict.model_file.kept.state_of`.
        modality: What the input shows, and what it is called: ``depth``, ``rgb``.
        depth: How the input is made, in words; of photographs too.
        has_map: Whether the model gives a map beside the score.
        schema: Of this record.
    """

    fsad: str
    method: str
    category: str
    image_size: int
    beta: float
    sigma: float
    backbone: dict[str, str]
    threshold: float | None = None
    map_threshold: float | None = None
    false_alarm_rate: float | None = None
    note: str = ""
    part_above: float | None = None
    png_holes: bool = True
    rules: dict[str, Any] | None = None
    profile: dict[str, Any] | None = None
    state: str = ""
    modality: str = "depth"
    depth: str = DEPTH
    has_map: bool = True
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | None, name: str) -> "Metadata":
        """Read a record back; keys that one version knows alone are left out.

        Args:
            text: What the file holds under :data:`KEY`; None is nothing.
            name: The file, for the message.

        Raises:
            DataError: There is no record, or not one of this schema, or a value in it is of another
                kind or out of range.
        """
        remedy = "Export it with: fsad export RUN_DIR -o FILE"
        try:
            record = json.loads(text or "null")
            schema = record["schema"]
            if schema == SCHEMA:
                names = [each.name for each in fields(cls) if each.name in record]
                for key in names:
                    refuse_odd(name, key, record[key], remedy)
                return cls(**{key: record[key] for key in names})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, DataError):
                raise  # our own
            raise DataError(
                f"{name}: expected a model that fsad exported, got one without its record. {remedy}"
            ) from error
        raise DataError(f"{name}: expected a record with schema {SCHEMA}, got {schema!r}. {remedy}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**16


def _is_width(value: object) -> bool:
    return is_finite(value) and value >= 0  # type: ignore[operator]


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values())) and "name" in value


KINDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "image_size": ("a whole number from 1 to 65535", _is_size),
    "beta": ("a number in [0, 1]", is_fraction),
    "sigma": ("a number of at least 0", _is_width),
    "backbone": ("texts by name", _is_texts),
    "threshold": ("a finite number or null", lambda it: it is None or is_finite(it)),
    "map_threshold": ("a finite number or null", lambda it: it is None or is_finite(it)),
    "false_alarm_rate": ("a number in [0, 1] or null", lambda it: it is None or is_fraction(it)),
    "part_above": ("a finite number or null", lambda it: it is None or is_finite(it)),
    "rules": ("settings by name or null", lambda it: isinstance(it, dict | None)),
    "profile": ("numbers by name or null", lambda it: isinstance(it, dict | None)),
    "png_holes": ("true or false", lambda it: isinstance(it, bool)),
    "has_map": ("true or false", lambda it: isinstance(it, bool)),
    "schema": ("a whole number", lambda it: isinstance(it, int)),
}
"""What a record's values are, in words, and how to tell; all others are texts."""


def refuse_odd(name: str, key: str, value: Any, remedy: str) -> None:
    """Refuse a value of another kind, or out of range: what is decided by it would be wrong.

    Args:
        name: The file.
        key: The value's name in the record.
        value: As it was read.
        remedy: What to do.

    Raises:
        DataError: It is.
    """
    kind, fits = KINDS.get(key, ("a text", _is_text))
    if not fits(value):
        got = repr(value)
        shown = got if len(got) <= 60 else got[:57] + "..."
        raise DataError(f"{name}: expected {kind} at '{key}', got {shown}. {remedy}")
