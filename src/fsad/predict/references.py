"""References for a trained model from files: good and defective images of a part it never saw."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsad.data.images import check_size, read_mask
from fsad.data.input import InputSpec
from fsad.data.profile import InputProfile
from fsad.data.shrink import any_resize
from fsad.errors import ConfigError, DataError
from fsad.predict.from_run import TrainedScorer
from fsad.predict.predictor import Predictor
from fsad.predict.scorer import Limits
from fsad.results.record import CATEGORY

log = logging.getLogger(__name__)
OWN = (
    "no threshold: the run's own is of other references; pass --threshold to decide which images "
    "are defective"
)


def check_references(
    normal: Sequence[Path], defective: Sequence[Path], masks: Sequence[Path]
) -> None:
    """Refuse references of which some are missing.

    Raises:
        ConfigError: Not all of them are, or there is not a mask for each defective one.
    """
    given = {"--normal": normal, "--defective": defective, "--mask": masks}
    there = [name for name, paths in given.items() if paths]
    if len(there) < len(given):
        raise ConfigError(
            f"{', '.join(given)}: expected all of them, got {' and '.join(there)} alone. "
            "Give the others too, or leave all of them out."
        )
    if len(defective) != len(masks):
        raise ConfigError(
            f"--mask: expected one for each --defective, in their order, got {len(masks)} for "
            f"{len(defective)}. Add those that are missing, or leave out what has none."
        )


def any_category(run: Path) -> str | None:
    """Return a category of a run whose own references are not used; None if there is none."""
    return min((path.parent.name for path in run.glob(f"categories/*/{CATEGORY}")), default=None)


def refer_to(
    predictor: Predictor, normal: Sequence[Path], defective: Sequence[Path], masks: Sequence[Path]
) -> Predictor:
    """Return a predictor that scores by other references from now on.

    Law (``tests/predict/test_references.py``): with a run's own references it gives the run's own
    scores.

    Args:
        predictor: Of a run's folder; not to be used any more.
        normal: Images without a defect, one at least.
        defective: Images with one, at least one.
        masks: Of the defective images, in their order; what is not black is the defect.

    Raises:
        DataError: A file cannot be read, a mask is empty or of another size than its image.
        RunError: The run's method does not score by references.
        ConfigError: The model is an exported file, which holds the references that it has.
    """
    scorer, spec = predictor.scorer, predictor.input
    if not isinstance(scorer, TrainedScorer):
        raise ConfigError(
            "--normal: expected a run's folder, got an exported file, which holds the references "
            "that it has. Name the folder of the run."
        )
    stored = {path: spec.read(path) for path in (*normal, *defective)}
    height, width = stored[normal[0]].shape[:2]
    seen = replace(spec, profile=InputProfile(width / height))
    good, bad = ([_seen(seen, path, stored[path]) for path in it] for it in (normal, defective))
    marked = [
        _mask(path, image, stored[image].shape, spec)
        for path, image in zip(masks, defective, strict=True)
    ]
    scorer.trained.scorer.refer_to(torch.stack(good), torch.stack(bad), torch.stack(marked))
    return Predictor(scorer, Limits(note=OWN), seen, predictor.category)


def _seen(spec: InputSpec, path: Path, array: NDArray[Any]) -> Tensor:
    seen = spec.see(array, str(path))
    for note in seen.notes:
        log.warning("%s", note)
    return torch.from_numpy(seen.pixels).expand(3, -1, -1)


def _mask(path: Path, image: Path, shape: tuple[int, ...], spec: InputSpec) -> Tensor:
    mask = read_mask(path)
    check_size(path, mask.shape, image, shape)
    if not mask.any():
        raise DataError(
            f"{path}: expected a mask that marks the defect of {image.name}, got an empty one. "
            "What is not black is the defect."
        )
    return torch.from_numpy(np.ascontiguousarray(any_resize(mask, spec.canvas.shape)))
