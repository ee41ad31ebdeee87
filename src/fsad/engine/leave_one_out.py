"""What the shots score, each against the others: all that is known of good images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsad.data.datamodule import PairDataModule
from fsad.engine.plan import Plan
from fsad.engine.stage_module import ScoringModule
from fsad.errors import BankError, ConfigError, ShapeError, message_of
from fsad.nn.bank_stream import BankStream
from fsad.runtime.progress import track
from fsad.scores.scored import DOMAINS, IMAGES, Fusion, Scores, complete, scores_by_domain
from fsad.scores.threshold import HeldOut, Threshold
from fsad.storage.tensor_store import TensorStore


@dataclass(frozen=True)
class Shelf:
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
    data: PairDataModule,
    fusion: Fusion,
    shelf: Shelf,
    names: Sequence[str],
) -> Threshold:
    """Score every shot as a query against the others, and set the threshold at the largest score.

    Nothing else of the run changes, not even the state of the global generator.

    Args:
        plan: The run's, to see what it is made of.
        again: Returns the same plan anew, trained, with its banks filled.
        data: One category's data.
        fusion: How scores become maps, and two domains' one.
        shelf: Where the scores may lie already.
        names: The shots' files.

    Returns:
        The threshold, or why there is none.

    Note:
        Costs, for each shot, what a target bank of the others takes, what the method prepares at
        the start of a test, and one image. Features come from the cache where there is one.
    """
    why = _why_not(plan, len(names))
    if why:
        return Threshold.none(why)
    start = time.perf_counter()
    entry = shelf.store.get(shelf.key) if shelf.store else None
    if entry is None:
        with torch.random.fork_rng(devices=[]):  # loaders draw from it
            images = torch.cat([batch.image for batch in data.target_dataloader()])
            try:
                scores = leave_one_out(again, images)
            except (
                ConfigError,
                BankError,
                ShapeError,
            ) as error:  # too few
                return Threshold.none(f"the shots cannot be held out ({message_of(error)})")
        seconds = time.perf_counter() - start
        if shelf.store:
            shelf.store.put(shelf.key, _columns(scores), {"seconds": str(seconds)})
    else:
        scores, seconds = scores_by_domain(entry.tensors), float(entry.metadata["seconds"])
    return Threshold.of(_rows(scores, fusion, names), seconds)


def _why_not(plan: Plan, shots: int) -> str:
    """Tell why nothing can be estimated; empty if it can."""
    if type(plan.scorer).score is ScoringModule.score:
        return "the method cannot score a new image"
    if "target" not in plan.builder.ratios and plan.stages:
        return "the method trains on the shots and keeps no bank of them, so none can be held out"
    if plan.scorer.unit_of_shots:
        return "scores are scaled by those of the shots, which change when one is held out"
    if shots < 2:
        return "a single shot cannot be held out and compared with others; pass --threshold"
    return ""


@torch.no_grad()
def leave_one_out(again: Callable[[], Plan], images: Tensor) -> dict[str, Scores]:
    """Score every shot against a target bank of the others.

    The bank is made as :class:`~fsad.engine.bank_builder.MemoryBankBuilder` makes it, with the
    same ratio, slack and cap, and its own mean and deviation. The source bank and what was trained
    stay, and have seen the shot. A method without a target bank has not, and scores it as it is.

    Args:
        again: Returns a trained plan with its banks filled, another one each time: what a method
            prepares at the start of a test depends on the bank.
        images: The shots, ``(k, 3, S, S)``, k at least 2.

    Returns:
        By domain, in the order of the shots, on the CPU.

    Raises:
        ConfigError, BankError, ShapeError: The method cannot do with one shot fewer.
    """
    rows: Tensor | None = None
    said = []
    for place in track(range(len(images)), "threshold", len(images)):
        plan = again()
        scorer, builder = plan.scorer, plan.builder
        if "target" in builder.ratios:
            rows = _rows_of(scorer, images) if rows is None else rows
            others = torch.cat([rows[:, :place], rows[:, place + 1 :]], dim=1).flatten(0, 2)
            stream = BankStream(
                "target",
                builder.ratios["target"],
                builder.slack,
                builder.max_rows,
                expected_rows=len(others),
            )
            stream.add(others)
            stream.fill(scorer.target_bank)
        scorer.on_test_start()
        said.append(complete(scorer.score(images[place : place + 1].to(scorer.device))))
    return {
        domain: Scores(
            torch.cat([each[domain].patches for each in said]).cpu(),
            torch.cat([each[domain].images for each in said]).cpu(),
        )
        for domain in said[0]
    }


def _rows_of(scorer: ScoringModule, images: Tensor) -> Tensor:
    """Return patch features view by view, image by image, ``(views, k, h * w, c)``."""
    views = [
        scorer.encode(scorer.bank_view(images.to(scorer.device), "target", number), "target")
        for number in range(scorer.bank_views("target"))
    ]
    return torch.stack([view.flatten(2).transpose(1, 2) for view in views])


def _columns(scores: Mapping[str, Scores]) -> dict[str, Tensor]:
    patches = {domain: each.patches for domain, each in scores.items()}
    return patches | {domain + IMAGES: each.images for domain, each in scores.items()}


def _rows(scores: Mapping[str, Scores], fusion: Fusion, names: Sequence[str]) -> list[HeldOut]:
    images, maps = fusion.fuse(scores)
    known = {domain: each.images.tolist() for domain, each in scores.items()}
    sources, targets = (known.get(domain, [None] * len(names)) for domain in DOMAINS)
    highest = maps.amax(dim=(1, 2)).tolist()
    columns = zip(names, images.tolist(), sources, targets, highest, strict=True)
    return [HeldOut(*row) for row in columns]
