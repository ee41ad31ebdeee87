"""HTDG: a pyramid of small networks that learns from one to ten images, and nothing else."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fsad.engine.plan import BackboneMaker, HoldOut, Method, Plan
from fsad.engine.settings import MAPS, SCORES, STAGES, Affects, affecting
from fsad.engine.stage import FitStage
from fsad.errors import (
    ConfigError,
    check_at_least,
    check_choice,
    check_fraction,
    check_not_negative,
    check_positive,
)
from fsad.functional.warps import SETS, warps
from fsad.methods.htdg.scorer import PyramidScorer
from fsad.methods.htdg.settings import PUBLISHED, Fit
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.nn.patch_pyramid import FIELD, pyramid_sizes
from fsad.nn.settings import Size
from fsad.nn.unlearnt import ColourExtractor
from fsad.scores.combination import Combination

if TYPE_CHECKING:
    from fsad.engine.stage_module import StageModule


SCALES = tuple(f"scale{number}" for number in range(5))
"""The stages of five scales; those of more depend on the same settings."""


class Htdg(Method):
    """The method and its settings. No pretrained weights: the configured backbone is not built.

    At each of several sizes a discriminator learns, patch by patch, to tell by which transform an
    image was changed, and changed images of the shots from such that a generator made. In a new
    image it is less sure where a patch is unlike those of the shots.

    Args:
        fit: :class:`~fsad.methods.htdg.settings.Fit`.
        transforms: ``rotations`` (4), ``gray`` (42, for images without colours) or ``all`` (54).
        share: Share of an image's patches that its score is the mean of, the worst, in (0, 1].
        scales: How many sizes, 2 or more.
        size: The largest, pixels.
        smallest: What the smallest is just above, pixels, 11 or more.
        sigma: Blur of the map in pixels, 0 or more.
        seed: Of the weights and of what is random in training.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        Sheynin, Benaim and Wolf, A hierarchical transformation-discriminating generative model for
        few shot anomaly detection (ICCV 2021). Departures: ``docs/htdg.md``.

    Examples:
        >>> from fsad.methods.htdg import Htdg
        >>> Htdg({"epochs": 4, "iterations": 25}).name
        'htdg (100 iterations)'
    """

    squares = True

    def __init__(
        self,
        fit: Annotated[Mapping[str, Any], Affects(*SCALES)],
        transforms: Annotated[str, Affects(*SCALES, SCORES)] = "rotations",
        share: Annotated[float, Affects(SCORES)] = 0.05,
        scales: Annotated[int, Affects(*SCALES, SCORES, STAGES, MAPS)] = 5,
        size: Annotated[int, Affects(*SCALES, SCORES)] = 64,
        smallest: Annotated[int, Affects(*SCALES, SCORES)] = 25,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects(*SCALES)] = 0,
    ) -> None:
        self.fit = Fit(**fit)
        self.ways = warps(check_choice("method.transforms", transforms, SETS))
        check_at_least("method.scales", scales, 2)
        check_at_least("method.smallest", smallest, FIELD)
        if check_at_least("method.size", size, 1) <= smallest + 1:
            raise ConfigError(
                f"method.size: expected more than the {smallest + 1} pixels of the coarsest scale, "
                f"got {size}. Take a larger one, or a smaller method.smallest."
            )
        self.sizes = pyramid_sizes(size, scales, smallest)
        self.share = check_positive("method.share", check_fraction("method.share", share))
        self.transforms, self.scales, self.size, self.smallest = transforms, scales, size, smallest
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)
        fewer = "" if self.fit.whole >= PUBLISHED else f" ({self.fit.whole} iterations)"
        self.name = f"htdg{fewer}"

    def build_extractor(
        self,
        image_size: Size,
        backbone: BackboneMaker,  # noqa: ARG002
    ) -> PatchExtractor:
        """Return the colours themselves for features."""
        return ColourExtractor(image_size)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: a fit for each scale, the coarsest first."""
        scorer = PyramidScorer(
            CachedExtractor(extractor), self.ways, self.sizes, self.share, self.seed
        )
        stages = [
            FitStage(
                f"scale{scale}",
                scorer.networks(scale),
                partial(self._scale, scorer, scale),
                self.fit.epochs,
                reads=("shots",),
                sampling="itself",
                depends=affecting(self, SCALES[0]),
            )
            for scale in range(self.scales)
        ]
        weights = {stage.name: 1 / self.scales for stage in stages}
        return Plan(
            stages,
            scorer,
            Combination("mean", weights),
            sigma=self.sigma,
            held_out=HoldOut.NONE,
            scores_depend=affecting(self, SCORES),
        )

    def _scale(self, scorer: PyramidScorer, scale: int) -> "StageModule":
        from fsad.methods.htdg.scale import ScaleModule  # Lightning, to train alone

        return ScaleModule(scorer, scale, self.fit, self.seed)
