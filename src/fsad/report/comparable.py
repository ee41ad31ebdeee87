"""Whether a run may be read beside the paper's Table 1, and why not."""

from fsad.results.record import RunResult
from fsad.results.table.settings import RANDOM

BACKBONE = "dino_vitb8"
"""The paper's: DINO ViT-B/8."""
WHOLE = {
    "bagel": (244, 110),
    "cable_gland": (223, 108),
    "carrot": (286, 159),
    "cookie": (210, 131),
    "dowel": (288, 130),
    "foam": (236, 100),
    "peach": (361, 132),
    "potato": (300, 114),
    "rope": (298, 101),
    "tire": (210, 112),
}
"""Training and test images of MVTec 3D-AD's categories: Bergmann et al., VISAPP 2022, Table 1."""


def has_own_features(result: RunResult) -> bool:
    """Tell whether a method is about features of its own, so that no backbone was built."""
    configured = result.config.get("backbone", {}).get("name")
    return bool(result.backbone.get("name") != configured)


def is_stand_in(result: RunResult) -> bool:
    """Tell whether the run's backbone is another than the paper's."""
    return not has_own_features(result) and result.backbone.get("name") != BACKBONE


def is_random(result: RunResult) -> bool:
    """Tell whether the backbone learnt nothing."""
    return result.backbone.get("weights") == RANDOM


def reasons(result: RunResult, category: str) -> list[str]:
    """Say why a category's numbers are not comparable with the paper's; nothing where they are.

    Whatever the reasons, the paper's shots are another draw, and how it prepared the data is not
    told.

    Args:
        result: A run that the paper's table is about.
        category: One of its categories.
    """
    found = []
    if is_random(result):
        found.append(RANDOM)
    elif is_stand_in(result):
        found.append(f"backbone {result.backbone.get('name')}, not DINO ViT-B/8")
    ours, whole = result.categories.get(category), WHOLE.get(category)
    if ours is not None and whole is not None:
        counts = ours.n_source, ours.n_test_good + ours.n_test_defect
        for kind, here, all_of_them in zip(("training", "test"), counts, whole, strict=True):
            if kind == "training" and not _has_source(result):
                continue
            if here != all_of_them:
                found.append(f"{here} of {all_of_them} {kind} images")
    return found


def _has_source(result: RunResult) -> bool:
    """Tell whether a run's protocol has source images; those of before all have."""
    protocol = result.config.get("protocol")
    return not protocol or "source_modality" in protocol
