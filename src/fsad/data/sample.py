"""What a sample is: the files of one image, in each modality, and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from fsad.errors import ConfigError

Split: TypeAlias = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Sample:
    """The files of one image; nothing is opened.

    Attributes:
        category: The object, for example ``bagel``.
        split: ``train``, ``validation`` or ``test``.
        defect: The kind of defect; ``good`` where there is none.
        stem: The name that the sample's files share.
        files: The image in each modality that it was recorded in, for example ``{"rgb": path}`` or
            ``{"rgb": path, "depth": path}``.
        masks: Masks whose union is the defect; none for most good samples.
        part: The foreground mask written by data preparation, where there is one.
        further: By modality, files without which its image cannot be read.
    """

    category: str
    split: str
    defect: str
    stem: str
    files: Mapping[str, Path] = field(hash=False)
    masks: tuple[Path, ...] = ()
    part: Path | None = None
    further: Mapping[str, tuple[Path, ...]] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The sample's name within its data set, ``category/split/defect/stem``."""
        return f"{self.category}/{self.split}/{self.defect}/{self.stem}"

    @property
    def is_anomalous(self) -> bool:
        """Whether the sample has a defect."""
        return self.defect != "good"

    @property
    def is_masked(self) -> bool:
        """Whether it is known which pixels are defective: none of a good image, or by a mask."""
        return bool(self.masks) or not self.is_anomalous

    @property
    def shows_part(self) -> bool:
        """Whether it can be told where the part is: from depth, or by a mask."""
        return self.part is not None or "depth" in self.files

    def is_truth(self, mask: Tensor) -> bool:
        """Tell whether a mask ``(H, W)`` shows which pixels are defective.

        Without a file it does not, nor does an empty one of a defective image.
        """
        return self.is_masked and (not self.is_anomalous or bool(mask.any()))


def check_split(split: str) -> str:
    """Return ``split`` if it is one of the three.

    Raises:
        ConfigError: It is not.
    """
    if split not in get_args(Split):
        names = ", ".join(get_args(Split))
        raise ConfigError(f"split: expected one of {names}, got {split!r}")
    return split
