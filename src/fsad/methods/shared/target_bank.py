"""A bank of the shots' patches and the distance to it: what several methods are at heart."""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from fsad.engine.plan import Method, Plan
from fsad.engine.scorer import BankScorer
from fsad.engine.settings import MAPS, SCORES, Affects, affecting
from fsad.engine.stage import BankStage
from fsad.errors import check_at_least, check_fraction, check_not_negative, check_positive
from fsad.functional.prepared import prepare
from fsad.functional.reweighting import reweighted_scores
from fsad.functional.scoring import image_scores, lowest_beside, patch_scores
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.scores.score_set import Scores


@dataclass(frozen=True)
class TargetBank(Method):
    """The settings of a method that is a target bank.

    Attributes:
        ratio: Share of the shots' patches that the bank keeps, in (0, 1].
        reweight: Neighbours in the image score's weight, 0 or at least 2; 0 leaves it out.
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Taken by every method; nothing here is random.

    Raises:
        ConfigError: A setting is out of range.
    """

    ratio: Annotated[float, Affects("banks")] = 1.0
    reweight: Annotated[int, Affects(SCORES)] = 0
    sigma: Annotated[float, Affects(MAPS)] = 4.0
    seed: Annotated[int, Affects()] = 0

    def __post_init__(self) -> None:
        check_positive("method.ratio", check_fraction("method.ratio", self.ratio))
        check_at_least("method.reweight", self.reweight, 2 if self.reweight else 0)
        check_not_negative("method.sigma", self.sigma)
        check_at_least("seed", self.seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: nothing trains."""
        scorer = TargetBankScorer(CachedExtractor(extractor), self.reweight)
        return Plan(
            [BankStage(scorer, {"target": self.ratio}, depends=affecting(self, "banks"))],
            scorer,
            sigma=self.sigma,
            scores_depend=affecting(self, SCORES),
        )


class TargetBankScorer(BankScorer):
    """Scores depth patches by their distance to the shots' patches.

    Args:
        extractor: The frozen backbone.
        reweight: Bank rows around the nearest one that weigh the image score; 0 takes the farthest
            patch as it is.
    """

    def __init__(self, extractor: CachedExtractor, reweight: int) -> None:
        super().__init__(extractor, "target")
        self.reweight = reweight

    def prepare(self) -> None:
        """Prepare the bank for many searches."""
        self._bank = prepare(self.banks["target"].rows)

    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images; weighted by the bank around the nearest row, if asked for."""
        features = self.banks["target"].normalize(self.encode(images, "target"))
        patches = patch_scores(features, self._bank)
        counted = lowest_beside(patches, self.inside(images))
        weighted = (
            reweighted_scores(features, counted, self._bank, self.reweight)
            if self.reweight
            else image_scores(counted)
        )
        return {"target": Scores(patches, weighted)}
