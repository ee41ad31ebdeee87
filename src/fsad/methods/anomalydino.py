"""AnomalyDINO: rotated shots, cosine distance, the mean of an image's worst patches."""

from typing import Annotated

from torch import Tensor
from torch.nn.functional import normalize

from fsad.engine.plan import Method, Plan
from fsad.engine.settings import MAPS, SCORES, Affects, affecting
from fsad.engine.stage import BankStage
from fsad.errors import check_at_least, check_fraction, check_not_negative, check_positive
from fsad.functional.foreground import foreground
from fsad.functional.prepared import prepare
from fsad.functional.scoring import patch_scores, top_mean
from fsad.methods.shared.rotated_shots import RotatedShotsScorer
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.scores.score_set import Scores


class AnomalyDinoScorer(RotatedShotsScorer):
    r"""Scores a patch by its cosine distance to the nearest patch of the shots, rotated too.

    Unit vectors of distance d are :math:`d^2 / 2` apart in cosine.

    Args:
        extractor: The frozen backbone.
        rotations: Angles at which each shot is seen, evenly spread over a turn.
        top_share: Share of an image's patches, the worst, whose mean is the image score.
        threshold: Of :func:`~fsad.functional.foreground.foreground`; None scores all patches.
    """

    def __init__(
        self,
        extractor: CachedExtractor,
        rotations: int,
        top_share: float,
        threshold: float | None,
    ) -> None:
        super().__init__(extractor, rotations, "target")
        self.top_share, self.threshold = top_share, threshold

    def encode(self, images: Tensor, domain: str) -> Tensor:
        """Return patch features of length 1, ``(n, c, h, w)``."""
        return normalize(super().encode(images, domain), dim=1)

    def prepare(self) -> None:
        """Prepare the bank for many searches."""
        self._bank = prepare(self.banks["target"].rows)

    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images, each by the mean of its worst patches."""
        features = super().encode(images, "target")
        unit = self.banks["target"].normalize(normalize(features, dim=1))
        distances = patch_scores(unit, self._bank) * self.banks["target"].std
        patches, inside = distances.square() / 2, self.inside(images)
        if self.threshold is not None:
            patches = patches * foreground(features, self.threshold, inside)
        return {"target": Scores(patches, top_mean(patches, self.top_share, inside))}


class AnomalyDino(Method):
    """The method and its settings. Published for ``backbone=dinov2_vits14 data.image_size=448``.

    Args:
        rotations: Angles at which each shot is seen, 1 or more.
        top_share: Share of an image's patches whose mean is its score, in (0, 1].
        threshold: Of the foreground mask, in the backbone's unit, 0 or more; None has no mask.
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Taken by every method; nothing here is random.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        Damm et al., AnomalyDINO, WACV 2025. Departure: the mask is one setting for all categories,
        where the paper chooses by category whether there is one.
    """

    name = "anomalydino"

    def __init__(
        self,
        rotations: Annotated[int, Affects("banks")] = 8,
        top_share: Annotated[float, Affects(SCORES)] = 0.01,
        threshold: Annotated[float | None, Affects(SCORES)] = None,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects()] = 0,
    ) -> None:
        self.rotations = check_at_least("method.rotations", rotations, 1)
        name = "method.top_share"
        self.top_share = check_positive(name, check_fraction(name, top_share))
        self.threshold = (
            None if threshold is None else check_not_negative("method.threshold", threshold)
        )
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: nothing trains."""
        scorer = AnomalyDinoScorer(
            CachedExtractor(extractor), self.rotations, self.top_share, self.threshold
        )
        return Plan(
            [BankStage(scorer, {"target": 1.0}, depends=affecting(self, "banks"))],
            scorer,
            sigma=self.sigma,
            scores_depend=affecting(self, SCORES),
        )
