"""PaDiM: at every position of the image a Gaussian of what good parts look like there."""

from typing import Annotated

from torch import Tensor

from fsad.engine.plan import Method, Plan
from fsad.engine.scorer import BankScorer
from fsad.engine.settings import MAPS, SCORES, Affects, affecting
from fsad.engine.stage import BankStage
from fsad.errors import (
    ConfigError,
    check_at_least,
    check_fraction,
    check_not_negative,
    check_odd,
    check_positive,
)
from fsad.functional.gaussian import PositionGaussians, windows
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor


class PadimScorer(BankScorer):
    """Scores a depth patch by its Mahalanobis distance from the shots' patches around its place.

    Args:
        extractor: The frozen backbone.
        window: Height and width of that surrounding, cells, odd. It makes several samples of one
            shot, and forgives parts that lie a cell off.
        shrinkage: Of the covariance, in (0, 1].
    """

    def __init__(self, extractor: CachedExtractor, window: int, shrinkage: float) -> None:
        super().__init__(extractor, "target")
        self.window, self.shrinkage = window, shrinkage

    def prepare(self) -> None:
        """Fit the Gaussians: the bank holds the shots' patches, cell by cell, image by image."""
        height, width = self.extractor.extractor.grid
        rows = self.banks["target"].rows
        if self.window == 1 and len(rows) == height * width:
            raise ConfigError(
                "method.window: expected 3 or more with a single shot, got 1: one sample at a "
                "position has no spread"
            )
        maps = rows.view(-1, height, width, rows.shape[1]).permute(0, 3, 1, 2)
        self._gaussians = PositionGaussians.fit(windows(maps, self.window), self.shrinkage)

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images."""
        features = self.banks["target"].normalize(self.encode(images, "target"))
        rows = features.flatten(2).transpose(1, 2)  # (n, h * w, c)
        distances = self._gaussians.distances(rows)
        n, _, height, width = features.shape  # no len(): it would bind a graph to a batch size
        return {"target": distances.view(n, height, width)}


class Padim(Method):
    """The method and its settings.

    Args:
        window: Height and width of the surroundings whose patches a position learns from, cells,
            odd.
        shrinkage: Share of the mean variance in the covariance, in (0, 1].
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Taken by every method; nothing here is random.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        Defard et al., PaDiM, ICPR 2021; see :class:`~fsad.functional.gaussian.PositionGaussians`.
    """

    name = "padim"

    def __init__(
        self,
        window: Annotated[int, Affects(SCORES)] = 3,
        shrinkage: Annotated[float, Affects(SCORES)] = 0.1,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects()] = 0,
    ) -> None:
        self.window = check_odd("method.window", window)
        name = "method.shrinkage"
        self.shrinkage = check_positive(name, check_fraction(name, shrinkage))
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: nothing trains."""
        scorer = PadimScorer(CachedExtractor(extractor), self.window, self.shrinkage)
        return Plan(
            [BankStage(scorer, {"target": 1.0}, depends=affecting(self, "banks"))],
            scorer,
            sigma=self.sigma,
            scores_depend=affecting(self, SCORES),
        )
