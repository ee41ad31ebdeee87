"""The source bank alone: how far RGB carries, without a single depth image."""

from pathlib import Path

from torch import Tensor

from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.engine.plan import Plan
from fsad.engine.stage_module import ScoringModule
from fsad.errors import check_at_least, check_fraction, check_not_negative, check_positive
from fsad.functional.prepared import prepare
from fsad.functional.scoring import patch_scores
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.extractor import PatchExtractor


class SourceBankModule(ScoringModule):
    """Scores depth patches by their distance to the RGB patches of good parts."""

    def on_test_start(self) -> None:
        """Prepare the bank for many searches."""
        self._bank = prepare(self.source_bank.rows)

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images; depth is z-scored as RGB is, for lack of another."""
        features = self.source_bank.normalize(self.encode(images, "target"))
        return {"source": patch_scores(features, self._bank)}


class SourceBank:
    """The method and its settings. The shots are not used: more of them change nothing.

    Args:
        ratio: Share of the source patches that the bank keeps, in (0, 1].
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Taken by every method; nothing here is random.

    Raises:
        ConfigError: A setting is out of range.
    """

    name = "source_bank"

    def __init__(self, ratio: float = 0.1, sigma: float = 4.0, seed: int = 0) -> None:
        self.ratio = check_positive("method.ratio", check_fraction("method.ratio", ratio))
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor, banks_path: Path) -> Plan:
        """Lay out one category's run: nothing trains."""
        return Plan(
            [],
            SourceBankModule(AdaptedExtractor.plain(extractor)),
            MemoryBankBuilder(banks_path, {"source": self.ratio}),
            beta=1.0,
            sigma=self.sigma,
            banks_depend={"ratio": self.ratio},
            scores_depend={},
        )
