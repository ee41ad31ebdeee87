"""Where good ends: a threshold from what the shots score, and what it promises."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsad.errors import DataError, is_finite, is_fraction, message_of
from fsad.scores.parts import part_columns, parts_in
from fsad.storage.atomic import write_json
from fsad.storage.digests import refuse_changed, with_digest
from fsad.storage.regular import refuse_irregular

THRESHOLD = "threshold.json"
SCHEMA = 1


@dataclass(frozen=True)
class HeldOut:
    """What one shot scores against the other shots; higher = more anomalous.

    Attributes:
        image: Its file.
        score: The method's own image score.
        parts: The scores it is made of, by name.
        map_highest: The highest value of its anomaly map; None where the method has no maps.
    """

    image: str
    score: float
    parts: Mapping[str, float]
    map_highest: float | None

    @property
    def numbers(self) -> list[float]:
        """All its scores."""
        highest = [] if self.map_highest is None else [self.map_highest]
        return [self.score, *highest, *self.parts.values()]

    def to_json(self) -> dict[str, Any]:
        """Return an entry of ``threshold.json``."""
        parts = part_columns(self.parts)
        return {"image": self.image, "score": self.score, **parts, "map_highest": self.map_highest}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "HeldOut":
        """Read back what :meth:`to_json` wrote."""
        return cls(entry["image"], entry["score"], parts_in(entry), entry["map_highest"])


@dataclass(frozen=True)
class Threshold:
    r"""The largest score among k shots, each held out of the target bank.

    If the k scores and that of a new good image are exchangeable, and no two equal, each of the
    k + 1 is the largest with the same chance, so that

    .. math:: P\big(s_{new} > \max_i s_i\big) = \frac{1}{k + 1}

    That is the false-alarm rate to expect. A new image is compared with more shots than those held
    out were, one or of many a quarter more, which lowers its score; the source bank and the trained
    stages have seen the shots, which lowers theirs.

    Attributes:
        image: An image that scores above it is called defective; None without an estimate.
        map: Pixels of the map above it are outlined; None without an estimate.
        false_alarm_rate: Expected share of good images above ``image``.
        held_out: The scores behind it.
        note: What it rests on, in two short lines, or why there is none.
        seconds: What measuring took, in whichever run.

    Source:
        Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005: conformal
        prediction.
    """

    image: float | None
    map: float | None
    false_alarm_rate: float | None
    held_out: list[HeldOut] = field(default_factory=list)
    note: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, held_out: list[HeldOut], seconds: float = 0.0) -> "Threshold":
        """Take the largest of at least two held-out scores; none where one is no number."""
        count = len(held_out)
        if not all(is_finite(number) for each in held_out for number in each.numbers):
            return cls.none("the score of a held-out shot is NaN or infinite")
        image = max(each.score for each in held_out)
        note = (
            f"threshold {image:.6g}: the largest score of {count} shots, held out of the bank\n"
            f"expect about 1 in {count + 1} good parts like the shots to be flagged by mistake, "
            "or a little more"
        )
        maps = [each.map_highest for each in held_out if each.map_highest is not None]
        return cls(image, max(maps, default=None), 1 / (count + 1), held_out, note, seconds)

    @classmethod
    def none(cls, why: str) -> "Threshold":
        """Say why there is no estimate."""
        return cls(None, None, None, note=f"no threshold: {why}")

    def to_json(self) -> dict[str, Any]:
        """Return what a result says of it: all but the seconds, which no two runs share."""
        return {
            "schema": SCHEMA,
            "shots": len(self.held_out),
            "image": self.image,
            "map": self.map,
            "false_alarm_rate": self.false_alarm_rate,
            "held_out": [each.to_json() for each in self.held_out],
            "note": self.note,
        }

    def write(self, path: Path) -> None:
        """Write ``threshold.json``.

        Raises:
            OutputError: The file cannot be written.
        """
        write_json(path, with_digest({**self.to_json(), "seconds": self.seconds}))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Threshold":
        """Read back what :meth:`write` wrote.

        Raises:
            KeyError: A key is missing.
            TypeError: A value is of another kind.
            ValueError: It is of another schema, was changed since it was written, or a number is
                out of range: above a threshold that is NaN or infinite nothing lies, and every
                image would be called good.
        """
        refuse_changed(entry)
        if entry["schema"] != SCHEMA:
            raise ValueError(f"schema {entry['schema']!r}")
        for name, fits in (
            ("image", is_finite),
            ("map", is_finite),
            ("false_alarm_rate", is_fraction),
        ):
            if entry[name] is not None and not fits(entry[name]):
                raise ValueError(f"{name} {entry[name]!r}")
        held_out = [HeldOut.from_json(each) for each in entry["held_out"]]
        for each in held_out:
            if not all(map(is_finite, each.numbers)):
                raise ValueError(f"held-out scores {each.numbers}")
        image, highest, rate = (
            None if entry[name] is None else float(entry[name])
            for name in ("image", "map", "false_alarm_rate")
        )
        return cls(image, highest, rate, held_out, str(entry["note"]), float(entry["seconds"]))


def read_threshold(path: Path) -> Threshold:
    """Read ``threshold.json``; of a run without one, say so.

    Raises:
        DataError: There is one that cannot be read.
    """
    if not path.exists():
        return Threshold.none(
            "the run has none (it was made with threshold=false, or by an earlier version)"
        )
    try:
        refuse_irregular(path)
        return Threshold.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: expected a run's threshold, got a file that cannot be read "
            f"({message_of(error)}). Copy the whole folder of the run, or delete this file and go "
            "without a threshold or with --threshold."
        ) from error
