"""IDEAL: erasing normal variation beside a plain loop, scoring beside the backbone, training."""

import numpy as np
import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.record import check, faster, limit, within
from benchmarks.timing import timed
from fsad.functional.variation import erase_normal_variation, match_normal
from fsad.methods.ideal import Ideal
from fsad.methods.ideal.episodes import SourceTokens, episodes
from fsad.methods.ideal.scorer import IdealScorer
from fsad.methods.ideal.training import EncoderModule
from fsad.nn.backbone import VitExtractor
from fsad.nn.references import anomalous_cells

K, RANK, STRENGTH = 12, 4, 0.8
SMALL = {"depth": 2, "num_heads": 6}
EPOCHS, EPISODES, BATCH = 20, 600, 16
IMAGES = 500


def backbone(bench: Bench, size: int) -> VitExtractor:
    """Return ViT-S/14 with random weights; a shallow one where times are not to be kept."""
    return VitExtractor(
        "dinov2_vits14",
        "vit_small_patch14_dinov2.lvd142m",
        size,
        layers=[],
        pretrained=False,
        model_args=None if bench.scale == "full" else SMALL,
    )


@torch.no_grad()
def plain(features: Tensor, normal: Tensor) -> Tensor:
    """Erase normal variation as the equations say, patch by patch, with a matrix of c x c."""
    unit = normal / normal.norm(dim=1, keepdim=True)
    residuals = []
    for feature in features:
        cosine = unit @ (feature / feature.norm())
        values, rows = cosine.topk(K)
        weights = values.softmax(dim=0)
        centre = weights @ normal[rows]
        apart = normal[rows] - centre
        covariance = (weights[:, None] * apart).T @ apart
        axes = torch.linalg.eigh(covariance).eigenvectors[:, -RANK:]
        residual = feature - centre
        residuals.append(residual - STRENGTH * axes @ (axes.T @ residual))
    return torch.stack(residuals)


@torch.no_grad()
def erased(features: Tensor, normal: Tensor) -> Tensor:
    """Do the same as :func:`plain`."""
    return erase_normal_variation(features, normal, match_normal(features, normal, K))


def run(bench: Bench) -> None:
    """Race against the loop, and measure what scoring and training take."""
    size = bench.pick(full=448, quick=224, tiny=112)
    extractor = backbone(bench, size)
    _variation(bench, extractor)
    _scoring(bench, extractor, size)
    _training(bench, extractor, size)


def _variation(bench: Bench, extractor: VitExtractor) -> None:
    count = bench.pick(full=extractor.grid[0] * extractor.grid[1], quick=64, tiny=8)
    generator = torch.Generator().manual_seed(0)
    shape = (2, max(count, 2 * K), extractor.channels)
    normal, features = torch.randn(shape, generator=generator, dtype=torch.float64)
    features = features[:count]
    apart = float((plain(features, normal) - erased(features, normal)).abs().max())
    about = f"{count} patches of {extractor.channels} channels"
    bench.rows.append(
        check("ideal", about, "equal to a plain loop to 1e-5, float64", apart <= 1e-5)
    )
    normal, features = normal.float(), features.float()
    seconds = bench.race(
        "erasing normal variation",
        {
            "batched": timed(lambda: erased(features, normal)),
            "loop": timed(lambda: plain(features, normal)),
        },
        bench.pick(full=3, quick=2, tiny=1),
        {"loop": "an eigendecomposition of c x c for each patch"},
    )
    bench.rows.append(
        faster("ideal", about, "a plain loop", seconds["batched"], seconds["loop"], 10)
    )


def _method() -> Ideal:
    return Ideal({"epochs": EPOCHS, "episodes": EPISODES, "batch": BATCH})


def _scorer(extractor: VitExtractor, images: Tensor) -> IdealScorer:
    """Return a scorer with one normal and one defective reference, prepared."""
    scorer = _method().plan(extractor).scorer.eval()
    assert isinstance(scorer, IdealScorer)
    mask = torch.zeros(1, *images.shape[2:], dtype=torch.bool)
    mask[:, 20:60, 20:60] = True
    scorer.refer_to(images[:1], images[1:2], mask)
    return scorer


@torch.no_grad()
def _scoring(bench: Bench, extractor: VitExtractor, size: int) -> None:
    images = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    scorer = _scorer(extractor, images)
    features = scorer.encode(images[2:], "target")
    seconds = bench.race(
        "scoring by references",
        {
            "references": timed(lambda: scorer.score_features(features)),
            "forward pass": timed(lambda: extractor(images[2:], "target")),
        },
        bench.pick(full=15, quick=5, tiny=2),
    )
    bench.rows.append(
        within(
            "ideal",
            f"one image of {size} px, one normal and one defective reference",
            "the backbone's forward pass",
            seconds["references"],
            seconds["forward pass"],
            0.1,
            "ViT-S/14, random weights",
        )
    )


def _training(bench: Bench, extractor: VitExtractor, size: int) -> None:
    """Measure steps of 16 episodes, with the tokens of random images."""
    method = _method()
    scorer = method.plan(extractor).scorer
    assert isinstance(scorer, IdealScorer)
    module = EncoderModule(scorer, method.fit, seed=0)
    module.look_at(_source(extractor, size, bench.pick(full=IMAGES, quick=40, tiny=8)))
    optimizer = module.configure_optimizers()
    drawn = episodes(module.pools, method.fit, np.random.default_rng(0))

    @torch.enable_grad()
    def step() -> None:
        optimizer.zero_grad()
        module.loss_of([next(drawn) for _ in range(BATCH)]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    seconds = bench.race(
        "a step of training", {"step": timed(step)}, bench.pick(full=8, quick=2, tiny=1)
    )
    whole = seconds["step"].median * EPOCHS * method.fit.steps
    bench.rows.append(
        limit(
            "ideal",
            f"{EPOCHS} epochs of {EPISODES} episodes, images of {size} px",
            "training takes {}, the tokens being there",
            whole,
            "s",
            600,
            f"extrapolated from steps of {BATCH} episodes on {IMAGES} images of random tokens",
        )
    )


def _source(extractor: VitExtractor, size: int, count: int) -> SourceTokens:
    generator = torch.Generator().manual_seed(0)
    height, width = extractor.grid
    labels = [place % 2 == 1 for place in range(count)]
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    masks[1::2, 20:80, 20:80] = True
    shape = (count, height * width, extractor.channels)
    return SourceTokens(
        torch.randn(shape, generator=generator).half(),
        masks,
        anomalous_cells(masks, extractor.grid).flatten(1),
        ["bolt"] * count,
        labels,
    )
