"""What a test image costs after the backbone: rectification and scoring against both banks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from benchmarks.bench import Bench
from benchmarks.features import PATCHES, patch_features, pictures
from benchmarks.record import faster, limit, seconds_in_words
from benchmarks.reference import nearest_cdist
from benchmarks.timing import Contender, Timing, timed
from fsad.methods.hypertrans.scorer import HypergraphScorer
from fsad.methods.hypertrans.settings import Extensions, Rectify
from fsad.nn.backbone import VitExtractor

GRID = 28
KNN = 10
BATCHES = (1, 8)


def vit(timm_name: str, *, compile: bool = False) -> VitExtractor:
    """Build a backbone with random weights, which take as long as any."""
    return VitExtractor(
        "benchmark", timm_name, 224, range(3, 11), pretrained=False, compile=compile
    )


class Given(nn.Module):
    """An extractor that has the features already, so that only what follows is measured."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.extractor = SimpleNamespace(
            channels=features.shape[1], grid=features.shape[2:], mean=features.new_zeros(())
        )
        self.features = features

    def forward(self, images: Tensor, domain: str) -> Tensor:  # noqa: ARG002 (an extractor's)
        """Return the features of as many images."""
        return self.features[: len(images)]


def scorer(source: Tensor, target: Tensor, features: Tensor) -> HypergraphScorer:
    """Make what scores, ready."""
    module = HypergraphScorer(
        Given(features),  # type: ignore[arg-type]
        Rectify(scale="median"),
        alpha=0.3,
        knn=KNN,
        rectify=True,
        rectify_banks=True,
        plus=Extensions(),
        seed=0,
    )
    zero, one = torch.tensor(0.0), torch.tensor(1.0)
    module.banks["source"].fill(source, zero, one)
    module.banks["target"].fill(target, zero, one)
    module.eval()
    module.prepare()
    return module


def banks(source: int, target: int, channels: int) -> tuple[Tensor, Tensor]:
    """Make a source and a target bank."""
    return (
        torch.from_numpy(patch_features(source, channels)),
        torch.from_numpy(patch_features(target, channels, seed=1)) + 0.5,
    )


def queries(images: int, channels: int) -> Tensor:
    """Make the features of test images, ``(n, c, 28, 28)``."""
    rows = torch.from_numpy(patch_features(images * PATCHES, channels, seed=2)) + 0.5
    return rows.view(images, GRID, GRID, channels).permute(0, 3, 1, 2).contiguous()


def run(bench: Bench) -> None:
    """Measure two pairs of banks against a forward pass of ViT-B/8."""
    name = bench.pick(
        full="vit_base_patch8_224.dino",
        quick="vit_small_patch8_224.dino",
        tiny="vit_tiny_patch16_224",
    )
    extractor = vit(name)
    channels = extractor.channels
    sizes: dict[str, tuple[int, int]] = bench.pick(
        full={"sample category": (3_136, 3_920), "largest of MVTec 3D-AD": (19_130, 3_920)},
        quick={"small": (1_500, 784)},
        tiny={"tiny": (120, 100)},
    )
    batches = bench.pick(full=BATCHES, quick=(1, 2), tiny=(1,))
    images = torch.from_numpy(pictures(max(batches), 224))
    features = queries(max(batches), channels)
    rows = features[:1].permute(0, 2, 3, 1).reshape(-1, channels).contiguous()

    contenders: dict[str, Contender] = {}
    for batch in batches:
        part = images[:batch]
        contenders[f"forward, batch {batch}"] = _each(batch, partial(extractor, part))
    for what, (source_rows, target_rows) in sizes.items():
        source, target = banks(source_rows, target_rows, channels)
        module = scorer(source, target, features)
        for batch in batches:
            part = images[:batch]
            contenders[f"{what}, batch {batch}"] = _each(batch, partial(module.score, part))
        contenders[f"{what}, cdist"] = timed(partial(_by_cdist, rows, source, target))
        if bench.peer:
            bank = f"bank{source_rows}"
            bench.peer.give(**{"queries": rows.numpy(), bank: torch.cat([source, target]).numpy()})
            contenders[f"{what}, anomalib"] = bench.peer.contender(
                "score", queries="queries", bank=bank
            )
    seconds = bench.race("query", contenders, bench.pick(full=9, quick=1, tiny=1))

    forward = min((seconds[f"forward, batch {batch}"] for batch in batches), key=_median)
    item = "query rectification + scoring"
    backbone = bench.pick(full="ViT-B/8", quick="ViT-S/8", tiny="ViT-Ti/16")
    for what, (source_rows, target_rows) in sizes.items():
        ours = min((seconds[f"{what}, batch {batch}"] for batch in batches), key=_median)
        size = f"banks {source_rows:,} + {target_rows:,} ({what})"
        found = limit(
            item,
            size,
            f"{{}} of the image's {backbone} forward time",
            100 * ours.median / forward.median,
            "%",
            15,
            f"better of batch {' and '.join(map(str, batches))} for both",
        )
        bench.rows.append(
            replace(
                found,
                ours=seconds_in_words(ours.median),
                reference=seconds_in_words(forward.median),
            )
        )
        bench.rows.append(
            faster(item, size, "its four searches by torch.cdist", ours, seconds[f"{what}, cdist"])
        )
        if bench.peer:
            bench.rows.append(
                faster(
                    item,
                    size,
                    "anomalib's PatchCore score against one bank of all rows",
                    ours,
                    seconds[f"{what}, anomalib"],
                )
            )
    if bench.peer:
        bench.peer.ask("forget")


def _by_cdist(rows: Tensor, source: Tensor, target: Tensor) -> None:
    for bank in (source, target):
        for k in (KNN // 2, 1):
            nearest_cdist(rows, bank, k)


def _each(images: int, call: Callable[[], object]) -> Contender:
    """Time a call on several images, for each of them."""
    run_once = timed(call)
    return lambda: run_once() / images


def _median(timing: Timing) -> float:
    return timing.median
