"""Normal variation: which normal patches a patch is like, and what of the difference is unusual."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fsad.errors import check_at_least, check_fraction, check_shape
from fsad.functional.chunks import chunk_size, in_chunks


class Matches(NamedTuple):
    """The normal patches that are most like some patches.

    Attributes:
        cosine: Of each patch and its k nearest, the nearest first, ``(p, k)``, in [-1, 1].
        rows: Which normal patches these are, ``(p, k)``, int64.
    """

    cosine: Tensor
    rows: Tensor

    @property
    def similarity(self) -> Tensor:
        """How normal the patches look, ``(p,)``, in [0, 1]; higher = more normal."""
        return (1 + self.cosine[:, 0]) / 2


def match_normal(features: Tensor, normal: Tensor, neighbours: int = 12) -> Matches:
    r"""Find the normal patches that are most like each patch.

    .. math:: s_n(f) = \max_q \tfrac12 \big(1 + \cos(f, n_q)\big)

    Laws (``tests/functional/test_variation.py``): a normal patch has similarity 1; the length of a
    feature is of no account; the order of the normal patches changes nothing but the numbers of
    the rows.

    Args:
        features: ``(p, c)``.
        normal: Features of normal patches, ``(b, c)``, at least one.
        neighbours: How many, k; of fewer normal patches all.

    Raises:
        ShapeError: The numbers of channels differ.
        ConfigError: ``neighbours`` is below 1.

    Source:
        IDEAL (arXiv 2605.23231): matching of normal references.

    Examples:
        >>> import torch
        >>> found = match_normal(torch.tensor([[2.0, 0.0]]), torch.eye(2), neighbours=1)
        >>> found.rows.tolist(), found.similarity.tolist()
        ([[0]], [1.0])
    """
    channels = check_shape("features", features, "p c")["c"]
    rows = check_shape("normal", normal, "b c", c=channels)["b"]
    count = min(check_at_least("neighbours", neighbours, 1), rows)
    cosine = normalize(features, dim=1) @ normalize(normal, dim=1).T
    return Matches(*cosine.clamp(-1, 1).topk(count, dim=1))


def erase_normal_variation(
    features: Tensor,
    normal: Tensor,
    matches: Matches,
    rank: int = 4,
    strength: float = 0.8,
) -> Tensor:
    r"""Take from each patch what normal patches of its kind explain, and most of how they vary.

    With the k matches :math:`n_j` of a patch f and weights w, the softmax of their cosines:

    .. math::
        c = \sum_j w_j n_j, \quad X_j = \sqrt{w_j}\,(n_j - c), \quad
        \tilde f = (f - c) - \alpha\, U U^\top (f - c)

    where the columns of U are the first r principal directions of the rows of X. U is never formed,
    nor a matrix of c x c: with the eigenvectors V and eigenvalues of the k x k matrix
    :math:`X X^\top` it is :math:`U U^\top = X^\top V \Lambda^{-1} V^\top X`. Directions in which
    the matches do not differ are left out.

    Laws (``tests/functional/test_variation.py``):

    * With a strength of 1 nothing is left in the span of U, with 0 it is :math:`f - c`.
    * A patch whose matches are all equal to it has the residual 0, rounding or not.
    * It equals a loop over patches with an eigendecomposition of c x c each, to 1e-5 in float64.

    Args:
        features: ``(p, c)``.
        normal: Features of normal patches, ``(b, c)``.
        matches: What :func:`match_normal` found for them.
        rank: Directions that are erased, r, 0 or more.
        strength: How much of them, alpha, in [0, 1].

    Returns:
        Residuals, ``(p, c)``, in the unit of the features.

    Raises:
        ShapeError: The shapes do not fit.
        ConfigError: ``rank`` or ``strength`` is out of range.

    Note:
        Holds k rows of c numbers for each patch of a chunk; 1024 patches of 384 channels take some
        50 ms on one core.

    Source:
        IDEAL (arXiv 2605.23231), eqs. (1)-(4). Departure: directions of no variance are left out,
        where an added 1e-8 makes them noise.
    """
    sizes = check_shape("features", features, "p c")
    check_shape("normal", normal, "b c", c=sizes["c"])
    neighbours = check_shape("matches", matches.rows, "p k", p=sizes["p"])["k"]
    check_at_least("rank", rank, 0)
    check_fraction("strength", strength)
    bytes_each = 3 * neighbours * sizes["c"] * features.element_size()

    def erase(piece: slice) -> Tensor:
        matched = Matches(matches.cosine[piece], matches.rows[piece])
        return _erase(features[piece], normal, matched, min(rank, neighbours), strength)

    if torch.compiler.is_exporting():  # a graph does not ask how many there are
        return erase(slice(None))
    size = chunk_size(bytes_each, features.device)
    parts = list(in_chunks(sizes["p"], size, erase, "patches"))
    return torch.cat(parts) if parts else features


def _erase(
    features: Tensor, normal: Tensor, matches: Matches, rank: int, strength: float
) -> Tensor:
    near = normal[matches.rows]  # (p, k, c)
    weights = matches.cosine.softmax(dim=1)  # (p, k)
    centre = torch.bmm(weights[:, None], near)[:, 0]  # eq. (1)
    residual = _beyond_rounding(features - centre, centre, weights.shape[1])  # eq. (2)
    if rank == 0 or strength == 0:
        return residual
    spread = near.sub_(centre[:, None]).mul_(weights.sqrt()[:, :, None])  # X, (p, k, c)
    values, vectors = torch.linalg.eigh(spread @ spread.transpose(1, 2))  # ascending
    values, vectors = values[:, -rank:], vectors[:, :, -rank:]
    # eq. (4): products with X alone
    within = vectors.transpose(1, 2) @ (spread @ residual[:, :, None])  # (p, r, 1)
    back = vectors @ (_reciprocal(values, centre, weights.shape[1])[:, :, None] * within)
    return residual - strength * torch.bmm(back.transpose(1, 2), spread)[:, 0]


def _beyond_rounding(residual: Tensor, centre: Tensor, count: int) -> Tensor:
    """Return residuals; 0 for those that rounding alone makes other than 0.

    The direction of such a one is noise, and directions are what is scored.
    """
    rounding = count * torch.finfo(residual.dtype).eps
    is_seen = residual.norm(dim=1, keepdim=True) > rounding * centre.norm(dim=1, keepdim=True)
    return torch.where(is_seen, residual, 0.0)


def _reciprocal(values: Tensor, centre: Tensor, count: int) -> Tensor:
    """Invert eigenvalues; of those that rounding alone makes other than 0, 0."""
    rounding = count * torch.finfo(values.dtype).eps
    size = centre.square().sum(dim=1, keepdim=True)
    is_seen = values > rounding * torch.maximum(values[:, -1:], rounding * size)
    return torch.where(is_seen, values, torch.inf).reciprocal()
