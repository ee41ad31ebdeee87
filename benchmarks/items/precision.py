"""ViT-B/8's forward pass in several precisions, with and without torch.compile."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.features import pictures
from benchmarks.items.query import vit
from benchmarks.machine import instructions
from benchmarks.record import faster
from benchmarks.timing import Contender, timed
from fsad.nn.backbone import VitExtractor

MODES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def run(bench: Bench) -> None:
    """Measure on the CPU, and on a GPU where there is one."""
    name = bench.pick(
        full="vit_base_patch8_224.dino",
        quick="vit_tiny_patch16_224",
        tiny="vit_tiny_patch16_224",
    )
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        batch = bench.pick(full=1 if device == "cpu" else 32, quick=1, tiny=1)
        _measure(bench, name, device, batch)


def _measure(bench: Bench, name: str, device: str, batch: int) -> None:
    images = torch.from_numpy(pictures(batch, 224)).to(device)
    plain = vit(name).to(device)
    modes: tuple[str, ...] = ()  # compiled, half a minute each
    if bench.scale == "full":
        half = device == "cuda" or any("bf16" in known for known in instructions())
        modes = ("float32", *(["bfloat16"] if half else []))
    compiled = {mode: vit(name, compile=True).to(device) for mode in modes}
    contenders: dict[str, Contender] = {
        mode: timed(partial(forward, plain, images, mode)) for mode in MODES
    }
    for mode, extractor in compiled.items():
        # The first turn, which does not count, compiles.
        contenders[f"{mode}, compiled"] = timed(partial(forward, extractor, images, mode))
    seconds = bench.race(
        f"precision {device}, batch {batch}",
        contenders,
        bench.pick(full=3 if device == "cpu" else 20, quick=1, tiny=1),
    )
    exact = forward(plain, images, "float32")
    size = f"{name}, {device}, batch {batch}"
    for mode in contenders:
        if mode == "float32":
            continue
        extractor = compiled[mode.split(",")[0]] if "compiled" in mode else plain
        error = forward(extractor, images, mode.split(",")[0]) - exact
        relative = float(error.norm() / exact.norm())
        row = faster("backbone forward", size, "float32", seconds[mode], seconds["float32"])
        bench.rows.append(
            replace(
                row,
                result=f"{mode}: {row.result}",
                note=f"features differ by {100 * relative:.2g} % of their norm",
            )
        )


def forward(extractor: VitExtractor, images: Tensor, mode: str) -> Tensor:
    """Extract features in a precision."""
    dtype = MODES[mode]
    with extractor.in_precision(dtype) if dtype else nullcontext():
        features: Tensor = extractor(images)
    return features
