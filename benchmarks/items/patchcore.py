"""PatchCore from start to result: whole processes, ours and anomalib's, on the same images."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import torch
from safetensors.torch import save_file

from benchmarks.bench import Bench
from benchmarks.record import MB, Row, faster, limit
from benchmarks.timing import Timing
from fsad.data.synthetic.dataset import Synthetic

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "benchmarks" / "peer_patchcore.py"
WEIGHTS = "resnet18_imagenet_layer1-3.safetensors"
LEAST = 0.5  # of the peer's wall time and memory that ours may take
ALIKE = 0.005  # image AUROC


@dataclass(frozen=True)
class Process:
    """What one process took and found.

    Attributes:
        seconds: From start to end.
        megabytes: Resident memory at its peak.
        image_auroc: In [0, 1], higher = better.
    """

    seconds: float
    megabytes: float
    image_auroc: float


def run(bench: Bench) -> None:
    """Run both on all training images of one category, ResNet-18, re-weighted image scores.

    With ``FSAD_REAL_DATA`` and ``FSAD_REAL_WEIGHTS`` these are MVTec AD's bottle and the weights of
    ImageNet, otherwise generated photographs and random weights, the same for both.
    """
    ratio = bench.pick(full=0.1, quick=0.01, tiny=0.01)
    size = bench.pick(full=224, quick=112, tiny=64)
    category, what = _images(bench)
    weights = _weights(bench.folder)
    importing = _peak([sys.executable, "-c", "import torch"], bench.folder)[1]
    ours = _ours(bench.folder, category, weights, size, ratio)
    times = {"ours": Timing((ours.seconds,))}
    bench.timings["PatchCore from start to result"] = times
    shown = f"{what}, ResNet-18, {size} px, coreset of {100 * ratio:g} %"
    if not bench.peer:
        bench.rows.append(
            Row(
                "PatchCore from start to result",
                shown,
                f"{ours.seconds:.3g} s, {ours.megabytes:.0f} MB",
                ours.seconds,
            )
        )
        return
    theirs = _theirs(bench.peer.python, bench.folder, category, weights, size, ratio)
    times["anomalib"] = Timing((theirs.seconds,))
    item = "PatchCore from start to result"
    bench.rows += [
        faster(item, shown, "anomalib", times["ours"], times["anomalib"], 1 / LEAST),
        limit(
            item,
            shown,
            "{} anomalib's peak memory",
            ours.megabytes / theirs.megabytes,
            "×",
            LEAST,
            f"{ours.megabytes:.0f} and {theirs.megabytes:.0f} MB, of which import torch takes "
            f"{importing:.0f} MB",
        ),
        limit(
            item,
            shown,
            "image AUROC {} apart",
            abs(ours.image_auroc - theirs.image_auroc),
            "",
            ALIKE,
            f"{ours.image_auroc:.4f} and {theirs.image_auroc:.4f}",
        ),
    ]


def _images(bench: Bench) -> tuple[Path, str]:
    """Return a category in MVTec AD's layout, and what it is."""
    real = os.environ.get("FSAD_REAL_DATA")
    if real and bench.scale == "full":
        return Path(real) / "mvtec2d" / "bottle", "MVTec AD bottle"
    data = Synthetic(
        bench.folder / "generated",
        size=bench.pick(full=400, quick=128, tiny=64),
        n_train=bench.pick(full=64, quick=8, tiny=2),
        n_test_good=bench.pick(full=20, quick=4, tiny=2),
        n_test_defect=bench.pick(full=15, quick=2, tiny=1),
        categories=["tile"],
    )
    folder = bench.folder / "photographs" / "tile"
    for photograph in data.root.glob("tile/t*/*/rgb/*.png"):
        split, kind = photograph.parts[-4:-2]
        _link(photograph, folder / split / kind / photograph.name)
        if kind != "good":
            mask = photograph.parents[1] / "gt" / photograph.name
            _link(mask, folder / "ground_truth" / kind / f"{photograph.stem}_mask.png")
    return folder, "generated photographs"


def _link(file: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(file)


def _weights(folder: Path) -> Path:
    """Return ResNet-18's weights: ImageNet's, or random ones."""
    real = os.environ.get("FSAD_REAL_WEIGHTS")
    if real:
        return Path(real) / WEIGHTS
    import timm

    network = timm.create_model("resnet18.tv_in1k", pretrained=False)
    stages = {
        name: value.contiguous()
        for name, value in network.state_dict().items()
        if not name.startswith(("layer4", "fc"))
    }
    path = folder / WEIGHTS
    save_file(stages, path)
    return path


def _ours(folder: Path, category: Path, weights: Path, size: int, ratio: float) -> Process:
    out = Path(mkdtemp(dir=folder))
    images = len(list((category / "train" / "good").iterdir()))
    words = ["data=mvtec_ad", f"data.root={category.parent}", f"data.category={category.name}"]
    words += [f"data.image_size={size}", f"data.shots={images}", "report=false", "maps=false"]
    words += ["method=patchcore", f"method.ratio={ratio}", "method.reweight=9", "logger=none"]
    words += ["backbone=resnet18", f"backbone.weights_path={weights}", f"paths.cache_dir={out}"]
    run = out / "run"
    seconds, megabytes, _ = _peak(
        [sys.executable, str(ROOT / "train.py"), *words, f"hydra.run.dir={run}"], out
    )
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return Process(seconds, megabytes, result["categories"][category.name]["image_auroc"])


def _theirs(
    python: str, folder: Path, category: Path, weights: Path, size: int, ratio: float
) -> Process:
    given = {"root": str(category), "weights": str(weights), "size": size, "ratio": ratio}
    given |= {"threads": torch.get_num_threads(), "out": mkdtemp(dir=folder)}
    # -P: modules beside the script must not hide anomalib's
    seconds, megabytes, printed = _peak([python, "-P", str(WORKER), json.dumps(given)], folder)
    return Process(seconds, megabytes, json.loads(printed.splitlines()[-1])["image_AUROC"])


def _peak(command: Sequence[str], folder: Path) -> tuple[float, float, str]:
    """Run a process; return its wall seconds, its peak memory in MB and what it printed."""
    path = Path(mkdtemp(dir=folder)) / "printed"
    start = time.perf_counter()
    with path.open("w", encoding="utf-8") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    text = path.read_text(encoding="utf-8")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{text[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return seconds, used.ru_maxrss * unit / MB, text
