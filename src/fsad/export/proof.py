"""An exported file's proof: on images of the run it says what the run says, or is not kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from fsad.data.input import channels_of
from fsad.data.transforms import load_tensors
from fsad.engine.trained import TrainedModel
from fsad.errors import FsadError, MissingDataError, RunError, message_of
from fsad.predict.from_run import TrainedScorer
from fsad.predict.predictor import Predictor
from fsad.predict.scorer import Limits, Pixels, Scored
from fsad.results.dataset import open_dataset
from fsad.results.record import read_result

SHOTS, TESTS = 2, 4
"""Images that are looked at, at most; each costs two predictions."""
MADE = 4
SCORE, MAP = 1e-4, 1e-3
"""How far a file's score may lie from the run's, of the score, and its map, in the score's unit."""
LEAST = 1e-6


@dataclass(frozen=True)
class Proof:
    """What the comparison rests on, and what it found.

    Attributes:
        images: Images that were looked at.
        made: Why they are made ones; empty where they are the run's own.
        score: Largest difference of a score, of the score or the threshold.
        map: Largest difference of a map.
    """

    images: int
    made: str
    score: float
    map: float

    def __str__(self) -> str:
        of = f"generated images instead of the run's own ({self.made})" if self.made else ""
        return (
            f"as the run does on {self.images} {of or 'of its images'}: scores within "
            f"{self.score:.1e}, maps within {self.map:.1e}"
        )


def prove(predictor: Predictor, kind: str) -> Callable[[Callable[[Pixels], Scored]], Proof]:
    """Score images by the run, for exported files to be compared with.

    Args:
        predictor: The run's category.
        kind: What is exported, for the message.

    Returns:
        What compares a file, given what scores images ``(n, C, S, S)`` by it. It raises a
        RunError where a score, a map or a decision differs.
    """
    assert isinstance(predictor.scorer, TrainedScorer)
    images, made = proving_images(predictor.scorer.trained)
    by_run = [predictor.scorer.score(image[None]) for image in images]

    def compare(score: Callable[[Pixels], Scored]) -> Proof:
        by_file = [score(image[None]) for image in images]
        return compared(by_run, by_file, predictor.limits, kind, made)

    return compare


def proving_images(trained: TrainedModel) -> tuple[Pixels, str]:
    """Choose images to compare on: shots and test images of the run, spread over the test split.

    They choose nothing and change nothing: neither labels nor scores are looked at.

    Args:
        trained: The run's category.

    Returns:
        Images ``(n, C, S, S)``, and why they are made ones: the run's data is not there,
        cannot be read, or has shots alone, of which every patch may be 0 away from itself in the
        bank. Exporting must not need the data, and any image shows whether a file computes what
        the run does. Empty where they are the run's.
    """
    try:
        return _images_of(trained), ""
    except FsadError as error:
        made = made_images(trained.canvas.shape, channels_of(trained.modality))
        return made, message_of(error).rstrip(".")


def _images_of(trained: TrainedModel) -> Pixels:
    result = read_result(trained.folder.parents[1] / "result.json")
    reader = open_dataset(result)
    shots = set(result.categories[trained.category].shots[:SHOTS])
    train, test = (reader.samples(trained.category, split) for split in ("train", "test"))
    modality = trained.modality
    chosen = [
        sample
        for sample in train
        if sample.files[modality].relative_to(reader.root).as_posix() in shots
    ]
    if not test:
        raise MissingDataError("there is no test image")
    spread = np.linspace(0, len(test) - 1, min(TESTS, len(test))).round().astype(int)
    chosen += [test[place] for place in spread]
    canvas = trained.canvas
    tensors = [load_tensors(reader, sample, canvas, [modality])[modality] for sample in chosen]
    images: Pixels = torch.stack(tensors)[:, : channels_of(modality)].numpy()
    return images


def made_images(size: int | tuple[int, int], channels: int) -> Pixels:
    """Make images: smooth, the same every time, ``(MADE, channels, S, S)`` in [0.1, 0.9]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(MADE, channels, 9, 9, generator=generator) * 0.8 + 0.1
    images: Pixels = interpolate(coarse, size, mode="bilinear").numpy()
    return images


def compared(
    by_run: Sequence[Scored],
    by_file: Sequence[Scored],
    limits: Limits,
    kind: str,
    made: str = "",
) -> Proof:
    """Compare what a file says of some images with what the run says.

    A score may differ by ``SCORE`` of itself, or of the threshold, or without one of the largest
    score, where that is more: a shot finds itself in the bank and scores nearly 0. A map may differ
    by ``MAP``; of maps whose highest value is below 1 by that share of it, and of those above 10
    by ``SCORE`` of it, for float32 has no more digits.

    Args:
        by_run: By image.
        by_file: By image, in the same order.
        limits: Where good ends.
        kind: What is exported, for the message.
        made: As for :class:`Proof`.

    Raises:
        RunError: A score, a map or a decision differs.
    """
    worst = 0.0
    parts = dict.fromkeys(name for scored in (*by_run, *by_file) for name in scored.parts)
    for name in ("score", *parts):
        ours, theirs = (_column(scored, name) for scored in (by_run, by_file))
        if ours.shape != theirs.shape:
            raise _refused(kind, f"{len(theirs)} scores '{name}' for {len(ours)}")
        if not len(ours):
            continue
        known = limits.image if name == "score" else None
        usual = float(np.abs(ours).max()) if known is None else abs(known)
        unit = np.maximum(np.maximum(np.abs(ours), usual), LEAST)
        apart = np.abs(theirs - ours) / unit
        place = int(apart.argmax())
        if not apart[place] <= SCORE:
            raise _refused(kind, f"'{name}' {theirs[place]:.6g} for {ours[place]:.6g}")
        worst = max(worst, float(apart[place]))
        if known is not None and ((ours > known) != (theirs > known)).any():
            raise _refused(kind, f"another decision by the threshold {known:.9g}")
    if any(batch.maps is None for batch in by_file):  # the graph holds none
        return Proof(len(by_run), made, worst, 0.0)
    ours, theirs = (_maps(scored) for scored in (by_run, by_file))
    highest = float(np.abs(ours).max())
    apart = np.abs(theirs - ours).max() if ours.shape == theirs.shape else np.inf
    if not apart <= max(min(MAP, MAP * highest), SCORE * highest, LEAST):
        raise _refused(kind, f"a map that is {apart:.3g} off, with values up to {highest:.3g}")
    return Proof(len(by_run), made, worst, float(apart))


def _maps(scored: Sequence[Scored]) -> Pixels:
    maps: Pixels = np.concatenate([it.maps for it in scored if it.maps is not None])
    return maps


def _refused(kind: str, got: str) -> RunError:
    return RunError(
        f"{kind}: expected a file that scores and decides as the run does, got {got}. It is not "
        "written; predict with the run's folder instead, by PyTorch."
    )


def _column(scored: Sequence[Scored], name: str) -> Pixels:
    columns = [{"score": each.score, **each.parts} for each in scored]
    values = [column[name] for column in columns if name in column]
    column: Pixels = np.concatenate(values) if values else np.zeros(0, np.float32)
    return column.astype(np.float64)
