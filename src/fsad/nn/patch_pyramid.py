"""A patch discriminator and a residual generator, one of each for every size of an image."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from fsad.errors import ConfigError, check_at_least, check_shape
from fsad.runtime.randomness import seeded

LAYERS = 5
BORDER = LAYERS
"""Pixels by which a discriminator's map is smaller than its image, on each side."""
FIELD = 2 * BORDER + 1
"""Height and width of what a discriminator sees as one patch, pixels."""
SLOPE = 0.2  # of a leaky ReLU below 0
SPREAD = 0.02  # of weights at first
NARROWEST = 32
WIDER_EVERY = 4  # scales


def pyramid_sizes(largest: int, scales: int, smallest: int) -> list[int]:
    """Return the sizes of a pyramid, the smallest first.

    Args:
        largest: Height and width of the images, pixels.
        scales: How many, 2 or more.
        smallest: What the first is just above, pixels.

    Raises:
        ConfigError: The images are no larger than the first size, or that is no larger than a
            patch.

    Source:
        Sheynin et al., HTDG (ICCV 2021), after SinGAN: each size is the one below times a constant;
        its code rounds up, and whole numbers as well.

    Examples:
        >>> pyramid_sizes(64, 5, 25)
        [26, 32, 41, 51, 64]
    """
    check_at_least("scales", scales, 2)
    check_at_least("smallest", smallest, FIELD)
    if largest <= smallest + 1:
        raise ConfigError(
            f"largest: expected more than the {smallest + 1} pixels of the coarsest scale, got "
            f"{largest}"
        )
    factor = (smallest / largest) ** (1 / (scales - 1))
    below = [math.floor(round(largest * factor**step, 9)) + 1 for step in range(1, scales)]
    return [*reversed(below), largest]


def widths(scales: int) -> list[int]:
    """Return the channels of each scale's networks: 32, doubled at every fourth scale.

    Examples:
        >>> widths(5)
        [32, 32, 32, 32, 64]
    """
    return [NARROWEST * 2 ** (scale // WIDER_EVERY) for scale in range(scales)]


def resize_matrix(size: int, to: int) -> Tensor:
    """Return the matrix of a bicubic, antialiased resize of one axis, ``(to, size)``.

    Law (``tests/nn/test_patch_pyramid.py``): each row sums to 1, and products with it from both
    sides are torch's resize of the image.

    Args:
        size: Pixels before.
        to: Pixels after.
    """
    axis = torch.eye(size, dtype=torch.float64)[None, None]  # a column for each pixel
    resized = interpolate(axis, size=(to, size), mode="bicubic", antialias=True)
    return resized[0, 0].float()


def resized(images: Tensor, matrix: Tensor) -> Tensor:
    """Resize square images ``(n, c, S, S)`` by the matrix of one axis, to ``(n, c, s, s)``."""
    return matrix @ images @ matrix.T


class PatchDiscriminator(nn.Module):
    """Tells of every patch of 11 x 11 pixels which of several classes it is of.

    Five convolutions of 3 x 3 without padding, so that a patch is all that an output sees; after
    all but the last batch norm and a leaky ReLU.

    Laws (``tests/nn/test_patch_pyramid.py``): an output moves with the pixels of its patch and no
    others; several models in one give what each gives alone.

    Args:
        channels: Of the images.
        width: Of the layers between.
        classes: How many.
        seed: Of the weights.
        models: How many networks, side by side in groups of channels.

    Source:
        Sheynin et al., HTDG (ICCV 2021), after Shaham et al., SinGAN (ICCV 2019).
    """

    def __init__(self, channels: int, width: int, classes: int, seed: int, models: int = 1) -> None:
        super().__init__()
        with seeded(seed, "discriminator"):
            self.layers = _layers(channels, width, classes, models)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(n, classes, h - 10, w - 10)`` of images ``(n, c, h, w)``."""
        logits: Tensor = self.layers(images)
        return logits


class ResidualGenerator(nn.Module):
    """Adds detail to what coarser scales made.

    Args:
        channels: Of the images.
        width: Of the layers between.
        seed: Of the weights.
        models: How many networks, side by side in groups of channels.

    Source:
        Sheynin et al., HTDG (ICCV 2021): a further channel holds the number of the training image,
        the same everywhere.
    """

    def __init__(self, channels: int, width: int, seed: int, models: int = 1) -> None:
        super().__init__()
        self.models = check_at_least("models", models, 1)
        with seeded(seed, "generator"):
            self.layers = _layers(channels + 1, width, channels, models)

    def forward(self, noise: Tensor, before: Tensor, number: Tensor) -> Tensor:
        """Make images.

        Args:
            noise: As strong as it shall be, ``(n, c, h, w)``.
            before: What coarser scales made, in this size; 0 at the coarsest.
            number: Of the training image that each is to be like, ``(n,)``.

        Returns:
            ``(n, c, h, w)``; those of the finest detail are in [-1, 1], what comes before is added.

        Raises:
            ShapeError: The shapes do not fit.
        """
        sizes = check_shape("noise", noise, "n c h w")
        check_shape("before", before, "n c h w", **sizes)
        check_shape("number", number, "n", n=sizes["n"])
        which = number.to(noise)[:, None, None, None].expand(-1, 1, *noise.shape[2:])
        each = (noise + before).chunk(self.models, dim=1)
        seen = torch.cat([part for one in each for part in (one, which)], dim=1)
        detail: Tensor = self.layers(pad(seen, (BORDER,) * 4)).tanh()
        return detail + before


def _layers(channels: int, width: int, out: int, models: int) -> nn.Sequential:
    """Return the five convolutions; weights as in SinGAN: around 0, batch norm's around 1."""
    blocks: list[nn.Module] = []
    for place in range(LAYERS - 1):
        enter = channels if place == 0 else width
        convolution = nn.Conv2d(models * enter, models * width, 3, groups=models)
        norm = nn.BatchNorm2d(models * width)
        nn.init.normal_(convolution.weight, 0.0, SPREAD)
        nn.init.normal_(norm.weight, 1.0, SPREAD)
        blocks += [convolution, norm, nn.LeakyReLU(SLOPE)]
    last = nn.Conv2d(models * width, models * out, 3, groups=models)
    nn.init.normal_(last.weight, 0.0, SPREAD)
    return nn.Sequential(*blocks, last)
