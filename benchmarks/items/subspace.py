"""What scoring by a subspace adds to the backbone's own forward pass."""

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.record import within
from benchmarks.timing import timed
from fsad.functional.scoring import top_mean
from fsad.functional.subspace import residuals
from fsad.nn.backbone import VitExtractor

AXES = 200
"""More than 99 % of the variance of any shots needed so far."""
SMALL = {"depth": 2, "num_heads": 6}


@torch.no_grad()
def run(bench: Bench) -> None:
    """Score one image by a subspace of ViT-S/14's features, beside making these features."""
    size = bench.pick(full=448, quick=224, tiny=112)
    extractor = VitExtractor(
        "dinov2_vits14",
        "vit_small_patch14_dinov2.lvd142m",
        size,
        layers=[],
        pretrained=False,
        features=[0.4, 0.65] if bench.scale == "full" else None,
        model_args=None if bench.scale == "full" else SMALL,
    )
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, size, size, generator=generator)
    features = extractor(image, "target")
    channels = extractor.channels
    axes = torch.linalg.qr(torch.randn(channels, AXES, generator=generator)).Q.T
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)

    def score() -> Tensor:
        patches = residuals(rows, rows.mean(dim=0), axes).view(1, *extractor.grid)
        return top_mean(patches, 0.01)

    seconds = bench.race(
        "scoring by a subspace",
        {
            "residuals": timed(score),
            "forward pass": timed(lambda: extractor(image, "target")),
        },
        bench.pick(full=15, quick=5, tiny=2),
    )
    bench.rows.append(
        within(
            "subspace",
            f"one image of {size} px, {AXES} axes of {channels} channels",
            "the backbone's forward pass",
            seconds["residuals"],
            seconds["forward pass"],
            0.05,
            "ViT-S/14, random weights, the blocks from 40 to 65 % of its depth",
        )
    )
