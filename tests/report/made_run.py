"""A finished run made by hand: random patch scores, and a record of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fsad.data.synthetic import Synthetic
from fsad.functional.scoring import image_scores
from fsad.metrics import METRICS
from fsad.metrics.exact import auroc
from fsad.results.record import CATEGORY, CategoryResult, ScoreRow, write_result, write_scores
from fsad.scores.combination import Combination
from fsad.storage.tensors import write_json, write_tensors

SIZE, GRID, BETA, SIGMA = 64, 8, 0.6, 4.0
READER = {
    "_target_": "fsad.data.synthetic.Synthetic",
    "_partial_": True,
    "size": SIZE,
    "n_train": 2,
    "n_validation": 0,
    "n_test_good": 5,
    "n_test_defect": 2,
    "categories": ["knob", "tile"],
}
SHIPPED = {"name": "tiny", "weights": "shipped", "sha256": "cd" * 32}


@dataclass(frozen=True)
class Made:
    """What :func:`make_run` put into one category, in the order of its test images."""

    images: list[str]
    labels: Tensor
    patches: dict[str, Tensor]
    result: CategoryResult


def images_in(dataset: Synthetic, category: str) -> list[tuple[str, str]]:
    samples = dataset.samples(category, "test")
    return [(it.files["depth"].relative_to(dataset.root).as_posix(), it.defect) for it in samples]


def make_run(
    folder: Path,
    categories: dict[str, Sequence[tuple[str, str]]],
    root: Path,
    *,
    domains: Sequence[str] = ("source", "target"),
    grid: tuple[int, int] = (GRID, GRID),
    seed: int = 0,
    shift: float = 0.5,
    backbone: dict[str, str] = SHIPPED,
    method: str = "hypertrans",
    combination: Combination | None = None,
    recorded: Sequence[str] = ("combination", "sigma"),
    data: dict[str, Any] | None = None,
    failed: dict[str, str] | None = None,
) -> dict[str, Made]:
    """Write a run's folder; scores are random, defective images ``shift`` higher.

    Parts are combined as told, or two by a mean with the share ``BETA`` of the first; what the
    categories' records say of it is ``recorded``.
    """
    if combination is None:
        shares = dict(zip(domains, (BETA, 1 - BETA), strict=True)) if len(domains) == 2 else {}
        combination = Combination("mean", shares)
    record = {"combination": combination.to_json(), "sigma": SIGMA}
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Made] = {}
    rows: list[ScoreRow] = []
    for name, images in categories.items():
        labels = torch.tensor([defect != "good" for _, defect in images])
        patches = {
            domain: 5
            + torch.rand(len(images), *grid, generator=generator)
            + shift * labels[:, None, None]
            for domain in domains
        }
        alone = {domain: image_scores(each) for domain, each in patches.items()}
        fused = combination.combine(alone)
        write_tensors_of(folder, name, patches | {f"{it}.images": alone[it] for it in domains})
        said = {key: record[key] for key in recorded}
        write_json(folder / "categories" / name / CATEGORY, said)
        for place, (image, defect) in enumerate(images):
            parts = {domain: float(scores[place]) for domain, scores in alone.items()}
            score = float(fused[place])
            rows.append(ScoreRow(name, image, defect != "good", defect, score, parts))
        both = bool(labels.any()) and not bool(labels.all())
        result = category_result(auroc(fused, labels) if both else None, labels, len(made))
        made[name] = Made([image for image, _ in images], labels, patches, result)
    config = {
        "seed": seed,
        "data": {"root": str(root), "shots": 2, "image_size": SIZE, "reader": READER}
        | (data or {}),
        "backbone": {"name": backbone["name"], "pretrained": True},
        "method": {"sigma": SIGMA},
        "paths": {"output_dir": str(folder)},
    }
    write_scores(folder / "scores.csv", rows)
    write_result(
        folder / "result.json",
        method,
        seed,
        config,
        backbone,
        {name: each.result for name, each in made.items()},
        failed or {},
    )
    return made


def write_tensors_of(folder: Path, category: str, tensors: dict[str, Tensor]) -> None:
    path = folder / "categories" / category / "patch_scores.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {"seconds": "1.0"})


def category_result(image_auroc: float | None, labels: Tensor, number: int) -> CategoryResult:
    """Return numbers that all differ; only the image AUROC means anything."""

    def five(shift: float) -> dict[str, float | None]:
        return {metric: 0.5 + 0.01 * i + shift for i, metric in enumerate(METRICS)}

    fused = five(0.1 * number) | {"image_auroc": image_auroc}
    return CategoryResult(
        shots=["knob/train/good/xyz/000.tiff", "knob/train/good/xyz/001.tiff"],
        n_source=2,
        n_test_good=int((~labels).sum()),
        n_test_defect=int(labels.sum()),
        fused=fused,
        source_only=five(0.001),
        target_only=five(0.002),
        part_mask=five(0.003),
        bank_rows={"source": 4, "target": 4},
        seconds={"perturb": 1.0, "banks": 2.0, "rectify": 3.0, "test": 4.0, "metrics": 5.0},
        backbone_seconds=6.0,
        peak_rss_mb=7.0,
        notes=["a note of the run"],
    )
