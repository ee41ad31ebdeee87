"""SubspaceAD: what of a patch lies outside the subspace in which the shots' patches vary."""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from fsad.engine.plan import BackboneMaker, Method, Plan
from fsad.engine.scorer import FeatureStream
from fsad.engine.settings import FEATURES, MAPS, SCORES, Affects, affecting
from fsad.engine.stage import BankStage
from fsad.errors import (
    ConfigError,
    check_at_least,
    check_bool,
    check_fraction,
    check_not_negative,
    check_positive,
)
from fsad.functional.scoring import top_mean
from fsad.functional.subspace import check_variance, residuals
from fsad.methods.shared.rotated_shots import RotatedShotsScorer
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.nn.settings import Size
from fsad.nn.subspace_stream import SubspaceStream
from fsad.scores.combination import two_domains
from fsad.scores.score_set import Scores


class SubspaceScorer(RotatedShotsScorer):
    """Scores a patch by its squared distance to the subspace of each domain.

    Args:
        extractor: The frozen backbone.
        domains: ``target``, or ``source`` and ``target``.
        variance: Share of the variance that a subspace holds.
        rotations: Angles at which each shot is seen, evenly spread over a turn.
        top_share: Share of an image's patches, the worst, whose mean is the image score.
    """

    def __init__(
        self,
        extractor: CachedExtractor,
        domains: tuple[str, ...],
        variance: float,
        rotations: int,
        top_share: float,
    ) -> None:
        super().__init__(extractor, rotations, *domains)
        self.variance, self.top_share = variance, top_share

    def stream(
        self,
        domain: str,
        ratio: float,  # noqa: ARG002
        max_rows: int | None,  # noqa: ARG002
        expected_rows: int | None,  # noqa: ARG002
    ) -> FeatureStream:
        """Return what keeps a mean and axes of the features, whatever their number."""
        return SubspaceStream(domain, self.variance)

    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images, each by the mean of its worst patches."""
        features = self.banks["target"].normalize(self.encode(images, "target"))
        n, _, height, width = features.shape
        inside = self.inside(images)
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)
        parts = {}
        for domain, bank in self.banks.items():
            mean, axes = bank.rows[0], bank.rows[1:]
            patches = residuals(rows, mean, axes).view(n, height, width)
            parts[domain] = Scores(patches, top_mean(patches, self.top_share, inside))
        return parts


@dataclass(frozen=True)
class Subspace(Method):
    """The method and its settings. Nothing is trained; 384 channels take less than 1 MB.

    Attributes:
        variance: Share of the variance that the subspace holds, above 0 and below 1.
        rotations: Angles at which each shot is seen, 1 or more.
        top_share: Share of an image's patches whose mean is its score, in (0, 1].
        layers: Which blocks of a vision transformer the features are the mean of, unless
            ``backbone.features`` says: from one fraction of its depth to another. A CNN's are the
            stages that it has; they are of the middle already.
        source: Whether a patch is held against the source images' subspace too, which needs
            protocol=cross_domain.
        beta: Share of that subspace in the score, in [0, 1].
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Taken by every method; nothing here is random.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        SubspaceAD, CVPR 2026 (arXiv 2602.23013). Departures: angles are evenly spread, and fewer;
        each layer's tokens are normalised before the mean; features are z-scored by two numbers,
        which only scales the score; the source subspace is ours.

    Examples:
        >>> import fsad
        >>> method = fsad.Subspace(variance=0.95)
        >>> method.variance, method.rotations, method.layers
        (0.95, 8, (0.4, 0.65))
    """

    name = "subspace"

    variance: Annotated[float, Affects("banks")] = 0.99
    rotations: Annotated[int, Affects("banks")] = 8
    top_share: Annotated[float, Affects(SCORES)] = 0.01
    layers: Annotated[tuple[float, float], Affects(FEATURES)] = (0.4, 0.65)
    source: Annotated[bool, Affects("banks", SCORES, MAPS)] = False
    beta: Annotated[float, Affects(MAPS)] = 0.6
    sigma: Annotated[float, Affects(MAPS)] = 4.0
    seed: Annotated[int, Affects()] = 0

    def __post_init__(self) -> None:
        check_variance("method.variance", self.variance)
        check_bool("method.source", self.source)
        check_at_least("method.rotations", self.rotations, 1)
        check_positive("method.top_share", check_fraction("method.top_share", self.top_share))
        _check_window(self.layers)
        check_fraction("method.beta", self.beta)
        check_not_negative("method.sigma", self.sigma)
        check_at_least("seed", self.seed, 0)

    def build_extractor(self, image_size: Size, backbone: BackboneMaker) -> PatchExtractor:  # noqa: ARG002
        """Return the configured backbone, a vision transformer with features of its middle."""
        return backbone(features=list(self.layers))

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: nothing trains."""
        domains = ("source", "target") if self.source else ("target",)
        scorer = SubspaceScorer(
            CachedExtractor(extractor), domains, self.variance, self.rotations, self.top_share
        )
        ratios = dict.fromkeys(domains, 1.0)
        return Plan(
            [BankStage(scorer, ratios, depends=affecting(self, "banks"))],
            scorer,
            two_domains(self.beta if self.source else 0.0),
            sigma=self.sigma,
            scores_depend=affecting(self, SCORES),
        )


def _check_window(layers: object) -> None:
    """Refuse what is no window of fractions.

    Raises:
        ConfigError: It is.
    """
    ends = list(layers) if isinstance(layers, list | tuple) else []
    fractions = [check_fraction("method.layers", end) for end in ends]
    if len(fractions) != 2 or fractions[0] >= fractions[1]:
        raise ConfigError(
            "method.layers: expected two fractions of the depth, the lower first, as in "
            f"[0.4, 0.65], got {layers!r}. Single blocks are backbone.features=[5, 7]."
        )
