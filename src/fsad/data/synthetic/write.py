"""Generated pairs on disk, in MVTec 3D-AD's layout."""

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from fsad.data.synthetic.defects import Defect, draw_defect, no_defect
from fsad.data.synthetic.parts import PARTS
from fsad.data.synthetic.render import render_rgb, render_xyz
from fsad.data.synthetic.scene import Scene, draw_scene
from fsad.errors import DataError, OutputError
from fsad.runtime.progress import track
from fsad.storage.tensors import make_folder, partial_of, write_json

RECORD = "synthetic.json"


@dataclass(frozen=True)
class Recipe:
    """All that decides what the files hold; two equal recipes give the same bytes."""

    size: int
    n_train: int
    n_validation: int
    n_test_good: int
    n_test_defect: int
    categories: tuple[str, ...]
    defects: tuple[str, ...]
    seed: int
    version: int = 2  # of the generator: raise it with every change of what it draws

    @property
    def folder(self) -> str:
        """Name of the folder that holds this recipe's files and no other's."""
        digest = sha256(json.dumps(asdict(self)).encode()).hexdigest()[:8]
        return f"{self.size}px-seed{self.seed}-{digest}"

    def __iter__(self) -> Iterator["Draw"]:
        """Go through every sample."""
        test = dict.fromkeys(self.defects, self.n_test_defect)
        for category in self.categories:
            splits = {
                "train": {"good": self.n_train},
                "validation": {"good": self.n_validation},
                "test": {"good": self.n_test_good, **test},
            }
            for split, kinds in splits.items():
                for kind, count in kinds.items():
                    for index in range(count):
                        yield Draw(self.size, self.seed, category, split, kind, index)


@dataclass(frozen=True)
class Draw:
    """One sample: which it is, and the chance that belongs to it alone.

    A sample does not depend on the others: raising a count adds files and changes none.
    """

    size: int
    seed: int
    category: str
    split: str
    kind: str
    index: int

    def scene(self) -> Scene:
        """Draw the part, good in every sample."""
        return draw_scene(PARTS[self.category], self.size, self._rng(0))

    def defect(self, scene: Scene) -> Defect:
        """Draw what is wrong with it, with chance of its own: the part is the same without."""
        if self.kind == "good":
            return no_defect(self.size)
        return draw_defect(self.kind, scene, self._rng(1))

    def _rng(self, stream: int) -> np.random.Generator:
        name = f"{self.category}/{self.split}/{self.kind}/{self.index}"
        return np.random.default_rng([self.seed, zlib.crc32(name.encode()), stream])


def generate(root: Path, recipe: Recipe) -> Path:
    """Write the recipe's files unless they are there, and return their folder.

    The folder is written under a hidden name and renamed when complete, so a folder that exists is
    complete. Of several processes that write at once, the first to finish wins; all use its folder.

    Raises:
        DataError: The folder is there, but its record tells of another recipe or is missing.
        OutputError: The files cannot be written.
    """
    folder = root / recipe.folder
    if not folder.exists():
        make_folder(root, "synthetic data")
        partial = partial_of(folder)
        try:
            for draw in track(recipe, "synthetic data", total=sum(1 for _ in recipe)):
                _write(partial, draw)
            write_json(partial / RECORD, asdict(recipe))
            _rename(partial, folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"synthetic data: expected to write to '{root}', got '{reason}'. "
                "Free some space or choose another folder."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    _check_record(folder, recipe)
    return folder


def _write(root: Path, draw: Draw) -> None:
    """Write one sample's files, without dates or program names: equal data is equal bytes."""
    scene = draw.scene()
    defect = draw.defect(scene)
    folder, stem = root / draw.category / draw.split / draw.kind, f"{draw.index:03d}"
    rgb, xyz = render_rgb(scene, defect), render_xyz(scene, defect)
    for name in ("rgb", "xyz", "gt") if draw.split == "test" else ("rgb", "xyz"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(folder / "rgb" / f"{stem}.png", compress_level=1)
    tifffile.imwrite(
        folder / "xyz" / f"{stem}.tiff", xyz, photometric="rgb", metadata=None, software=False
    )
    if draw.split == "test":
        Image.fromarray(np.uint8(255) * defect.mask).save(folder / "gt" / f"{stem}.png")


def _rename(partial: Path, folder: Path) -> None:
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.exists():  # otherwise another process was faster, with the same bytes
            raise


def _check_record(folder: Path, recipe: Recipe) -> None:
    record = folder / RECORD
    wanted = json.loads(json.dumps(asdict(recipe)))  # tuples become lists
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != wanted:
        raise DataError(
            f"{record}: expected the parameters of this data set, got "
            f"{'others' if isinstance(found, dict) else 'none'}. "
            f"Delete '{folder}' to have it made again."
        )
