"""The test images of one run as data for the page: scores of all, cards of the worst."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from fsad.data.canvas import Canvas
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.transforms import load_tensors
from fsad.errors import DataError, FsadError, message_of
from fsad.report.measured import POINTS, measure
from fsad.report.pictures import pictures
from fsad.report.scores import CategoryScores, read_scores, worst_first
from fsad.results.dataset import open_dataset, test_samples
from fsad.results.record import CategoryResult, RunResult
from fsad.runtime.progress import track
from fsad.scores.threshold import THRESHOLD, Threshold, read_threshold

BUDGET = 16_000_000
"""Characters that all cards of a page may take together; the worst mistakes come first."""


@dataclass
class Images:
    """The test images of a run, ready for the page.

    Attributes:
        payload: What the page's script reads; empty where no category could be read.
        reader: The data set, where it is at hand.
        problems: What could not be read and why, one sentence each.
        cards: How many images have a card.
        images: How many images there are.
    """

    payload: dict[str, Any] = field(default_factory=dict)
    reader: DatasetReader | None = None
    problems: list[str] = field(default_factory=list)
    cards: int = 0
    images: int = 0


class _Category(NamedTuple):
    scores: CategoryScores
    samples: list[Sample] | None
    canvas: Canvas


def images_of(result: RunResult, data_root: Path | None = None, budget: int = BUDGET) -> Images:
    """Gather the test images of a run.

    What is missing or damaged is left out, and named.

    Args:
        result: The run.
        data_root: Where its data set is now; where the run read it if omitted.
        budget: Characters that the cards may take.
    """
    found = Images()
    try:
        found.reader = open_dataset(result, data_root)
    except FsadError as error:
        found.problems.append(
            f"No pictures, PRO curves and audit: {message_of(error)}. "
            "If the data set has moved, pass --data-root."
        )
    size = int(result.config["data"]["image_size"])
    categories: list[_Category] = []
    entries: list[dict[str, Any]] = []
    for name, category in track(result.categories.items(), "report", len(result.categories)):
        if not category.n_test_good + category.n_test_defect:
            continue
        try:
            scores = read_scores(result, name)
            canvas = _canvas(category, size)
        except FsadError as error:
            found.problems.append(f"{name} is without cards: {message_of(error)}")
            continue
        limits = _limits(found, result.path.parent / "categories" / name, name)
        samples, masks, areas = None, None, []
        if found.reader is not None:
            try:
                samples = test_samples(found.reader, name, scores.images)
                masks = _masks(found.reader, samples, canvas)
                areas = _areas(found.reader, samples, canvas)
            except FsadError as error:
                found.problems.append(f"{name} is without pictures: {message_of(error)}")
                samples, masks, areas = None, None, []
        categories.append(_Category(scores, samples, canvas))
        entries.append(
            _entry(scores, limits, canvas, masks, areas) | {"undefined": category.undefined}
        )
    if entries:
        found.images = sum(len(each.scores.images) for each in categories)
        found.cards = _add_cards(found, categories, entries, budget)
        found.payload = {"points": POINTS.tolist(), "categories": entries}
    return found


def _canvas(category: CategoryResult, size: int) -> Canvas:
    """Return what a category's images were brought to.

    Raises:
        DataError: The record of it cannot be read.
    """
    try:
        return Canvas.from_json((category.input or {}).get("canvas")) or Canvas.square(size)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"result.json: expected the canvas of the images, got '{message_of(error)}'"
        ) from error


def _masks(reader: DatasetReader, samples: Sequence[Sample], canvas: Canvas) -> list[Tensor] | None:
    """Return the ground truth of all images; None where that of one is not known."""
    if not all(sample.is_masked for sample in samples):
        return None
    masks = [load_tensors(reader, sample, canvas, ["mask"])["mask"] for sample in samples]
    known = all(sample.is_truth(mask) for sample, mask in zip(samples, masks, strict=True))
    return masks if known else None


def _areas(
    reader: DatasetReader, samples: Sequence[Sample], canvas: Canvas
) -> list[tuple[int, int]]:
    """Return the area of each image on its canvas; of none, where they all fill it."""
    if canvas.aspect is None:
        return []
    return [canvas.area(*reader.read_mask(sample).shape) for sample in samples]


def _limits(found: Images, folder: Path, name: str) -> Threshold:
    """Read where the run's predictions say that good ends; it may not say."""
    try:
        return read_threshold(folder / THRESHOLD)
    except FsadError as error:
        found.problems.append(f"{name} has no threshold: {message_of(error)}")
        return Threshold.none("it cannot be read")


def _entry(
    scores: CategoryScores,
    limits: Threshold,
    canvas: Canvas,
    masks: Sequence[Tensor] | None,
    areas: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    measured = measure(scores, canvas.shape, masks, areas)
    first = next(iter(scores.parts.values()))
    return {
        "name": scores.name,
        "mix": scores.mix and scores.mix._asdict(),
        "sigma": scores.sigma,
        "threshold": limits.image,
        "outline": limits.map,
        "size": list(canvas.shape),
        "grid": list(first.patches.shape[1:]),
        "images": scores.images,
        "defects": scores.defects,
        "labels": [int(label) for label in scores.labels.tolist()],
        "own": _floats(scores.fused),
        "scores": {name: _floats(part.images) for name, part in scores.parts.items()},
        "limits": measured.limits,
        "fused_limits": [[share, *limit] for share, limit in measured.fused_limits.items()],
        "pro": measured.pro,
        "fused_pro": list(measured.fused_pro.items()),
        "cards": {},
    }


def _add_cards(
    found: Images,
    categories: Sequence[_Category],
    entries: Sequence[Mapping[str, Any]],
    budget: int,
) -> int:
    """Give the worst mistakes of all categories their cards, as long as the budget lasts."""
    ranked = sorted(
        (-mistake, -towards, number, place)
        for number, each in enumerate(categories)
        for mistake, towards, place in worst_first(each.scores.fused, each.scores.labels)
    )
    broken: set[int] = set()  # categories with a picture that cannot be read
    for count, (_, _, number, place) in enumerate(ranked):
        scores, samples, canvas = categories[number]
        card: dict[str, Any] = {
            "patches": {name: _floats(part.patches[place]) for name, part in scores.parts.items()}
        }
        if samples is not None and found.reader is not None:
            try:
                card |= pictures(found.reader, samples[place], canvas)
            except FsadError as error:
                if number not in broken:
                    found.problems.append(
                        f"{scores.name}: a card has no pictures: {message_of(error)}"
                    )
                broken.add(number)
        budget -= sum(len(text) for text in card["patches"].values())
        budget -= sum(len(text) for name, text in card.items() if name != "patches")
        if budget < 0:
            return count
        entries[number]["cards"][str(place)] = card
    return len(ranked)


def _floats(values: Tensor) -> str:
    """Return numbers as base64 of little-endian float32, row by row."""
    return base64.b64encode(values.numpy().astype("<f4", order="C").tobytes()).decode()
