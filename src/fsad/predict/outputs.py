"""The folder that predictions are written into."""

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from fsad.errors import DataError, OutputError, RunError
from fsad.predict.pictures import MapScale, overlay
from fsad.predict.prediction import Prediction
from fsad.scores.parts import PREFIX, part_columns
from fsad.storage.atomic import atomic, make_folder, sweep, write_json, write_text
from fsad.storage.csv_cells import guarded, plain
from fsad.storage.regular import refuse_irregular, refuse_unprintable

TABLE = "predictions.csv"
SCALE = "map_scale.json"
KINDS = ("maps", "overlays", "outlines")


def columns_of(parts: Iterable[str]) -> tuple[str, ...]:
    """Return what the columns of the table are called.

    Args:
        parts: Names of the parts of the score; those of two domains always have a column, which
            scripts read.
    """
    names = part_columns(dict.fromkeys(parts))
    return ("path", "score", *names, "threshold", "decision", "changed")


COLUMNS = columns_of(())
"""Where the parts of the score are those of two domains at most."""


class Outputs:
    """Writes predictions as they come; what was written stays, whatever happens next.

    The folder holds ``predictions.csv``, ``map_scale.json`` and, named as the images and in the
    folders below which they lie, ``maps/*.png``, ``overlays/*.png`` and ``outlines/*.json``.

    The table has a column for each part of the score, and those of two domains. Which parts there
    are is known with the first prediction, so that a table without a row may get other columns, and
    one with rows takes predictions of the same parts alone.

    A table's last row that is cut short, by a full disk or a killed process, is taken away before
    the next is written. A path that is predicted on again gets another row, with the time of the
    file's last change, and new pictures in place of the old ones.

    Args:
        folder: A folder without predictions.
        base: The folder that all images lie below.
        pictures: Write more than the table.
        go_on: Take up the predictions that are there.

    Attributes:
        done: When a file was last changed that there is a prediction of, by its absolute path.

    Raises:
        OutputError: The folder cannot be written.
        RunError: There are predictions in it already.
        DataError: They are to be taken up and cannot be read.
    """

    def __init__(
        self, folder: Path, base: Path, pictures: bool = True, go_on: bool = False
    ) -> None:
        self.folder, self.base, self.pictures = make_folder(folder, "--out"), base, pictures
        self.done: dict[str, str] = {}
        self._scale: MapScale | None = None
        self._columns = COLUMNS
        table = folder / TABLE
        if table.exists() and not go_on:
            raise RunError(
                f"--out: expected a folder without predictions, got '{folder}' with {TABLE}. "
                "Choose another folder, or delete it."
            )
        sweep(folder, "")
        for kind in KINDS:
            sweep(folder / kind)
        if table.exists():
            _cut_unfinished(table)
            self._columns, self.done = _columns_and_times(table)
        if not table.exists() or not table.stat().st_size:
            _append(table, COLUMNS)

    def refuse_name(self, path: Path) -> None:
        """Refuse an image whose name the table, or the file system for its pictures, cannot hold.

        Raises:
            DataError: It is of that kind.
        """
        refuse_unprintable(path)
        if not self.pictures:
            return
        place = self.folder / "outlines" / self._place(path)
        try:
            os.lstat(place.with_name(f"{place.name}.json"))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise DataError(
                    f"{path}: expected a name that has room for .json behind it in "
                    f"'{self.folder}', got one of {len(os.fsencode(path.name))} bytes. Rename it, "
                    "or pass --no-maps."
                ) from error

    def write(self, prediction: Prediction, path: Path, changed: str = "") -> None:
        """Write all there is to say of an image, the table's row last.

        Args:
            prediction: What is said.
            path: The image's file.
            changed: When it was last changed.

        Raises:
            OutputError: A file cannot be written.
            DataError: The table has rows, of a score of other parts.
        """
        cells = {
            "path": str(path),
            "score": prediction.score,
            **part_columns(prediction.parts),
            "threshold": prediction.threshold,
            "decision": prediction.decision,
            "changed": changed,
        }
        self._make_columns(prediction.parts)
        if self.pictures and prediction.map is not None:
            self._write_pictures(prediction, path)
        _append(self.folder / TABLE, [cells.get(name) for name in self._columns])
        self.done[os.path.abspath(path)] = changed

    def _make_columns(self, parts: Iterable[str]) -> None:
        """Give the table a column for each part, and no other.

        Raises:
            DataError: It has others, and there are rows already.
        """
        columns, table = columns_of(parts), self.folder / TABLE
        if set(columns) == set(self._columns):
            return
        if self.done:
            raise DataError(
                f"{table}: expected the columns of this model's scores, "
                f"{', '.join(_scores(columns))}, got {', '.join(_scores(self._columns))}: "
                "another model wrote it. Choose another --out."
            )
        write_text(table, _line(columns))
        self._columns = columns

    def _write_pictures(self, prediction: Prediction, path: Path) -> None:
        if self._scale is None:
            self._scale = self._stored_scale() or MapScale.of(prediction)
            write_json(self.folder / SCALE, self._scale.to_json())
        place = self._place(path)
        _save(
            self._file("maps", place, ".png"),
            Image.fromarray(self._scale.encode(prediction.pixels)),
        )
        _save(self._file("overlays", place, ".png"), overlay(prediction, self._scale))
        if prediction.map_threshold is not None:
            write_json(self._file("outlines", place, ".json"), _described(prediction, path))

    def _place(self, path: Path) -> Path:
        return Path(os.path.relpath(os.path.abspath(path), self.base))

    def _stored_scale(self) -> MapScale | None:
        """Return the scale of the maps that are there already: one folder has one."""
        path = self.folder / SCALE
        if not path.exists():
            return None
        try:
            refuse_irregular(path)
            return MapScale(float(json.loads(path.read_text(encoding="utf-8"))["reference"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: expected the scale of the maps beside it, got a file that cannot be "
                "read. Choose another --out."
            ) from error

    def _file(self, kind: str, place: Path, suffix: str) -> Path:
        folder = make_folder(self.folder / kind / place.parent, "--out")
        return folder / (place.name + suffix)


def base_of(paths: Iterable[Path]) -> Path:
    """Return the folder that all files lie below."""
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]))


def _described(prediction: Prediction, path: Path) -> dict[str, Any]:
    height, width = prediction.pixels.shape
    return {
        "path": str(path),
        "height": height,
        "width": width,
        "map_threshold": prediction.map_threshold,
        "outlines": [
            {"is_hole": each.is_hole, "points": each.points.round(2).tolist()}
            for each in prediction.outlines()
        ],
    }


def _save(path: Path, image: Image.Image) -> None:
    with atomic(path) as partial:
        image.save(partial, format="PNG")


def _line(row: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([guarded(cell) for cell in row])
    return text.getvalue()


def _append(table: Path, row: Iterable[Any]) -> None:
    """Write a whole row or none: a reader of the growing table sees no half of one.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        with table.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                _write_whole(file, _line(row).encode("utf-8"))
            except BaseException:
                with suppress(OSError):  # the next start tries again
                    file.truncate(size)
                raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{table}: expected to write the file, got '{reason}'") from error


def _write_whole(file: io.FileIO, content: bytes) -> None:
    while content:  # a disk that fills up takes a part, and refuses at the next call
        content = content[file.write(content) :]


def _cut_unfinished(table: Path) -> None:
    """Take away a last row that is cut short; of a file that is no such table leave everything.

    Raises:
        DataError: It cannot be read, or not be cut.
    """
    try:
        refuse_irregular(table)
        content = table.read_bytes()
        whole = _whole_rows(content)
        is_begun = _line(COLUMNS).encode().startswith(content)
        if whole < len(content) and (is_begun or _is_head(_first_row(content))):
            with table.open("rb+") as file:
                file.truncate(whole)
    except (OSError, DataError, csv.Error) as error:
        raise _no_predictions(table) from error


def _whole_rows(content: bytes) -> int:
    """Return where the last whole row ends: at a line's end outside quotation marks."""
    end, quotes = len(content), content.count(b'"')
    while (line := content.rfind(b"\n", 0, end)) >= 0:
        quotes -= content.count(b'"', line, end)
        if quotes % 2 == 0:
            return line + 1
        end = line
    return 0


def _first_row(content: bytes) -> list[str]:
    line = content.partition(b"\n")[0].decode("utf-8", "replace")
    return next(csv.reader([line]), [])


def _scores(columns: Iterable[str]) -> list[str]:
    return [name for name in columns if name.startswith(PREFIX)]


def _is_head(cells: Sequence[str]) -> bool:
    return tuple(cells) == columns_of(name.removeprefix(PREFIX) for name in _scores(cells))


def _columns_and_times(table: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            head = next(reader, list(COLUMNS))
            if not _is_head(head):
                raise ValueError("other columns")
            place = head.index("changed")
            rows = list(reader)
            if any(len(row) != len(head) for row in rows):
                raise ValueError("a row of another length")
            return tuple(head), {os.path.abspath(plain(row[0])): row[place] for row in rows}
    except (OSError, ValueError, csv.Error) as error:
        raise _no_predictions(table) from error


def _no_predictions(table: Path) -> DataError:
    return DataError(
        f"{table}: expected predictions to go on with, got a file that cannot be read. "
        "Choose another --out."
    )
