"""The folder that predictions are written into."""

import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from PIL import Image

from fsad.atomic import atomic, make_folder, write_json
from fsad.errors import DataError, OutputError, RunError
from fsad.predict.pictures import MapScale, overlay
from fsad.predict.prediction import Prediction

TABLE = "predictions.csv"
SCALE = "map_scale.json"
COLUMNS = ("path", "score", "score_source", "score_target", "threshold", "decision")


class Outputs:
    """Writes predictions as they come; what was written stays, whatever happens next.

    The folder holds ``predictions.csv``, ``map_scale.json`` and, named as the images and in the
    folders below which they lie, ``maps/*.png``, ``overlays/*.png`` and ``outlines/*.json``.

    Args:
        folder: A folder without predictions.
        base: The folder that all images lie below.
        pictures: Write more than the table.
        go_on: Take up the predictions that are there.

    Raises:
        OutputError: The folder cannot be written.
        RunError: There are predictions in it already.
        DataError: They are to be taken up and cannot be read.
    """

    def __init__(
        self, folder: Path, base: Path, pictures: bool = True, go_on: bool = False
    ) -> None:
        self.folder, self.base, self.pictures = make_folder(folder, "--out"), base, pictures
        self.done: set[str] = set()
        self._scale: MapScale | None = None
        table = folder / TABLE
        if table.exists() and not go_on:
            raise RunError(
                f"--out: expected a folder without predictions, got '{folder}' with {TABLE}. "
                "Choose another folder, or delete it."
            )
        if table.exists():
            self.done = _paths_in(table)
        else:
            _write_rows(table, [COLUMNS], "w")

    def write(self, prediction: Prediction, path: Path) -> None:
        """Write all there is to say of an image, the table's row last.

        Raises:
            OutputError: A file cannot be written.
        """
        if self.pictures:
            self._write_pictures(prediction, path)
        known = (
            prediction.score,
            prediction.score_source,
            prediction.score_target,
            prediction.threshold,
            prediction.decision,
        )
        _write_rows(self.folder / TABLE, [(str(path), *known)], "a")
        self.done.add(os.path.abspath(path))

    def _write_pictures(self, prediction: Prediction, path: Path) -> None:
        if self._scale is None:
            self._scale = self._stored_scale() or MapScale.of(prediction)
            write_json(self.folder / SCALE, self._scale.to_json())
        place = Path(os.path.relpath(os.path.abspath(path), self.base))
        _save(
            self._file("maps", place, ".png"), Image.fromarray(self._scale.encode(prediction.map))
        )
        _save(self._file("overlays", place, ".png"), overlay(prediction, self._scale))
        if prediction.map_threshold is not None:
            write_json(self._file("outlines", place, ".json"), _described(prediction, path))

    def _stored_scale(self) -> MapScale | None:
        """Return the scale of the maps that are there already: one folder has one."""
        path = self.folder / SCALE
        if not path.exists():
            return None
        try:
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
    height, width = prediction.map.shape
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


def _write_rows(table: Path, rows: Iterable[Iterable[Any]], mode: str) -> None:
    """Write whole rows: a reader of the growing table sees no half of one."""
    try:
        with table.open(mode, encoding="utf-8", newline="") as file:
            _writer(file).writerows(rows)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{table}: expected to write the file, got '{reason}'") from error


def _writer(file: IO[str]) -> Any:
    return csv.writer(file, lineterminator="\n")


def _paths_in(table: Path) -> set[str]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("other columns")
            return {os.path.abspath(row["path"]) for row in reader}
    except (OSError, ValueError) as error:
        raise DataError(
            f"{table}: expected predictions to go on with, got a file that cannot be read. "
            "Choose another --out."
        ) from error
