"""What is wrong with single files of a dataset, and how it is told in few lines."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsad.data.canvas import Canvas
from fsad.data.folder import Folder
from fsad.data.oddities import oddities
from fsad.data.profile import InputProfile
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.transforms import MOST, is_tiny
from fsad.errors import DataError

NAMED = 5  # names a message lists before it says how many more there are


@dataclass
class Row:
    """What was counted in one folder.

    Attributes:
        folder: The folder.
        sizes: Height and width of its photographs.
        valid: Share of valid depth pixels, one for each image that could be read.
        tiny: Stems whose defect is smaller than a pixel of a run's image.
        notes: What is odd about a file and misleads no run.
        profiles: Shape and, of depth, scale, one for each image that could be read.
    """

    folder: Folder
    sizes: set[tuple[int, int]] = field(default_factory=set)
    valid: list[float] = field(default_factory=list)
    tiny: list[str] = field(default_factory=list)
    notes: list["Fault"] = field(default_factory=list)
    profiles: list[InputProfile] = field(default_factory=list)

    @property
    def mean_valid(self) -> float | None:
        """Mean share of valid depth, in [0, 1]; None if no depth could be read."""
        return float(np.mean(self.valid)) if self.valid else None


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file.

    Attributes:
        stem: The file's.
        key: The same for faults of one kind, which are listed in one line.
        message: What was expected and what is there.
    """

    stem: str
    key: str
    message: str


def faults_of(stem: str, row: Row, reader: DatasetReader, canvas: Canvas) -> list[Fault]:
    """Open a stem's files, count them in ``row`` and tell what is wrong with them.

    Args:
        stem: Which.
        row: Where they are counted.
        reader: The dataset.
        canvas: What a run's images are brought to.
    """
    folder, faults = row.folder, []
    sample = folder.sample(stem)
    reads: dict[str, Callable[[Sample], NDArray[Any] | None]] = {
        name: reader.read_stored if name == "depth" else partial(reader.read, modality=name)
        for name in reader.modalities
    }
    reads |= {"gt": reader.read_mask, "part": reader.read_part}
    images: dict[str, NDArray[Any]] = {}
    for kind, read in reads.items():
        try:
            image = read(sample) if folder.can_read(kind, stem) else None
            if kind == "depth" and image is not None:
                z = reader.rules.depth(image, str(sample.files["depth"]))
        except DataError as error:
            faults.append(Fault(stem, str(error).split(": ", 1)[-1], str(error)))
            continue
        if image is not None:
            images[kind] = image

    photographs = [name for name in reader.modalities if name != "depth" and name in images]
    for name in photographs:
        row.sizes.add(images[name].shape[:2])
    if photographs and "depth" not in reader.modalities:
        height, width = images[photographs[0]].shape[:2]
        row.profiles.append(InputProfile(width / height))
    if "depth" in images:
        row.valid.append(float(np.isfinite(z).mean()))
        row.profiles.append(InputProfile.of([images["depth"]], reader.rules))
        for oddity in oddities(images["depth"], z, reader.rules):
            told = faults if oddity.misleads else row.notes
            told.append(Fault(stem, oddity.kind, f"{sample.files['depth']}: {oddity.problem}"))
    if "gt" in images and is_tiny(images["gt"], canvas.area(*images["gt"].shape)):
        row.tiny.append(stem)
    return faults + _unequal_sizes(images, folder, stem) + _wrong_masks(images, folder, stem)


def _unequal_sizes(images: dict[str, NDArray[Any]], folder: Folder, stem: str) -> list[Fault]:
    sizes = {kind: image.shape[:2] for kind, image in images.items()}
    if len(set(sizes.values())) < 2:
        return []
    sizes_in_words = ", ".join(f"{kind} {size}" for kind, size in sizes.items())
    message = f"{folder.place}/{stem}: expected images of one size, got {sizes_in_words}"
    return [Fault(stem, sizes_in_words, message)]


def _wrong_masks(images: dict[str, NDArray[Any]], folder: Folder, stem: str) -> list[Fault]:
    wrong = []
    share = float(images["gt"].mean()) if "gt" in images else 0.0
    if share and folder.defect == "good":
        wrong.append("expected an empty mask for a good image, got marked pixels")
    elif share > MOST:
        wrong.append(
            f"expected a mask that marks the defect, got {share:.0%} of the image marked. Is it "
            "inverted?"
        )
    if "gt" in images and not share and folder.defect not in ("good", "unknown"):
        wrong.append(
            "expected a mask with the defect marked, got an empty one: pixel metrics will be –"
        )
    if "part" in images and not images["part"].any():
        wrong.append("expected a mask with the part marked, got an empty one")
    return [Fault(stem, text.split(", got")[0], f"{folder.place}/{stem}: {text}") for text in wrong]


def in_lines(faults: list[Fault], folder: Folder) -> list[str]:
    """Put faults of one kind in one line: what is wrong with all files is one mistake."""
    by_key: dict[str, list[Fault]] = {}
    for fault in faults:
        by_key.setdefault(fault.key, []).append(fault)
    lines = []
    for alike in by_key.values():
        others = [fault.stem for fault in alike[1:]]
        so = f"; the same with {len(others)} more of {folder.place} ({listed(others)})"
        lines.append(alike[0].message + (so if others else ""))
    return lines


def listed(names: list[str]) -> str:
    """Name some, and say how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
