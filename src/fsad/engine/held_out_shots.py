"""What the shots score, held out of the bank: all that is known of good images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsad.data.datamodule import DataModule
from fsad.engine.plan import HoldOut, Plan
from fsad.engine.scorer import BankScorer, Control
from fsad.errors import BankError, ConfigError, ShapeError, message_of
from fsad.runtime.progress import track
from fsad.scores.combination import MapMaker
from fsad.scores.score_set import Scores, ScoreSet, from_tensors, to_tensors
from fsad.scores.threshold import HeldOut, Threshold
from fsad.storage.tensor_store import TensorStore

ALONE = 10
"""So many shots are each held out alone; with more of them the cost would grow by their square."""
GROUPS = 5
"""More shots are held out in so many groups, each scored against the shots of the others."""


@dataclass(frozen=True)
class CacheSlot:
    """Where the scores of the same shots may lie already.

    Attributes:
        store: What runs share; None keeps nothing.
        key: Digest of all that decides the scores.
    """

    store: TensorStore | None
    key: str


def set_threshold(
    plan: Plan,
    again: Callable[[], Plan],
    data: DataModule,
    maker: MapMaker,
    slot: CacheSlot,
    names: Sequence[str],
) -> Threshold:
    """Score every shot, held out, and set the threshold at the largest score.

    Nothing else of the run changes, not even the state of the global generator.

    Args:
        plan: The run's, to see what it is made of.
        again: Returns the same plan anew, trained, with its banks filled.
        data: One category's data.
        maker: How patch scores become maps, and the parts of a score one.
        slot: Where the scores may lie already.
        names: The shots' files.

    Returns:
        The threshold, or why there is none.

    Note:
        Costs, for each group of :func:`groups_of`, what a target bank of the other shots takes and
        what the method prepares at the start of a test, and for each shot one image. Features come
        from the cache where there is one.
    """
    why = _why_not(plan, len(names))
    if why:
        return Threshold.none(why)
    start = time.perf_counter()
    entry = slot.store.get(slot.key) if slot.store else None
    if entry is None:
        with torch.random.fork_rng(devices=[]):  # loaders draw from it
            images = torch.cat([batch.image for batch in data.loader("shots")])
            try:
                scores = held_out_scores(again, images)
            except (
                ConfigError,
                BankError,
                ShapeError,
            ) as error:  # too few
                return Threshold.none(f"the shots cannot be held out ({message_of(error)})")
        seconds = time.perf_counter() - start
        if slot.store:
            slot.store.put(slot.key, to_tensors(scores), {"seconds": str(seconds)})
    else:
        scores, seconds = from_tensors(entry.tensors), float(entry.metadata["seconds"])
    return Threshold.of(_rows(scores, maker, names), seconds)


def _why_not(plan: Plan, shots: int) -> str:
    """Tell why nothing can be estimated; empty if it can."""
    if isinstance(plan.scorer, Control):
        return "the method cannot score a new image"
    if plan.held_out == HoldOut.NONE:
        return "the method trains on the shots and keeps no bank of them, so none can be held out"
    bank = plan.bank_stage
    if plan.held_out == HoldOut.REBANK and (bank is None or "target" not in bank.ratios):
        return "the method keeps no bank of the shots, so none can be held out"
    if not shots:
        return "the protocol has no shots"
    if shots < 2:
        return "a single shot cannot be held out and compared with others; pass --threshold"
    return ""


def groups_of(shots: int) -> list[list[int]]:
    """Return which shots are held out together: one at a time, or of many every fifth.

    Args:
        shots: How many there are.

    Examples:
        >>> groups_of(3)
        [[0], [1], [2]]
        >>> groups_of(11)
        [[0, 5, 10], [1, 6], [2, 7], [3, 8], [4, 9]]
    """
    step = shots if shots <= ALONE else GROUPS
    return [list(range(first, shots, step)) for first in range(step)]


@torch.no_grad()
def held_out_scores(again: Callable[[], Plan], images: Tensor) -> dict[str, Scores]:
    """Score every shot against a target bank without it: that of the other groups' shots.

    The bank is made as :class:`~fsad.engine.bank_builder.MemoryBankBuilder` makes it, with the
    same ratio and cap, and its own mean and deviation. The source bank and what was trained stay,
    and have seen the shot. A method that never saw the shots scores them as they are.

    Args:
        again: Returns a trained plan with its banks filled, another one each time: what a method
            prepares at the start of a test depends on the bank.
        images: The shots, ``(k, 3, S, S)``, k at least 2.

    Returns:
        By part, in the order of the shots, on the CPU.

    Raises:
        ConfigError, BankError, ShapeError: The method cannot do with fewer shots.
    """
    rows: Tensor | None = None
    scores: dict[int, Mapping[str, Scores]] = {}
    groups = groups_of(len(images))
    for group in track(groups, "threshold", len(groups)):
        plan = again()
        scorer = plan.scorer
        if plan.held_out == HoldOut.REBANK:
            assert plan.bank_stage is not None
            rows = _rows_of(plan.bank_stage.scorer, images) if rows is None else rows
            kept = [place for place in range(len(images)) if place not in group]
            others = rows[:, kept].flatten(0, 2)
            stream = plan.bank_stage.scorer.stream(
                "target",
                plan.bank_stage.ratios["target"],
                plan.bank_stage.max_rows,
                len(others),
            )
            stream.add(others)
            stream.fill(plan.bank_stage.scorer.banks["target"])
        scorer.prepare()
        for place in group:
            scores[place] = scorer.parts(images[place : place + 1].to(scorer.device))
    in_order = [scores[place] for place in range(len(images))]
    return {name: _stacked([each[name] for each in in_order]) for name in in_order[0]}


def _stacked(scores: Sequence[Scores]) -> Scores:
    """Put the scores of single images together, on the CPU."""
    patches = [each.patches for each in scores if each.patches is not None]
    return Scores(
        torch.cat(patches).cpu() if patches else None,
        torch.cat([each.images for each in scores]).cpu(),
    )


def _rows_of(scorer: BankScorer, images: Tensor) -> Tensor:
    """Return patch features view by view, image by image, ``(views, k, h * w, c)``."""
    views = [
        scorer.encode(scorer.augment(images.to(scorer.device), "target", number), "target")
        for number in range(scorer.augmentations("target"))
    ]
    return torch.stack([view.flatten(2).transpose(1, 2) for view in views])


def _rows(scores: ScoreSet, maker: MapMaker, names: Sequence[str]) -> list[HeldOut]:
    images, maps = maker.combine(scores)
    rows = []
    for place, name in enumerate(names):
        parts = {part: float(each.images[place]) for part, each in scores.items()}
        highest = None if maps is None else float(maps[place].max())
        rows.append(HeldOut(name, float(images[place]), parts, highest))
    return rows
