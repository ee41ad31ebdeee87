"""Raw depth: the distance of every pixel to the nearest shot. What no learning gives."""

from torch import Tensor

from fsad.engine.plan import Plan
from fsad.engine.scorer import BankScorer
from fsad.engine.settings import SCORES, affecting
from fsad.engine.stage import BankStage
from fsad.methods.shared.pixel_method import PixelMethod
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor


class RawScorer(BankScorer):
    r"""Scores a pixel by :math:`\min_k |d - d_k|` over the shots' depth at the same pixel."""

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images; every pixel is a patch."""
        depth = self.banks["target"].normalize(self.encode(images, "target"))  # (n, 1, H, W)
        shots = self.banks["target"].rows.view(-1, *depth.shape[2:])  # (k, H, W), as they were read
        nearest = (depth - shots[0]).abs()
        for shot in shots[1:]:
            nearest = nearest.minimum((depth - shot).abs())
        return {"target": nearest[:, 0]}


class Raw(PixelMethod):
    """The method; the settings are :class:`~fsad.methods.shared.pixel_method.PixelMethod`'s."""

    name = "raw"

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: nothing trains."""
        scorer = RawScorer(CachedExtractor(extractor), "target")
        bank = BankStage(scorer, {"target": 1.0}, depends=affecting(self, "banks"))
        return Plan([bank], scorer, sigma=self.sigma, scores_depend=affecting(self, SCORES))
