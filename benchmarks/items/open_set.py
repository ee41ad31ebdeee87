"""An outer epoch of AHL beside a loop as one would write it first; a step of DRA and its trunk."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from benchmarks.bench import Bench
from benchmarks.record import check, faster, within
from benchmarks.timing import timed
from fsad.functional.adaptation import outer_gradient
from fsad.functional.pseudo_anomalies import GENERATORS
from fsad.functional.rotation import rotate_each
from fsad.methods.ahl import Ahl
from fsad.methods.ahl.features import MapStore, kinds_of
from fsad.methods.ahl.outer import OuterModule
from fsad.methods.ahl.tasks import cluster_tasks
from fsad.methods.dra import Dra
from fsad.methods.shared.open_set.fit import with_pseudo_anomalies
from fsad.methods.shared.open_set.losses import heads_loss
from fsad.nn.backbone import CnnExtractor
from fsad.runtime.randomness import generator

NORMALS, ANOMALIES, REFERENCES = 18, 10, 5
CLOSE = 1e-5
FIT = {"epochs": 1, "steps": 1, "normals": 16, "anomalies": 8}


def published(size: int) -> CnnExtractor:
    """Return the trunk of the papers, with random weights."""
    network = "resnet18.tv_in1k"
    stages = {"layers": [], "stages": ["layer4"], "pool": 1}
    return CnnExtractor("resnet18_layer4", network, size, pretrained=False, **stages)  # type: ignore[arg-type]


def backbone(size: int) -> CnnExtractor:
    """Return the trunk's start: the stages that come with fsad."""
    return CnnExtractor(
        "resnet18_stem",
        "resnet18.tv_in1k",
        size,
        layers=[],
        stages=["layer2"],
        shipped="tiny.safetensors",
        prefix="patch_embed.backbone.",
        pool=1,
    )


class Epoch:
    """One outer epoch of AHL on random images, in two ways.

    Args:
        base: ``dra`` or ``devnet``.
        size: Height and width of the images.
        steps: Inner steps.
        images: Of a kind in a batch.
    """

    def __init__(self, base: str, size: int, steps: int, images: int) -> None:
        batch = {"normals": images, "pseudo": images, "anomalies": images}
        method = Ahl(FIT, {"epochs": 1, "inner_steps": steps, **batch}, base, "uniform", prior=0)
        scorer: Any = method.plan(backbone(size)).scorer.eval()
        self.network, self.heads = scorer.network, scorer.heads
        self.steps = steps
        count = NORMALS + ANOMALIES
        self.images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
        self.network.keep_reference(self.images[:REFERENCES])
        self.module = OuterModule(scorer, method.outer, method.loss, "uniform", 0)
        groups = np.arange(NORMALS) % 3
        self.module.tasks = cluster_tasks(groups, ANOMALIES, np.random.default_rng(0))
        self.module._store = self.store()

    @torch.no_grad()
    def store(self) -> MapStore:
        """Make all maps, as the stage does when it starts."""
        rows = [self.network.trunk(self.image(row)[None]) for row in range(4 * NORMALS + ANOMALIES)]
        maps = [torch.cat(list(scale)) for scale in zip(*rows, strict=True)]
        return MapStore(maps, NORMALS, ANOMALIES)

    def image(self, row: int) -> Tensor:
        """Return the image of a row: a normal one, a pseudo anomaly made of one, or a seen one."""
        kind, place = divmod(row, NORMALS)
        if row >= 4 * NORMALS:
            return self.images[NORMALS + row - 4 * NORMALS]
        if kind == 0:
            return self.images[place]
        name = sorted(GENERATORS)[kind - 1]
        rng = generator(0, "pseudo", name, place)
        donor = self.images[int(rng.integers(NORMALS))]
        return GENERATORS[name](self.images[place], donor, rng)[0]

    def ours(self) -> dict[str, Tensor]:
        """Return the outer gradient: maps from the store, all tasks together."""
        support, query = self.module._batches()
        weights = torch.full((len(self.module.tasks),), 1 / len(self.module.tasks))
        parameters = {name: it.detach() for name, it in self.heads.named_parameters()}
        return outer_gradient(self.module.loss_of, parameters, support, query, 2e-4, weights)[0]

    def loop(self, maps: Callable[[list[int]], tuple[list[Tensor], list[Tensor]]]) -> Any:
        """Return the same, task by task and step by step.

        Args:
            maps: Gives the maps of some rows, and those of the reference.
        """
        store = self.module._store
        assert store is not None
        outer = self.module.outer
        sizes = outer.normals, outer.pseudo, outer.anomalies
        total: dict[str, Tensor] = {}
        for number, task in enumerate(self.module.tasks):
            weights = {name: it.detach().clone() for name, it in self.heads.named_parameters()}
            for step in range(self.steps + 1):
                side = task.query if step == self.steps else task.support
                rng = generator(0, "outer", 0, step, number)
                rows = store.rows(side, sizes, rng).tolist()
                gradient = self._gradient(weights, *maps(rows), sizes)
                if step < self.steps:
                    weights = {name: it - 2e-4 * gradient[name] for name, it in weights.items()}
            for name, it in gradient.items():
                total[name] = total.get(name, 0) + it / len(self.module.tasks)
        return total

    def from_images(self, rows: list[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Make images, run the trunk on them and on the references: anew in each step."""
        with torch.no_grad():
            images = torch.stack([self.image(row) for row in rows])
            maps = self.network.trunk(torch.cat([self.images[:REFERENCES], images]))
        reference = [scale[:REFERENCES].mean(dim=0, keepdim=True) for scale in maps]
        return [scale[REFERENCES:] for scale in maps], reference

    def from_store(self, rows: list[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Take what is kept."""
        assert self.module._store is not None
        return self.module._store.at(torch.tensor(rows)), self.network.reference

    def _gradient(
        self, weights: dict[str, Tensor], maps: Any, reference: Any, sizes: tuple[int, int, int]
    ) -> dict[str, Tensor]:
        kinds = kinds_of(sizes, "pseudo" in self.heads.parts)
        leaves = {name: it.requires_grad_() for name, it in weights.items()}
        with torch.enable_grad():
            said = functional_call(self.heads, leaves, (maps, reference))
            loss = heads_loss(said, kinds, 5.0)
        found = torch.autograd.grad(loss, list(leaves.values()))
        for it in leaves.values():
            it.requires_grad_(False)
        return dict(zip(leaves, found, strict=True))


def run(bench: Bench) -> None:
    """Race the two ways over both base models, then a step of DRA against its trunk."""
    size = bench.pick(full=128, quick=64, tiny=32)
    steps, images = bench.pick(full=3, quick=2, tiny=1), bench.pick(full=8, quick=4, tiny=2)
    for base in ("dra", "devnet"):
        epoch = Epoch(base, size, steps, images)
        ours = epoch.ours()
        apart = max(
            float((ours[name] - it).abs().max() / ours[name].abs().max().clamp(min=1))
            for way in (epoch.from_images, epoch.from_store)
            for name, it in epoch.loop(way).items()
        )
        seconds = bench.race(
            f"an outer epoch of AHL over {base}",
            {
                "ours": timed(epoch.ours),
                "plain": timed(lambda epoch=epoch: epoch.loop(epoch.from_images)),  # type: ignore[misc]
                "plain, kept maps": timed(lambda epoch=epoch: epoch.loop(epoch.from_store)),  # type: ignore[misc]
            },
            bench.pick(full=5, quick=2, tiny=1),
        )
        what = f"{base}, 6 tasks, {steps} inner steps, {3 * images} images of {size} px"
        item = "AHL, an outer epoch"
        bench.rows += [
            faster(item, what, "a plain loop", seconds["ours"], seconds["plain"], 5),
            faster(
                item, what, "the loop on kept maps", seconds["ours"], seconds["plain, kept maps"]
            ),
            check(item, what, f"equal to the loop to {CLOSE:g}", apart <= CLOSE, f"{apart:.1e}"),
        ]
    _step(bench, bench.pick(full=224, quick=96, tiny=32))


def _step(bench: Bench, size: int) -> None:
    """Race a training step of DRA against the bare forward and backward pass of its trunk."""
    method = Dra(FIT)
    scorer: Any = method.plan(published(size)).scorer.train()
    network = scorer.network
    pictures = torch.Generator().manual_seed(0)
    count = bench.pick(full=24, quick=6, tiny=3)
    images = torch.rand(count, 3, size, size, generator=pictures)
    normal = torch.rand(REFERENCES, 3, size, size, generator=pictures)
    kinds = torch.tensor([0, 0, 1]).repeat(count // 3)
    adam = torch.optim.Adam(network.parameters(), lr=2e-4, weight_decay=1e-5)

    @torch.enable_grad()
    def step() -> None:
        rng = generator(0, "step")
        made, found = with_pseudo_anomalies(images, kinds, rng)
        angles = torch.from_numpy(rng.uniform(-180, 180, count).astype(np.float32))
        maps = network.trunk(torch.cat([normal, rotate_each(made, angles)]))
        reference = [scale[:REFERENCES].mean(dim=0, keepdim=True) for scale in maps]
        said = network.heads([scale[REFERENCES:] for scale in maps], reference)
        loss = heads_loss(said, found, 5.0)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()

    whole = torch.cat([normal, images])

    @torch.enable_grad()
    def bare() -> None:
        maps = network.trunk(whole)
        network.zero_grad()
        torch.stack([scale.mean() for scale in maps]).sum().backward()  # type: ignore[no-untyped-call]

    seconds = bench.race(
        "a training step of DRA",
        {"ours": timed(step), "trunk": timed(bare)},
        bench.pick(full=7, quick=2, tiny=1),
    )
    bench.rows.append(
        within(
            "DRA, a training step",
            f"{count} + {REFERENCES} images of {size} px, two scales",
            "its trunk's bare forward and backward pass",
            seconds["ours"],
            seconds["trunk"],
            1.15,
            "ResNet-18, random weights; with pseudo anomalies, rotation, heads and Adam",
        )
    )
