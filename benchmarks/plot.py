"""The growth curves as a picture: cost of every stage, and memory while a bank is built."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.reference import fit_exponent


def draw(series: Mapping[str, Any], path: Path) -> None:
    """Draw both panels with logarithmic axes to an SVG or PNG file.

    Args:
        series: What the item ``scaling`` recorded.
        path: Where the picture goes.
    """
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.fonttype"] = "none"  # letters, not their outlines
    mpl.rcParams["svg.hashsalt"] = "growth"  # the same curves, the same file
    from matplotlib import pyplot as plt

    figure, (cost, memory) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    markers = iter("osD^vP*Xhp")
    for name, curve in series.items():
        if name == "memory":
            continue
        label = f"{name}: {curve['unit']}^{curve['exponent']:.2f}"
        cost.loglog(curve["sizes"], curve["seconds"], marker=next(markers), ms=4, label=label)
    cost.set(xlabel="images, rows or vertices", ylabel="seconds", title="Cost of each stage")
    if set(series) - {"memory"}:
        cost.legend(fontsize=7)
    found = series.get("memory")
    if found:
        for name, taken in found["transient_mb"].items():
            label = f"at most {found['cap']:,} rows" if name == "capped" else name
            exponent = fit_exponent(found["sizes"], taken)
            memory.loglog(
                found["sizes"], taken, marker="o", label=f"{label}: images^{exponent:.2f}"
            )
        memory.set(xlabel="source images", ylabel="transient memory at the peak, MB")
        memory.set_xticks(found["sizes"], [f"{size:,}" for size in found["sizes"]], minor=False)
        memory.set_xticks([], minor=True)
        memory.set_title("Memory while a bank is built")
        memory.legend(fontsize=7)
    for axes in (cost, memory):
        axes.grid(visible=True, which="both", alpha=0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
