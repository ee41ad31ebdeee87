"""How an image is scored: by how surely each patch betrays how its image was changed."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from fsad.engine.scorer import Scorer
from fsad.errors import ConfigError
from fsad.functional.scoring import top_mean
from fsad.functional.warps import Warp, WarpTable, warp_table
from fsad.methods.shared.open_set.scorer import each_alone
from fsad.nn.adapter import CachedExtractor
from fsad.nn.patch_pyramid import (
    BORDER,
    PatchDiscriminator,
    ResidualGenerator,
    resize_matrix,
    resized,
    widths,
)
from fsad.scores.score_set import Scores

CHANNELS = 3


class ScaleNetworks(nn.Module):
    """The networks of one scale.

    Attributes:
        discriminator: Tells which transform a patch is of, or that it was made by the generator.
        generator: Makes images of this size out of such of the size below.
    """

    def __init__(self, width: int, transforms: int, seed: int) -> None:
        super().__init__()
        self.discriminator = PatchDiscriminator(CHANNELS, width, transforms + 1, seed)
        self.generator = ResidualGenerator(CHANNELS, width, seed)


class PyramidScorer(Scorer):
    r"""Scores images by the discriminators of all scales.

    With :math:`p_i` the probability that a patch of the image, changed by transform i, gives to i,
    a patch's score is :math:`1 - p_i`; an image's, at each scale, is the mean over transforms of
    the mean over the share of patches that score highest.

    Laws (``tests/methods/test_htdg.py``): with a share of 1 it is the plain mean; a score does not
    depend on the images beside it.

    Args:
        extractor: The pixels of images.
        ways: The transforms.
        sizes: Of the pyramid, the smallest first.
        share: Of the patches that count, in (0, 1].
        seed: Of the weights.

    Attributes:
        scales: The networks of each scale, the coarsest first.

    Raises:
        ConfigError: The images are smaller than the finest scale.

    Source:
        Sheynin et al., HTDG (ICCV 2021). The map is ours: votes are brought back to the pixels that
        they are about, averaged over transforms, and enlarged to the finest scale.
    """

    def __init__(
        self,
        extractor: CachedExtractor,
        ways: list[Warp],
        sizes: list[int],
        share: float,
        seed: int,
    ) -> None:
        super().__init__(extractor)
        self.sizes, self.share = sizes, share
        side = extractor.extractor.grid[0]
        if side < sizes[-1]:
            raise ConfigError(
                f"data.image_size: expected at least method.size={sizes[-1]}, got {side}. Take "
                "larger images, or a smaller method.size."
            )
        self.scales = nn.ModuleList(
            ScaleNetworks(width, len(ways), seed + number)
            for number, width in enumerate(widths(len(sizes)))
        )
        self._is_grey = tuple(way.grey for way in ways)
        for number, size in enumerate(sizes):
            self.register_buffer(f"_shrink{number}", resize_matrix(side, size), persistent=False)
            table = warp_table(ways, size)
            self.register_buffer(f"_places{number}", table.places, persistent=False)

    def table(self, scale: int) -> WarpTable:
        """Return the transforms of a scale's images."""
        places: Tensor = getattr(self, f"_places{scale}")
        return WarpTable(places, self._is_grey, self.sizes[scale])

    def networks(self, scale: int) -> ScaleNetworks:
        """Return the networks of a scale."""
        return self.scales[scale]  # type: ignore[return-value]

    def seen(self, images: Tensor, scale: int) -> Tensor:
        """Return images in [0, 1] as a scale's networks see them, ``(n, 3, h, w)`` in [-1, 1]."""
        shrink: Tensor = getattr(self, f"_shrink{scale}")
        return 2 * resized(self.extractor(images, "target"), shrink) - 1

    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images, a part for each scale."""
        return each_alone(self._scores, images)

    def _scores(self, images: Tensor) -> dict[str, Scores]:
        return {f"scale{scale}": self._at(images, scale) for scale in range(len(self.sizes))}

    def _at(self, images: Tensor, scale: int) -> Scores:
        table = self.table(scale)
        wrong = self.wrong(images, scale)  # (n * M, h - 10, w - 10)
        each = top_mean(wrong, self.share).view(-1, len(table))
        bordered = pad(wrong[:, None], (BORDER,) * 4, mode="replicate")[:, 0]
        back = table.back(bordered)[:, None]
        enlarged = interpolate(back, size=(self.sizes[-1],) * 2, mode="bilinear")
        return Scores(enlarged[:, 0], each.mean(dim=1))

    def wrong(self, images: Tensor, scale: int) -> Tensor:
        """Tell how far each patch is from betraying its transform, ``(n * M, h - 10, w - 10)``.

        Args:
            images: ``(n, 3, S, S)``, values in [0, 1].
            scale: Which.

        Returns:
            In [0, 1]; all transforms of an image together, in their order.
        """
        logits = self.networks(scale).discriminator(
            self.table(scale).apply(self.seen(images, scale))
        )
        probabilities = logits[:, :-1].softmax(dim=1)  # without the class of what is made
        transforms = probabilities.shape[1]
        own = torch.arange(transforms, device=images.device).repeat(images.shape[0])
        chosen = own[:, None, None, None].expand(-1, 1, *probabilities.shape[2:])
        right: Tensor = probabilities.gather(1, chosen)[:, 0]
        return 1 - right
