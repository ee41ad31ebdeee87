"""Raw depth: the distance of every pixel to the nearest shot. What no learning gives."""

from pathlib import Path

from torch import Tensor

from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.engine.plan import Plan
from fsad.engine.stage_module import ScoringModule
from fsad.methods.shared.pixel_method import PixelMethod
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.extractor import PatchExtractor


class RawModule(ScoringModule):
    r"""Scores a pixel by :math:`\min_k |d - d_k|` over the shots' depth at the same pixel."""

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images; every pixel is a patch."""
        depth = self.target_bank.normalize(self.encode(images, "target"))  # (n, 1, H, W)
        shots = self.target_bank.rows.view(-1, *depth.shape[2:])  # (k, H, W), as they were read
        nearest = (depth - shots[0]).abs()
        for shot in shots[1:]:
            nearest = nearest.minimum((depth - shot).abs())
        return {"target": nearest[:, 0]}


class Raw(PixelMethod):
    """The method; the settings are :class:`~fsad.methods.shared.pixel_method.PixelMethod`'s."""

    name = "raw"

    def plan(self, extractor: PatchExtractor, banks_path: Path) -> Plan:
        """Lay out one category's run: nothing trains."""
        return Plan(
            [],
            RawModule(AdaptedExtractor.plain(extractor)),
            MemoryBankBuilder(banks_path, {"target": 1.0}),
            beta=0.0,
            sigma=self.sigma,
            banks_depend={},
            scores_depend={},
        )
