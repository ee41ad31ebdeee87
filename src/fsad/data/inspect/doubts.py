"""Test images whose scores or masks say less than they seem to."""

import math
from collections.abc import Sequence

from fsad.data.batch import Truth
from fsad.data.profile import InputProfile
from fsad.data.sample import Sample
from fsad.data.transforms import MOST


class Doubts:
    """Counts test images of which a reader of the metrics must know.

    Args:
        samples: The test images, in the order of :attr:`~fsad.data.batch.Truth.index`.
        size: Height and width of the images that are scored, in pixels.
        profile: What the shots look like.
        modality: In which they are scored; what is odd about depth says nothing of other images.
    """

    def __init__(
        self, samples: Sequence[Sample], size: int, profile: InputProfile, modality: str = "depth"
    ) -> None:
        self.samples, self.size, self.profile, self.modality = samples, size, profile, modality
        self.misleading: list[int] = []
        self.unlike: list[int] = []
        self.tiny: list[int] = []
        self.covered: list[int] = []

    def update(self, truth: Truth) -> None:
        """Look at a batch."""
        if self.modality == "depth":
            self._look_at_depth(truth)
        self.tiny += truth.index[truth.tiny].tolist()
        covered = truth.mask.flatten(1).sum(dim=1) > MOST * truth.area.prod(dim=1)
        self.covered += truth.index[covered].tolist()

    def _look_at_depth(self, truth: Truth) -> None:
        self.misleading += truth.index[truth.misleading].tolist()
        for index, (aspect, extent) in zip(
            truth.index.tolist(), truth.extent.tolist(), strict=True
        ):
            seen = InputProfile(aspect, None if math.isnan(extent) else extent)
            self.unlike += [index] if self.profile.differs(seen) else []

    def lines(self) -> list[str]:
        """Say what was found, one sentence each."""
        lines = []
        if self.misleading:
            lines.append(
                f"{len(self.misleading)} of {len(self.samples)} test images look wrong, "
                f"{self._named(self.misleading)}: stray readings that flatten the relief, or "
                "points in another order. Do not trust their scores; fsad data check tells more"
            )
        if self.unlike:
            lines.append(
                f"{len(self.unlike)} of {len(self.samples)} test images have another width : "
                "height than the shots, or show twice or half as much of the scene, "
                f"{self._named(self.unlike)}"
            )
        if self.tiny:
            defects = sum(sample.is_anomalous for sample in self.samples)
            lines.append(
                f"{len(self.tiny)} of {defects} defects are smaller than a pixel at "
                f"data.image_size={self.size}, {self._named(self.tiny)}: they can hardly be seen. "
                "Take a larger data.image_size"
            )
        if self.covered:
            lines.append(
                f"{len(self.covered)} masks mark more than half of the image, "
                f"{self._named(self.covered)}: if they are inverted, the pixel metrics are wrong"
            )
        return lines

    def _named(self, indices: Sequence[int]) -> str:
        names = [f"{self.samples[i].defect}/{self.samples[i].stem}" for i in sorted(indices)[:3]]
        return ", ".join(names) + (" and others" if len(indices) > len(names) else "")
