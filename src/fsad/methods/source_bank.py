"""The source bank alone: how far RGB carries, without a single depth image."""

from typing import Annotated

from torch import Tensor

from fsad.engine.plan import HoldOut, Method, Plan
from fsad.engine.scorer import BankScorer
from fsad.engine.settings import MAPS, SCORES, Affects, affecting
from fsad.engine.stage import BankStage
from fsad.errors import check_at_least, check_fraction, check_not_negative, check_positive
from fsad.functional.prepared import prepare
from fsad.functional.scoring import patch_scores
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor


class SourceBankScorer(BankScorer):
    """Scores depth patches by their distance to the RGB patches of good parts."""

    def prepare(self) -> None:
        """Prepare the bank for many searches."""
        self._bank = prepare(self.banks["source"].rows)

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images; depth is z-scored as RGB is, for lack of another."""
        features = self.banks["source"].normalize(self.encode(images, "target"))
        return {"source": patch_scores(features, self._bank)}


class SourceBank(Method):
    """The method and its settings. The shots are not used: more of them change nothing.

    Args:
        ratio: Share of the source patches that the bank keeps, in (0, 1].
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Taken by every method; nothing here is random.

    Raises:
        ConfigError: A setting is out of range.
    """

    name = "source_bank"

    def __init__(
        self,
        ratio: Annotated[float, Affects("banks")] = 0.1,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects()] = 0,
    ) -> None:
        self.ratio = check_positive("method.ratio", check_fraction("method.ratio", ratio))
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: nothing trains."""
        scorer = SourceBankScorer(CachedExtractor(extractor), "source")
        return Plan(
            [BankStage(scorer, {"source": self.ratio}, depends=affecting(self, "banks"))],
            scorer,
            sigma=self.sigma,
            held_out=HoldOut.UNSEEN,
            scores_depend=affecting(self, SCORES),
        )
