"""Flips, shifts, turns and losses of colour, all of them by one gather over a table of pixels."""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from fsad.errors import check_choice, check_shape

SHIFT = 0.15  # of the image's side
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value, ITU-R BT.601."""
SETS = ("rotations", "gray", "all")


class Warp(NamedTuple):
    """One way to change an image; done in the order of the attributes.

    Attributes:
        flip: Whether left and right change places.
        right: By how many shifts the image moves to the right: -1, 0 or 1.
        down: And down.
        turns: By how many quarters it is turned, counter-clockwise.
        grey: Whether its colours become grey.
    """

    flip: bool = False
    right: int = 0
    down: int = 0
    turns: int = 0
    grey: bool = False


def warps(name: str) -> list[Warp]:
    """Return a set of different ways to change an image; the first changes nothing.

    Args:
        name: ``rotations``: 4 turns; ``gray``: 42, without those that make colours grey; ``all``:
            54.

    Raises:
        ConfigError: There is no such set.

    Source:
        Sheynin et al., HTDG (ICCV 2021), supplement, section 1. Its two shifts each way of grey
        images are one to each side here.

    Examples:
        >>> [len(warps(name)) for name in SETS]
        [4, 42, 54]
    """
    check_choice("transforms", name, SETS)
    if name == "rotations":
        return [Warp(turns=turns) for turns in range(4)]
    flips = (False, True)
    found = [Warp(*each) for each in product(flips, (0, 1), (0, 1), range(4))]
    found += [Warp(flip, right, -1) for flip, right in product(flips, (-1, 1, 0))]
    found += [Warp(flip, -1, down) for flip, down in product(flips, (1, 0))]
    if name == "all":
        found += [Warp(flip, turns=turns, grey=True) for flip, turns in product(flips, range(4))]
        found += [Warp(right=side, grey=True) for side in (-1, 1)]
        found += [Warp(down=side, grey=True) for side in (-1, 1)]
    return found


@dataclass(frozen=True)
class WarpTable:
    """Several warps of images of one size.

    Attributes:
        places: Which pixel each pixel of a warped image shows, ``(M, h * w)`` int64.
        is_grey: Which of the warps make colours grey, M truth values.
        size: Height and width of the images.
    """

    places: Tensor
    is_grey: tuple[bool, ...]
    size: int

    def __len__(self) -> int:
        """Return how many warps there are."""
        return len(self.places)

    def apply(self, images: Tensor) -> Tensor:
        """Warp each image in each way.

        Laws (``tests/functional/test_warps.py``): each warp is its plain definition; no two of a
        set give the same image.

        Args:
            images: ``(n, c, h, w)``.

        Returns:
            ``(n * M, c, h, w)``, all ways of an image together.

        Raises:
            ShapeError: The images are of another size, or colours are to become grey and there are
                not three.

        Note:
            One gather, whatever M is; nothing is interpolated.
        """
        known = {"c": len(GREY)} if any(self.is_grey) else {}
        sizes = check_shape("images", images, "n c h w", h=self.size, w=self.size, **known)
        warped = images.flatten(2)[:, :, self.places]  # (n, c, M, h * w)
        if any(self.is_grey):
            weights = warped.new_tensor(GREY)[:, None, None]
            grey = (warped * weights).sum(dim=1, keepdim=True)
            chosen = torch.tensor(self.is_grey, device=warped.device)[:, None]
            warped = torch.where(chosen, grey, warped)
        return warped.transpose(1, 2).reshape(-1, sizes["c"], self.size, self.size)

    def back(self, votes: Tensor) -> Tensor:
        """Bring maps of warped images back to where their pixels come from, and average them.

        Laws (``tests/functional/test_warps.py``): of maps that are an image, warped, the mean is
        that image; a constant stays.

        Args:
            votes: ``(n * M, h, w)``, in the order of :meth:`apply`.

        Returns:
            ``(n, h, w)``: each pixel's mean over all pixels of all warped images that show it.

        Raises:
            ShapeError: The maps are of another size.
        """
        check_shape("votes", votes, "n h w", h=self.size, w=self.size)
        flat = votes.reshape(-1, self.places.numel())  # (n, M * h * w)
        shown = self.places.flatten()
        total = flat.new_zeros(flat.shape[0], self.size**2).index_add_(1, shown, flat)
        times = flat.new_ones(len(shown))
        counts = flat.new_zeros(self.size**2).index_add_(0, shown, times)
        return (total / counts).view(-1, self.size, self.size)


def warp_table(ways: list[Warp], size: int, device: torch.device | None = None) -> WarpTable:
    """Lay out warps for images of one size.

    A shift is 15 % of the side, rounded to whole pixels, at least one; what it uncovers mirrors
    what is inside, the border itself not doubled.

    Args:
        ways: The warps.
        size: Height and width of the images, pixels, at least 3.
        device: Where the table lies.

    Source:
        Sheynin et al., HTDG (ICCV 2021). Departure: shifts are whole pixels, so that nothing is
        interpolated.
    """
    image = torch.arange(size * size).view(size, size)
    return WarpTable(
        torch.stack([_warped(image, way).flatten() for way in ways]).to(device),
        tuple(way.grey for way in ways),
        size,
    )


def _warped(image: Tensor, way: Warp) -> Tensor:
    if way.flip:
        image = image.flip(1)
    size = len(image)
    step = max(1, round(SHIFT * size))
    rows, columns = (_mirrored(size, side * step) for side in (way.down, way.right))
    return image[rows][:, columns].rot90(way.turns)


def _mirrored(size: int, shift: int) -> Tensor:
    """Return which place is shown at each place of an axis that is shifted."""
    places = (torch.arange(size) - shift).abs()
    return torch.where(places >= size, 2 * (size - 1) - places, places)
