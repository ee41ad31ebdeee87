"""Features that nobody trained: the pixels themselves, and dense SIFT."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional

from fsad.nn.extractor import After, PatchExtractor, State
from fsad.nn.settings import Size, cells_of, check_image_size

CELL = 8  # pixels
REACH = 6  # pixels from a descriptor's centre to that of its outermost bin
UNLEARNT = "none needed"
"""What results say of the weights."""


class UnlearntExtractor(PatchExtractor):
    """Features of an image's grey values; there are no weights and nothing to perturb.

    Args:
        net: What computes, if anything does.
        name: What results call it.
        image_size: Height and width of the images, pixels.
        cell: Height and width of a cell of the features' grid, pixels.
        channels: Of the features.
    """

    def __init__(
        self, net: nn.Module, *, name: str, image_size: Size, cell: int, channels: int
    ) -> None:
        check_image_size(image_size, cell)
        super().__init__(
            net,
            name=name,
            image_size=image_size,
            grid=cells_of(image_size, cell),
            cell=cell,
            channels=channels,
            layers={},
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            normalize_depth=False,
            weights=UNLEARNT,
            architecture={"features": name, "cell": cell},
        )

    def _prefix(self, images: Tensor) -> State:
        return (images.mean(dim=1, keepdim=True),)

    def _suffix(self, state: State, after: After | None) -> Tensor:  # noqa: ARG002
        return self._features(state[0])

    @abstractmethod
    def _features(self, grey: Tensor) -> Tensor: ...


class PixelExtractor(UnlearntExtractor):
    """The grey value of each pixel: one channel, a cell per pixel. Of depth images it is depth.

    Args:
        image_size: Height and width of the images, pixels.
    """

    def __init__(self, image_size: Size) -> None:
        super().__init__(nn.Identity(), name="pixels", image_size=image_size, cell=1, channels=1)

    def _features(self, grey: Tensor) -> Tensor:
        return grey


class ColourExtractor(UnlearntExtractor):
    """The colours of each pixel: three channels, a cell per pixel. Of depth all three are depth.

    Args:
        image_size: Height and width of the images, pixels.
    """

    def __init__(self, image_size: Size) -> None:
        super().__init__(nn.Identity(), name="colours", image_size=image_size, cell=1, channels=3)

    def _prefix(self, images: Tensor) -> State:
        return (images,)

    def _features(self, grey: Tensor) -> Tensor:
        return grey


class CellExtractor(UnlearntExtractor):
    """The grey values of a cell's 8 x 8 pixels as its 64 channels.

    Args:
        image_size: Height and width of the images, pixels, a multiple of 8.
    """

    def __init__(self, image_size: Size) -> None:
        super().__init__(
            nn.PixelUnshuffle(CELL),
            name="cells",
            image_size=image_size,
            cell=CELL,
            channels=CELL**2,
        )

    def _features(self, grey: Tensor) -> Tensor:
        features: Tensor = self.net(grey)
        return features


class SiftExtractor(UnlearntExtractor):
    r"""Dense SIFT: 8 directions in 4 x 4 bins of 4 pixels around every pixel, rooted, cell by cell.

    A descriptor is rescaled to length 1, clipped at 0.2, rescaled, and its entries' roots taken.
    With an even bin they stand between the pixels: a cell's feature is the mean over the 9 x 9 such
    places in and around its 8 x 8 pixels.

    Law: :math:`a I + b` with :math:`a > 0` has the features of :math:`I`.

    Args:
        image_size: Height and width of the images, pixels, a multiple of 8.

    Source:
        Horwitz and Hoshen, Back to the Feature (CVPRW 2023), section 4: SIFT on depth images.
        Departure: kornia's descriptor, whose bins lie 4 pixels apart as SIFT's do; in theirs they
        overlap.
    """

    def __init__(self, image_size: Size) -> None:
        from kornia.feature import DenseSIFTDescriptor  # two seconds, for this extractor alone

        net = DenseSIFTDescriptor(padding=REACH)
        super().__init__(net, name="sift", image_size=image_size, cell=CELL, channels=128)

    def _features(self, grey: Tensor) -> Tensor:
        bordered = functional.pad(grey, (REACH,) * 4, mode="replicate")  # zeros would be an edge
        rows, columns = (slice(REACH, REACH + size + 1) for size in grey.shape[-2:])
        inner = self.net(bordered)[:, :, rows, columns]
        return functional.avg_pool2d(inner, CELL + 1, stride=CELL)
