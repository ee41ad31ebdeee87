"""What a finished run knows of its test images: labels, image scores, patch scores."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fsad.errors import DataError
from fsad.functional.scoring import fuse
from fsad.results.record import (
    CATEGORY,
    SCORES_DIGEST,
    RunResult,
    read_category,
    scores_digest,
)
from fsad.scores.combination import Combination
from fsad.scores.score_set import from_tensors
from fsad.storage.csv_cells import plain
from fsad.storage.regular import refuse_irregular
from fsad.storage.tensors import read_tensors

SIGMA = 4.0  # pixels, where neither the run nor its settings tell
REPLACE = "Run again to replace the file."


class PartScores(NamedTuple):
    """One part of the scores of a category's test images; higher = more anomalous.

    Attributes:
        patches: Patch scores, ``(n, h, w)``.
        images: Image scores, ``(n,)``.
    """

    patches: Tensor
    images: Tensor


class Mix(NamedTuple):
    """Two parts whose weighted mean is the method's own score.

    Attributes:
        first: Name of a part.
        second: Name of the other.
        share: Weight of the first, in [0, 1]; the second has the rest.
    """

    first: str
    second: str
    share: float


@dataclass(frozen=True)
class CategoryScores:
    """The test images of one category, in the order of the test split.

    Attributes:
        name: The category.
        images: Depth files, relative to the data set's folder.
        defects: Kind of defect, or ``good``.
        labels: Whether there is one, ``(n,)``, bool.
        fused: The method's own image scores, ``(n,)``; higher = more anomalous.
        parts: The parts with patch scores, by name.
        mix: How two parts become the method's own score; None where they are not two, where they
            are combined otherwise, or where the run recorded nothing of it.
        sigma: Blur of the maps in pixels.
    """

    name: str
    images: list[str]
    defects: list[str]
    labels: Tensor
    fused: Tensor
    parts: dict[str, PartScores]
    mix: Mix | None
    sigma: float


def read_scores(result: RunResult, name: str) -> CategoryScores:
    """Read what a run left of one category.

    Raises:
        MissingDataError: The patch scores are not there.
        DataError: A file cannot be read, or the two are of different images.
        ConfigError: The category's record combines parts in an unknown way.
    """
    folder = result.path.parent
    path = folder / "categories" / name / "patch_scores.safetensors"
    tensors, _ = read_tensors(path)
    try:
        scores = from_tensors(tensors)
    except KeyError as error:
        raise DataError(f"{path}: expected patch scores, got none of {error}. {REPLACE}") from error
    parts = {
        name: PartScores(each.patches, each.images)
        for name, each in scores.items()
        if each.patches is not None
    }
    if not parts:
        raise DataError(f"{path}: expected patch scores, got those of whole images alone")
    table = folder / "scores.csv"
    try:
        refuse_irregular(table)
        with table.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if plain(row["category"]) == name]
        images = [plain(row["image"]) for row in rows]
        defects = [plain(row["defect"]) for row in rows]
        labels = torch.tensor([bool(int(row["label"])) for row in rows], dtype=torch.bool)
        fused = torch.tensor([float(row["score"]) for row in rows])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{table}: expected the scores of a run, got a file that cannot be read. {REPLACE}"
        ) from error
    _refuse_changed(table, name, path.parent)
    for part in parts.values():
        if len(part.images) != len(images):
            raise DataError(
                f"{path}: expected {len(images)} images as in {table.name}, "
                f"got {len(part.images)}. {REPLACE}"
            )
    record = read_category(path.parent) if (path.parent / CATEGORY).is_file() else {}
    mix = _mix(Combination.of(record, Combination()), fused, parts)
    sigma = record.get("sigma", result.config["method"].get("sigma"))
    sigma = float(sigma) if isinstance(sigma, int | float) else SIGMA
    return CategoryScores(name, images, defects, labels, fused, parts, mix, sigma)


def _refuse_changed(table: Path, name: str, folder: Path) -> None:
    """Refuse scores that are not those that the category was measured by, where it says."""
    known = read_category(folder).get(SCORES_DIGEST) if (folder / CATEGORY).is_file() else None
    if known is not None and scores_digest(table, name) != known:
        raise DataError(
            f"{table}: expected the scores of {name} as they were written, got a file that was "
            f"changed or damaged since. Write it anew: python train.py resume={table.parent}"
        )


def _mix(combination: Combination, fused: Tensor, parts: Mapping[str, PartScores]) -> Mix | None:
    """Return how the two parts are said to become the scores, if they do."""
    weights = combination.weights
    if combination.kind != "mean" or len(parts) != 2 or weights.keys() != parts.keys():
        return None
    first, second = weights
    mixed = fuse(parts[first].images, parts[second].images, weights[first])
    return Mix(first, second, weights[first]) if torch.equal(mixed, fused) else None


def mistakes(scores: Tensor, labels: Tensor) -> Tensor:
    r"""Tell how wrong each image's place in the ranking is.

    .. math:: m_i = \frac{1}{|O_i|} \sum_{j \in O_i} [\text{j is on the wrong side of i}]

    with :math:`O_i` the images of the other kind: for a good image the share of defective ones
    that score lower, for a defective one the share of good ones that score higher; ties count
    half. It needs no threshold, and categories of different scales can be compared.

    Laws (``tests/report/test_report_scores.py``): 0 everywhere exactly if the two kinds are
    separated; the mean over the good images, and over the defective ones, is one less the image
    AUROC.

    Args:
        scores: ``(n,)``, higher = more anomalous.
        labels: Whether there is a defect, ``(n,)``, bool.

    Returns:
        ``(n,)``, float64, in [0, 1], higher = worse; 0 where there is one kind alone.
    """
    found = torch.zeros(len(scores), dtype=torch.float64)
    for kind in (False, True):
        mine, others = scores[labels == kind], scores[labels != kind]
        if len(mine) and len(others):
            apart = mine[:, None] - others[None, :]
            wrong = (apart < 0) if kind else (apart > 0)
            found[labels == kind] = (wrong.double() + (apart == 0).double() / 2).mean(dim=1)
    return found


def worst_first(scores: Tensor, labels: Tensor) -> list[tuple[float, float, int]]:
    """Order images by their mistakes, the worst first.

    Equal mistakes are ordered by how far the score lies towards the wrong side: a good image's
    above the mean of its category, a defective one's below, in standard deviations.

    Returns:
        Mistake, that distance and position of each image.
    """
    spread = float(scores.double().std(correction=0)) or 1.0
    towards = (scores.double() - scores.double().mean()) / spread
    wrong = torch.where(labels, -towards, towards)
    columns = mistakes(scores, labels).tolist(), wrong.tolist(), range(len(scores))
    rows = list(zip(*columns, strict=True))
    return sorted(rows, key=lambda row: (-row[0], -row[1], row[2]))
