"""A normalising flow over feature maps: coupling blocks that know where they are."""

import math

import torch
from torch import Tensor, nn

from fsad.errors import ConfigError, check_shape
from fsad.runtime.randomness import generator, seeded


def position_encoding(channels: int, height: int, width: int) -> Tensor:
    """Return waves of row and column, ``(1, channels, height, width)``.

    Args:
        channels: A multiple of 4: sine and cosine of both, at ``channels / 4`` wavelengths.
        height: Rows.
        width: Columns.

    Raises:
        ConfigError: ``channels`` is no multiple of 4.
    """
    if channels % 4:
        raise ConfigError(f"position channels: expected a multiple of 4, got {channels}")
    omega = 10_000.0 ** (-torch.arange(channels // 4) / (channels // 4))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = torch.cat([rows * omega[:, None, None], columns * omega[:, None, None]])
    return torch.cat([angles.sin(), angles.cos()])[None]


class Coupling(nn.Module):
    r"""One block: channels are shuffled, then each half is scaled and shifted by the other.

    .. math:: y_2 = x_2 \, e^{s(x_1, p)} + t(x_1, p), \quad y_1 = x_1 \, e^{s(y_2, p)} + t(y_2, p)

    with p the position encoding and s within ``clamp``. A learnt factor, 0 at first, multiplies s
    and t: the block starts as a shuffle.

    Law: the log-determinant is that of the Jacobian, summed over a map's positions.

    Args:
        channels: Of the features, even.
        condition: Of the position encoding.
        hidden: Of the convolutions between.
        kernel: Their size, odd.
        clamp: Bound of s.
        seed: Of the shuffle and the weights.

    Source:
        Dinh et al., Real NVP (2017); soft clamping as in FrEIA: s = clamp * 2/pi * atan(s/clamp).
    """

    shuffle: Tensor

    def __init__(
        self, channels: int, condition: int, hidden: int, kernel: int, clamp: float, seed: int
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ConfigError(f"flow channels: expected an even number, got {channels}")
        self.clamp = clamp
        order = generator(seed, "shuffle").permutation(channels)
        self.register_buffer("shuffle", torch.from_numpy(order))
        with seeded(seed, "coupling"):
            self.nets = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(channels // 2 + condition, hidden, kernel, padding=kernel // 2),
                    nn.LeakyReLU(),
                    nn.Conv2d(hidden, channels, kernel, padding=kernel // 2),
                )
                for _ in range(2)
            )
        self.gain = nn.Parameter(torch.zeros(2, channels, 1, 1))

    def forward(self, features: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Transform maps ``(n, c, h, w)``; return them and log-determinants ``(n, h, w)``."""
        first, second = features[:, self.shuffle].chunk(2, dim=1)
        second, volume = self._moved(0, second, first, condition)
        first, more = self._moved(1, first, second, condition)
        return torch.cat([first, second], dim=1), volume + more

    def _moved(
        self, number: int, half: Tensor, other: Tensor, condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        condition = condition.expand(other.shape[0], -1, -1, -1)
        seen = self.nets[number](torch.cat([other, condition], dim=1))
        scale, shift = (self.gain[number] * seen).chunk(2, dim=1)
        scale = self.clamp * (2 / math.pi) * torch.atan(scale / self.clamp)
        return half * scale.exp() + shift, scale.sum(dim=1)


class Flow(nn.Module):
    """Coupling blocks in a row, conditioned on the position.

    Args:
        channels: Of the features, even.
        grid: Height and width of the maps.
        hidden: Of the couplings' convolutions.
        kernels: Sizes of the convolutions, one for each block.
        clamp: Bound of the log-scales of a block.
        condition: Channels of the position encoding.
        seed: Of everything.
    """

    position: Tensor

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        hidden: int,
        kernels: tuple[int, ...],
        clamp: float,
        condition: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.register_buffer("position", position_encoding(condition, *grid), persistent=False)
        self.blocks = nn.ModuleList(
            Coupling(channels, condition, hidden, kernel, clamp, seed + number)
            for number, kernel in enumerate(kernels)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Transform maps ``(n, c, h, w)`` towards a normal distribution.

        Returns:
            The maps, and the log-determinants of the Jacobian by position, ``(n, h, w)``.
        """
        check_shape("features", features, "n c h w", h=self.position.shape[2])
        volume = torch.zeros(1, 1, 1, device=features.device, dtype=features.dtype)
        for block in self.blocks:
            features, more = block(features, self.position.to(features.dtype))
            volume = volume + more
        return features, volume
