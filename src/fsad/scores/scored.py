"""What a test yields: both domains' patch scores, then the fused ones and their metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fsad.data.pairs import Truth
from fsad.functional.scoring import anomaly_maps, blur, fuse, image_scores
from fsad.metrics.anomaly import Evaluation
from fsad.runtime.processes import gather

DOMAINS = ("source", "target")
IMAGES = ".images"  # behind a domain's name: its image scores


class Scores(NamedTuple):
    """One domain's scores of some test images; higher = more anomalous.

    Attributes:
        patches: Patch scores, ``(n, h, w)``.
        images: Image scores, ``(n,)``.
    """

    patches: Tensor
    images: Tensor


def complete(said: Mapping[str, Tensor | Scores | None]) -> dict[str, Scores]:
    """Give every domain its image scores: those of the worst patch, where a method says no other.

    Args:
        said: By domain, patch scores ``(n, h, w)`` or :class:`Scores`; None is left out.

    Returns:
        The domains in the order of :data:`DOMAINS`, float32.
    """
    found = {}
    for domain in DOMAINS:
        scores = said.get(domain)
        if isinstance(scores, Tensor):
            scores = Scores(scores, image_scores(scores))
        if scores is not None:
            found[domain] = Scores(scores.patches.float(), scores.images.float())
    return found


@dataclass(frozen=True)
class Fusion:
    """How patch scores become maps, and two domains' scores one (eqs. 18, 19).

    Attributes:
        size: Height and width of the anomaly maps in pixels, S.
        sigma: Blur of the maps in pixels.
        beta: Share of the source domain.
    """

    size: int
    sigma: float
    beta: float

    def maps(self, patches: Tensor) -> Tensor:
        """Enlarge and blur patch scores ``(n, h, w)`` to anomaly maps ``(n, S, S)``."""
        return anomaly_maps(patches, self.size, self.sigma)

    def fused(self, *of_domains: Tensor) -> Tensor:
        """Mix scores or maps given in the order of the domains; of one alone, they stay."""
        if len(of_domains) == 1:
            return of_domains[0]
        source, target = of_domains
        return fuse(source, target, self.beta)

    def fuse(self, scores: Mapping[str, Scores]) -> tuple[Tensor, Tensor]:
        """Return image scores ``(n,)`` and anomaly maps ``(n, S, S)`` of all domains together."""
        images = self.fused(*(each.images for each in scores.values()))
        maps = self.fused(*(self.maps(each.patches) for each in scores.values()))
        return images, maps


class PatchScores:
    """Patch scores by domain, gathered batch by batch from a test loop.

    Note:
        A float32 per patch and domain: 6 KB per image of 28 × 28 patches in two domains.
    """

    def __init__(self) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def update(
        self,
        index: Tensor,
        source: Tensor | Scores | None = None,
        target: Tensor | Scores | None = None,
    ) -> None:
        """Add a batch; of the same domains each time.

        Args:
            index: Positions in the test samples, ``(n,)``.
            source: Patch scores against the source domain, ``(n, h, w)``, higher = more anomalous;
                an image then scores as its most anomalous patch. Or :class:`Scores`, where it does
                not. None where a method has none.
            target: The same against the target domain.
        """
        columns = {}
        for name, scores in complete({"source": source, "target": target}).items():
            columns[name] = scores.patches
            columns[name + IMAGES] = scores.images
        device = next(iter(columns.values())).device
        self._batches.append({"index": index.to(device), **columns})

    def gathered(self, images: int, device: torch.device) -> dict[str, Tensor] | None:
        """Bring the scores of all processes together.

        Args:
            images: How many test images there are.
            device: Where this process computes.

        Returns:
            For each domain its patch scores, ``(images, h, w)``, under its name, and its image
            scores, ``(images,)``, under its name and ``IMAGES``, in the order of the test samples,
            in the first process; None in the others.
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


def scores_by_domain(gathered: Mapping[str, Tensor]) -> dict[str, Scores]:
    """Put together what :meth:`PatchScores.gathered` gave, domain by domain.

    Raises:
        KeyError: A domain lacks its image scores, or there is none.
    """
    found = {
        name: Scores(gathered[name], gathered[name + IMAGES])
        for name in DOMAINS
        if name in gathered
    }
    if not found:
        raise KeyError(" or ".join(DOMAINS))
    return found


@dataclass(frozen=True)
class ImageScore:
    """The scores of one test image; higher = more anomalous.

    Attributes:
        index: Position in the test samples.
        fused: The method's own image score.
        source: Score against the source domain; None where the method has none.
        target: Score against the target domain.
    """

    index: int
    fused: float
    source: float | None
    target: float | None


@dataclass(frozen=True)
class Unmixed:
    """What test images yield whatever the share of the domains, kept for a run of another share.

    Attributes:
        batches: By the place of a batch's first image, the ground truth and each domain's image
            scores ``(n,)`` and maps ``(n, S, S)``.
        metrics: Of each domain alone and of the part mask, as :meth:`ScoredImages.compute` has it.
        bounds: How far these can be from the exact ones, as
            :attr:`fsad.metrics.anomaly.Evaluation.bounds` has it.
        limits: As :attr:`ScoredImages.limits`.
    """

    batches: dict[int, tuple[Truth, dict[str, tuple[Tensor, Tensor]]]]
    metrics: dict[str, dict[str, float | None]]
    bounds: dict[str, dict[str, float]]
    limits: dict[str, tuple[float, float]]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(_nbytes(*batch) for batch in self.batches.values())


def _nbytes(truth: Truth, alone: Mapping[str, tuple[Tensor, Tensor]]) -> int:
    maps = sum(each.nbytes for pair in alone.values() for each in pair)
    return maps + sum(each.nbytes for each in truth)


class ScoredImages:
    """Scores of a category's test images, and the metrics over them.

    The method's own score is measured, each domain's alone, and the blurred part mask, which tells
    how far "is this the part?" alone would come. With one domain, its score is the method's. Maps
    are measured and forgotten.

    Args:
        size: Height and width of the anomaly maps in pixels.
        sigma: Blur of the maps in pixels.
        beta: Share of the source domain in the fused score.
        exact: Keep and sort every pixel, instead of counting scores in fine bins.
        domains: Those that the method scores against.
        unmixed: What was found of the same images and scores with another beta; the batches come
            from there then, and the fused score alone is measured.
        keep: How many bytes may be kept for :meth:`unmixed`.
    """

    def __init__(
        self,
        size: int,
        sigma: float,
        beta: float,
        exact: bool = False,
        domains: Sequence[str] = DOMAINS,
        unmixed: Unmixed | None = None,
        keep: int = 0,
    ) -> None:
        self.size, self.sigma = size, sigma
        self.fusion = Fusion(size, sigma, beta)
        self.domains = tuple(domains)
        sets = ("fused", *(f"{domain}_only" for domain in domains), "part_mask")
        self.evaluation = Evaluation(sets[:1] if unmixed else sets, exact=exact)
        self.images: list[ImageScore] = []
        self._known = unmixed
        self._batches: dict[int, tuple[Truth, dict[str, tuple[Tensor, Tensor]]]] = {}
        self._room = keep  # bytes; below 0, nothing is kept
        self._metrics: dict[str, dict[str, float | None]] = {}
        self.limits: dict[str, tuple[float, float]] = {}
        """The lowest and the highest value of each set's maps."""
        if unmixed:
            self.limits |= unmixed.limits

    def truths(self, loader: Iterable[Truth]) -> Iterable[Truth]:
        """Give the ground truth batch by batch, from what is known of it if there is something."""
        return [truth for truth, _ in self._known.batches.values()] if self._known else loader

    def update(self, truth: Truth, scores: Mapping[str, Scores]) -> None:
        """Add a batch.

        Args:
            truth: Ground truth of the images.
            scores: Theirs, by domain.
        """
        alone = self._alone(truth, scores)
        images, maps = zip(*alone.values(), strict=True)
        score, fused = self.fused(*images), self.fused(*maps)  # eqs. (18), (19)
        scored = {"fused": (score, fused)}
        if not self._known:
            part = blur(truth.part.to(fused.dtype), self.sigma)
            scored |= {f"{domain}_only": each for domain, each in alone.items()}
            scored["part_mask"] = image_scores(part), part
        self.evaluation.update(truth.label, truth.mask, truth.part, scored, truth.masked)
        for name, (_, values) in scored.items():
            low, high = self.limits.get(name, (float("inf"), float("-inf")))
            self.limits[name] = min(low, float(values.min())), max(high, float(values.max()))
        by_domain = {domain: each.tolist() for domain, (each, _) in alone.items()}
        for place, (index, value) in enumerate(zip(truth.index, score.tolist(), strict=True)):
            source, target = (by_domain[it][place] if it in by_domain else None for it in DOMAINS)
            self.images.append(ImageScore(int(index), value, source, target))

    def _alone(
        self, truth: Truth, scores: Mapping[str, Scores]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return each domain's image scores and maps of a batch, and keep them if they fit."""
        place = int(truth.index[0])
        if self._known:
            return self._known.batches[place][1]
        alone = {
            domain: (scores[domain].images, self.maps(scores[domain].patches))
            for domain in self.domains
        }
        self._room -= _nbytes(truth, alone)
        if self._room >= 0:
            self._batches[place] = truth, alone
        else:
            self._batches.clear()
        return alone

    def fused(self, *of_domains: Tensor) -> Tensor:
        """See :meth:`Fusion.fused`."""
        return self.fusion.fused(*of_domains)

    def maps(self, patches: Tensor) -> Tensor:
        """See :meth:`Fusion.maps`."""
        return self.fusion.maps(patches)

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Return the five metrics of each set, over everything added."""
        self._metrics = self.evaluation.compute()
        if self._known:
            self._metrics |= self._known.metrics
        return self._metrics

    @property
    def bounds(self) -> dict[str, dict[str, float]]:
        """How far each set's metrics can be from the exact ones; filled by :meth:`compute`."""
        return self.evaluation.bounds | (self._known.bounds if self._known else {})

    def unmixed(self) -> Unmixed | None:
        """Return what another beta does not change, after :meth:`compute`; None if it is too much.

        What was known before is that already.
        """
        if self._known or self._room < 0:
            return self._known
        others = [name for name in self.evaluation.names if name != "fused"]
        return Unmixed(
            batches=self._batches,
            metrics={name: self._metrics[name] for name in others},
            bounds={name: self.evaluation.bounds[name] for name in others},
            limits={name: it for name, it in self.limits.items() if name != "fused"},
        )


def source_share(scores: Mapping[str, Scores], beta: float) -> float | None:
    """Measure how much of the fused score's spread comes from the source domain.

    Args:
        scores: Of the test images, by domain.
        beta: Share of the source domain in the fused score.

    Returns:
        Share in [0, 1]: with both spreads equal it is beta. None with one domain alone.
    """
    if len(scores) < len(DOMAINS):
        return None
    source, target = (scores[domain].patches for domain in DOMAINS)
    spreads = beta * source.std(), (1 - beta) * target.std()
    total = float(spreads[0] + spreads[1])
    return float(spreads[0]) / total if total > 0 else 0.0
