"""Writes one prepared sample in MVTec 3D-AD's layout."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fsad.data.images import check_size
from fsad.data.prepare.isolate import isolate
from fsad.data.reader import FolderReader
from fsad.data.sample import Sample
from fsad.errors import DataError
from fsad.storage.tensors import atomic, make_folder


@dataclass(frozen=True)
class SampleWriter:
    """Isolates a sample's part and writes the sample's files.

    Attributes:
        reader: Reads the source.
        output: The copy's root.
        threshold: See `isolate`.
        zero_rgb: Whether the RGB image is black outside the part.
        seed: Of the plane fits.
    """

    reader: FolderReader
    output: Path
    threshold: float
    zero_rgb: bool
    seed: int

    def write(self, sample: Sample) -> bool:
        """Write a sample's files unless all are there.

        Returns:
            Whether anything was written.

        Raises:
            DataError: A file cannot be used, or no part can be isolated.
            OutputError: A file cannot be written.
        """
        folder = self.output / sample.category / sample.split / sample.defect
        kinds = {"rgb": "png", "xyz": "tiff", "part": "png"}
        masked = sample.split == "test" and bool(sample.masks)
        kinds |= {"gt": "png"} if masked else {}
        paths = {kind: folder / kind / f"{sample.stem}.{end}" for kind, end in kinds.items()}
        if all(path.exists() for path in paths.values()):
            return False

        # Everything is read before anything is written: a bad sample leaves no half pair behind.
        xyz, part = self._isolate(sample)
        photograph, depth = sample.files["rgb"], sample.files["depth"]
        rgb = self.reader.read(sample, "rgb")
        check_size(photograph, rgb.shape, depth, part.shape)
        if masked:
            check_size(sample.masks[0], self.reader.read_mask(sample).shape, depth, part.shape)
        for path in paths.values():
            make_folder(path.parent, "output")
        if masked:
            _copy(sample.masks[0], paths["gt"])  # both datasets keep the union in one file
        if self.zero_rgb:
            _save_png(paths["rgb"], rgb * part[..., None])
        else:
            _copy(photograph, paths["rgb"])
        with atomic(paths["xyz"]) as partial:
            tifffile.imwrite(partial, xyz, photometric="rgb", compression="zlib", metadata=None)
        _save_png(paths["part"], part.astype(np.uint8) * 255)
        return True

    def copy_notices(self, category: str) -> None:
        """Copy a category's text files: MVTec 3D-AD's licence goes where the data goes.

        Raises:
            OutputError: A file cannot be written.
        """
        for notice in sorted((self.reader.root / category).glob("*.txt")):
            copied = make_folder(self.output / category, "output") / notice.name
            if not copied.exists():
                _copy(notice, copied)

    def _isolate(self, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        xyz = self.reader.read_points(sample)
        name = f"{self.seed}/{sample.category}/{sample.split}/{sample.defect}/{sample.stem}"
        digest = hashlib.sha256(name.encode()).digest()  # unlike hash(), the same in every process
        try:
            return isolate(xyz, self.threshold, np.random.default_rng(list(digest)))
        except DataError as error:
            reason = str(error).removeprefix("xyz: ")
            raise DataError(f"{sample.files['depth']}: {reason}") from error


def _save_png(path: Path, image: NDArray[Any]) -> None:
    with atomic(path) as partial:
        Image.fromarray(image).save(partial, format="png")


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as partial:
        shutil.copyfile(source, partial)
