"""One Gaussian per position, from few samples: PaDiM's model with a shrunk covariance."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from fsad.errors import check_fraction, check_odd, check_positive, check_shape

FLOOR = 1e-3  # of the mean variance: so much every position has, however flat its samples


def windows(features: Tensor, size: int) -> Tensor:
    """Gather the features around every position; outside the grid is its nearest cell.

    Args:
        features: ``(n, c, h, w)``.
        size: Height and width of the window, odd.

    Returns:
        ``(h * w, n * size * size, c)``.
    """
    sizes = check_shape("features", features, "n c h w")
    margin = check_odd("size", size) // 2
    around = pad(features, (margin,) * 4, mode="replicate").unfold(2, size, 1).unfold(3, size, 1)
    samples = around.permute(2, 3, 0, 4, 5, 1)  # (h, w, n, size, size, c)
    return samples.reshape(sizes["h"] * sizes["w"], -1, sizes["c"])


@dataclass(frozen=True)
class PositionGaussians:
    r"""Gaussians by position, kept as their samples: m of them, c channels, m far below c.

    With S the samples' covariance (divided by m) and :math:`\mu` its mean variance,

    .. math:: \Sigma = (1 - \lambda) S + \lambda \mu I = a I + b X^\top X

    for the centred samples X, :math:`a = \lambda \mu` and :math:`b = (1 - \lambda) / m`. Its
    inverse needs an m x m matrix per position instead of a c x c one (Woodbury):

    .. math:: \Sigma^{-1} = \big(I - b X^\top (a I + b X X^\top)^{-1} X\big) / a

    Law: distances equal those of scikit-learn's ``ShrunkCovariance`` at every position whose
    variance is above the floor.

    Attributes:
        mean: ``(p, c)``.
        samples: Centred, ``(p, m, c)``.
        factor: Lower Cholesky factor of :math:`a I + b X X^\top`, ``(p, m, m)``.
        inverse: The factor's, for exported graphs: other programs solve no triangular system.
        a: ``(p,)``.
        b: The same at all positions.

    Source:
        Defard et al., PaDiM, ICPR 2021, eqs. (1) and (2), with shrinkage in place of
        :math:`\epsilon I` and of a random choice of channels.
    """

    mean: Tensor
    samples: Tensor
    factor: Tensor
    inverse: Tensor
    a: Tensor
    b: float

    @classmethod
    def fit(cls, samples: Tensor, shrinkage: float) -> "PositionGaussians":
        """Fit one Gaussian per position.

        Args:
            samples: ``(p, m, c)``; computed in float64.
            shrinkage: lambda, in (0, 1].

        Raises:
            ConfigError: ``shrinkage`` is out of range.
        """
        sizes = check_shape("samples", samples, "p m c")
        check_positive("shrinkage", check_fraction("shrinkage", shrinkage))
        samples = samples.double()
        mean = samples.mean(dim=1)
        centred = samples - mean[:, None]
        variance = centred.square().mean(dim=(1, 2))  # mu: the trace over c
        floor = FLOOR * variance.mean().clamp(min=torch.finfo(torch.float64).tiny)
        a = shrinkage * torch.maximum(variance, floor)
        b = (1 - shrinkage) / sizes["m"]
        small = b * centred @ centred.mT
        small.diagonal(dim1=1, dim2=2).add_(a[:, None])
        factor = torch.linalg.cholesky(small)
        identity = torch.eye(sizes["m"], dtype=factor.dtype, device=factor.device)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
        return cls(mean, centred, factor, inverse, a, b)

    def distances(self, features: Tensor) -> Tensor:
        """Measure how far features lie from the Gaussian of their position.

        Args:
            features: ``(n, p, c)``.

        Returns:
            Mahalanobis distances, ``(n, p)``, float64, 0 or more; higher = more anomalous.
        """
        check_shape("features", features, "n p c", p=len(self.mean), c=self.mean.shape[1])
        apart = features.double() - self.mean  # (n, p, c)
        along = torch.einsum("pmc,npc->pmn", self.samples, apart)
        if torch.compiler.is_exporting():
            solved = self.inverse @ along
        else:
            solved = torch.linalg.solve_triangular(self.factor, along, upper=False)
        explained = self.b * solved.square().sum(dim=1).T  # (n, p)
        squares = (apart.square().sum(dim=2) - explained) / self.a
        distances: Tensor = squares.clamp(min=0).sqrt()
        return distances
