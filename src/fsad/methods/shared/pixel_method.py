"""What methods that score pixels, not features, have in common."""

from dataclasses import dataclass
from typing import Annotated

from fsad.engine.plan import BackboneMaker, Method
from fsad.engine.settings import MAPS, Affects
from fsad.errors import check_at_least, check_not_negative
from fsad.nn.extractor import PatchExtractor
from fsad.nn.settings import Size
from fsad.nn.unlearnt import PixelExtractor


@dataclass(frozen=True)
class PixelMethod(Method):
    """The settings of such a method. The configured backbone is not built.

    Attributes:
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Taken by every method; nothing here is random.

    Raises:
        ConfigError: A setting is out of range.
    """

    sigma: Annotated[float, Affects(MAPS)] = 4.0
    seed: Annotated[int, Affects()] = 0

    def __post_init__(self) -> None:
        check_not_negative("method.sigma", self.sigma)
        check_at_least("seed", self.seed, 0)

    def build_extractor(
        self,
        image_size: Size,
        backbone: BackboneMaker,  # noqa: ARG002
    ) -> PatchExtractor:
        """Return the pixels themselves for features."""
        return PixelExtractor(image_size)
