"""HTDG: an iteration of training beside a plain one, which changes images one way at a time."""

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, pad

from benchmarks.bench import Bench
from benchmarks.record import check, faster, limit
from benchmarks.timing import timed
from fsad.functional.warps import GREY, SHIFT, Warp
from fsad.methods.htdg import Htdg
from fsad.methods.htdg.scale import ScaleModule
from fsad.methods.htdg.scorer import PyramidScorer
from fsad.nn.unlearnt import ColourExtractor

SIDE = 96
COMPARED = 20  # iterations
PUBLISHED = {"rotations": 2000, "all": 1000}  # iterations of a scale
Losses = list[Tensor]


class Plain:
    """The same iteration as its equations say: every transform anew, by itself, in every step.

    Args:
        module: Whose networks, shots and noise it takes; it trains copies.
        ways: The transforms.
    """

    def __init__(self, module: ScaleModule, ways: list[Warp]) -> None:
        self.module, self.ways = module, ways
        self.discriminator = deepcopy(module.discriminator)
        self.generator = deepcopy(module.generator)
        fit = module.fit
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=fit.lr, betas=(fit.beta, 0.999))
            for network in (self.discriminator, self.generator)
        ]

    def changed(self, images: Tensor) -> Tensor:
        """Change each image in each way, as :meth:`~fsad.functional.warps.WarpTable.apply`."""
        each = [_changed(images, way) for way in self.ways]
        return torch.stack(each, dim=1).flatten(0, 1)

    def loss(self, images: Tensor, fake: bool) -> Tensor:
        """Return the cross-entropy of images that are changed in each way."""
        logits = self.discriminator(self.changed(images))
        count = len(self.ways)
        classes = torch.arange(count).repeat(len(images))
        classes = torch.full_like(classes, count) if fake else classes
        return cross_entropy(logits, classes[:, None, None].expand(-1, *logits.shape[2:]))

    @torch.enable_grad()
    def iteration(self, number: int) -> Losses:
        """Take the steps of both networks; return the last losses."""
        module, (of_discriminator, of_generator) = self.module, self.optimizers
        numbers = torch.arange(len(module._real))
        noise = module._noise(module.scale, number)
        for step in range(module.fit.steps):
            before = module._before(module.scale, number, step if module.scale else 0)
            made = self.generator(noise, before, numbers).detach()
            loss = self.loss(module._real, fake=False) + self.loss(made, fake=True)
            of_discriminator.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            of_discriminator.step()
        for _ in range(module.fit.steps):
            fooled = self.loss(self.generator(noise, before, numbers), fake=False)
            rebuilt = mse_loss(self.generator(*module._kept, numbers), module._real)
            of_discriminator.zero_grad()
            of_generator.zero_grad()
            (fooled + module.fit.reconstruction * rebuilt).backward()  # type: ignore[no-untyped-call]
            of_generator.step()
        return [loss.detach(), fooled.detach(), rebuilt.detach()]


class Pyramid(NamedTuple):
    """How many sizes, and the largest, pixels."""

    scales: int = 5
    size: int = 64


def run(bench: Bench) -> None:
    """Race at the coarsest and at the finest scale, with 4 and with 54 transforms."""
    pyramid = bench.pick(full=Pyramid(), quick=Pyramid(), tiny=Pyramid(scales=2, size=32))
    for transforms in bench.pick(
        full=("rotations", "all"), quick=("rotations",), tiny=("rotations",)
    ):
        for scale in (0, pyramid.scales - 1):
            _race(bench, pyramid, transforms, scale)
        _whole(bench, pyramid, transforms)


def _module(pyramid: Pyramid, transforms: str, scale: int) -> tuple[ScaleModule, Htdg]:
    """Return a scale's module that looks at one shot, and trains without a Trainer."""
    fit = {"epochs": 1, "iterations": 1}
    method = Htdg(fit, transforms=transforms, scales=pyramid.scales, size=pyramid.size)
    scorer = method.plan(ColourExtractor(SIDE)).scorer
    assert isinstance(scorer, PyramidScorer)
    module = ScaleModule(scorer, scale, method.fit, seed=0)
    module.look_at(torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    module.network.train()
    optimizers = module.configure_optimizers()

    def backward(loss: Tensor, **words: Any) -> None:
        loss.backward(**words)  # type: ignore[no-untyped-call]

    module.optimizers = lambda: optimizers  # type: ignore[method-assign,assignment]
    module.manual_backward = backward  # type: ignore[method-assign]
    return module, method


def _race(bench: Bench, pyramid: Pyramid, transforms: str, scale: int) -> None:
    module, method = _module(pyramid, transforms, scale)
    plain = Plain(module, method.ways)
    compared = bench.pick(full=COMPARED if scale == 0 else 1, quick=2, tiny=1)
    apart = 0.0
    for number in range(compared):
        pairs = zip(module._iteration(number), plain.iteration(number), strict=True)
        apart = max([apart, *(float((one - other).abs()) for one, other in pairs)])
    about = f"{len(method.ways)} transforms, scale {scale}, one shot"
    said = f"the same losses as plainly to 1e-4, float32, {compared} iterations"
    bench.rows.append(check("htdg", about, said, apart <= 1e-4, f"{apart:.1e} apart"))
    found = bench.race(
        f"an iteration, {about}",
        {
            "batched": timed(lambda: module._iteration(compared)),
            "plain": timed(lambda: plain.iteration(compared)),
        },
        bench.pick(full=3, quick=1, tiny=1),
        {"plain": "transforms one by one, the shots' anew in every step"},
    )
    bench.rows.append(faster("htdg", about, "a plain one", found["batched"], found["plain"], 4))


def _whole(bench: Bench, pyramid: Pyramid, transforms: str) -> None:
    """Extrapolate a whole model from single iterations of all scales."""
    total = 0.0
    for scale in range(pyramid.scales):
        module, _ = _module(pyramid, transforms, scale)
        found = bench.race(
            f"{transforms}, scale {scale}",
            {"iteration": timed(lambda module=module: module._iteration(0))},  # type: ignore[misc]
            bench.pick(full=3, quick=1, tiny=1),
        )
        total += found["iteration"].median
    iterations = PUBLISHED[transforms]
    bench.rows.append(
        limit(
            "htdg",
            f"{transforms}, one shot, {iterations} iterations of each scale",
            "a published model takes {}",
            total * iterations,
            "s",
            1200,
            "extrapolated from single iterations",
        )
    )


def _changed(images: Tensor, way: Warp) -> Tensor:
    size = images.shape[-1]
    if way.flip:
        images = images.flip(3)
    step = max(1, round(SHIFT * size))
    if way.right or way.down:
        top, left = step - way.down * step, step - way.right * step
        bordered = pad(images, (step,) * 4, mode="reflect")
        images = bordered[:, :, top : top + size, left : left + size]
    images = images.rot90(way.turns, (2, 3))
    if way.grey:
        weights = images.new_tensor(GREY)[:, None, None]
        images = (images * weights).sum(dim=1, keepdim=True).expand_as(images)
    return images
