"""The scores of images: what a method says in parts, and the batches of a test together."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fsad.functional.scoring import continued, image_scores, lowest_beside, on_grid
from fsad.runtime.processes import gather

IMAGES = ".images"  # behind a part's name: its image scores


class Scores(NamedTuple):
    """One part of the scores of some images; higher = more anomalous.

    Attributes:
        patches: Patch scores, ``(n, h, w)``; None where the part scores whole images alone.
        images: Image scores, ``(n,)``.
    """

    patches: Tensor | None
    images: Tensor

    def at(self, places: Tensor | slice) -> "Scores":
        """Return the scores of some of the images."""
        patches = None if self.patches is None else self.patches[places]
        return Scores(patches, self.images[places])


ScoreSet = Mapping[str, Scores]
"""The parts of a score by name: ``source`` and ``target``, say, or ``target`` alone."""


def complete(
    parts: Mapping[str, Tensor | Scores], inside: Tensor | None = None
) -> dict[str, Scores]:
    """Give every part its image scores: those of the worst patch, where a method says no other.

    Law: patch scores beside an image change nothing.

    Args:
        parts: By name, patch scores ``(n, h, w)`` or :class:`Scores`.
        inside: Which patches of the extractor's grid show an image, ``(n, h, w)``, bool; omitted,
            all. Those beside it take the score of the nearest one that does.

    Returns:
        The parts in the same order, float32.
    """
    found = {}
    for name, scores in parts.items():
        patches = scores if isinstance(scores, Tensor) else scores.patches
        own = None if inside is None or patches is None else on_grid(inside, patches)
        if isinstance(scores, Tensor):
            images = image_scores(lowest_beside(scores, own))
        else:
            images = scores.images
        filled = None if patches is None else continued(patches.float(), own)
        found[name] = Scores(filled, images.float())
    return found


def to_tensors(scores: ScoreSet) -> dict[str, Tensor]:
    """Return scores as a file holds them: patch scores under a part's name, image scores beside."""
    tensors = {}
    for name, each in scores.items():
        if each.patches is not None:
            tensors[name] = each.patches
        tensors[name + IMAGES] = each.images
    return tensors


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Scores]:
    """Put together again what :func:`to_tensors` took apart.

    Raises:
        KeyError: There are no image scores, or none for some patch scores.
    """
    names = [name.removesuffix(IMAGES) for name in tensors if name.endswith(IMAGES)]
    lonely = {name for name in tensors if not name.endswith(IMAGES)} - set(names)
    if lonely or not names:
        raise KeyError(f"{min(lonely, default='')}{IMAGES}")
    return {name: Scores(tensors.get(name), tensors[name + IMAGES]) for name in sorted(names)}


class TestScores:
    """The scores of a category's test images, gathered batch by batch.

    Note:
        A float32 per patch and part: 6 KB per image of 28 × 28 patches in two parts.
    """

    __test__ = False  # no test of pytest's

    def __init__(self) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def update(self, index: Tensor, parts: Mapping[str, Tensor | Scores]) -> None:
        """Add a batch; of the same parts each time.

        Args:
            index: Positions in the test samples, ``(n,)``.
            parts: As :meth:`fsad.engine.scorer.Scorer.score` returns them.
        """
        columns = to_tensors(complete(parts))
        device = next(iter(columns.values())).device
        self._batches.append({"index": index.to(device), **columns})

    def gathered(self, images: int, device: torch.device) -> dict[str, Tensor] | None:
        """Bring the scores of all processes together.

        Args:
            images: How many test images there are.
            device: Where this process computes.

        Returns:
            As :func:`to_tensors`, in the order of the test samples, in the first process; None in
            the others.
        """
        whole = {}
        for name in self._batches[0]:
            column = torch.cat([batch[name] for batch in self._batches])
            parts = gather(column.to(device), images)
            if parts is not None:
                whole[name] = torch.cat(parts).cpu()
        if not whole:
            return None
        order = whole.pop("index").argsort()
        return {name: column[order] for name, column in whole.items()}
