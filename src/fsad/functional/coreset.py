"""Choosing the rows of a memory bank: greedy k-centre selection.

Shapes: ``v`` rows to choose from, ``b`` of them looked at together, ``c`` channels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fsad.errors import ConfigError, NonFiniteError, check_shape

CANDIDATES = 512  # rows of a round: few enough to stay in a processor's cache
ROW_CHUNK = 256  # of these, rows that are compared with earlier picks in one product
PICK_CHUNK = 2048  # earlier picks in one product
BURST = 32  # picks between two looks at whether a round goes on: a look makes a GPU wait
CPU_BURST = 1  # there a look is free, and a pick too many is not
UNSURE = 1e-3  # share of a squared distance; above it, rounding may have chosen the wrong pick


def k_center_greedy(
    features: Tensor,
    count: int,
    progress: Callable[[int], object] = lambda done: None,  # noqa: ARG005 (says what it gets)
) -> Tensor:
    r"""Pick rows one at a time, each the farthest from those picked before.

    The first pick is row 0; then

    .. math:: i_{t+1} = \arg\max_i \min_{s \le t} \|f_i - f_{i_s}\|

    and of equally far rows the one of the lowest index. No randomness is involved.

    A row's distance to its nearest pick only ever falls, so an old value is an upper bound. Each
    round takes the ``CANDIDATES`` rows of the largest bounds, brings those up to date, and picks
    among them for as long as the farthest lies beyond every bound outside. Rows near an early pick
    never come up again, and those that do are compared with many picks at once by matrix products.

    Laws:

    * The cover radius (the largest distance of a row to its nearest pick) never grows.
    * It is at most twice that of the best possible choice of ``count`` rows.
    * Picks are unique; ``count`` = all rows gives a permutation.
    * k picks from k well-separated clusters hit every cluster, if the clusters' gap exceeds their
      diameter.
    * Fewer picks are a prefix of more.

    Args:
        features: Rows to choose from, ``(v, c)``.
        count: How many to pick, 1 to ``v``.
        progress: Called with the number of picks made so far, once per round.

    Returns:
        Indices of the picks in the order they were made, ``(count,)``.

    Raises:
        ConfigError: ``count`` is out of range.
        NonFiniteError: A feature is NaN or infinite.

    Note:
        Cost is at most about ``count·v·c`` multiplications, all but ``count·CANDIDATES·c`` of them
        in matrix products; less where picks soon lie close to most rows. The transient memory is a
        copy of the picked rows, two vectors of length ``v`` and blocks of a few megabytes.

        Products only tell which pick is the nearest; its distance is then measured from the
        difference in float64, so equal rows tie exactly. Where rounding could have hidden a
        distinctly nearer pick, the products are repeated in float64.

    Source:
        Sener and Savarese, 2018; as used by PatchCore (Roth et al., 2022). Lazy bounds: Minoux,
        1978. The factor 2: Gonzalez, 1985.

    Examples:
        >>> import torch
        >>> import fsad
        >>> features = torch.tensor([[0.0], [1.0], [4.0], [10.0]])
        >>> fsad.k_center_greedy(features, 3).tolist()
        [0, 3, 2]
    """
    rows = check_shape("features", features, "v c")["v"]
    if not 1 <= count <= rows:
        raise ConfigError(f"coreset size: expected a number from 1 to {rows} rows, got {count}")
    selection = _Selection(features, count)
    progress(selection.made)
    while selection.made < count:
        selection.play_round()
        progress(selection.made)
    return selection.picks


class _Selection:
    """The picks made so far, and what is known of every row's distance to them.

    Attributes:
        picks: Indices of the picks; the first ``made`` are valid.
        made: How many picks there are.
        bound: At least each row's distance to its nearest pick, ``(v,)``; -1 for a pick.
        seen: How many picks each row's bound takes into account, ``(v,)``.
    """

    def __init__(self, features: Tensor, count: int) -> None:
        self.features, self.count = features, count
        self.dtype = torch.promote_types(features.dtype, torch.float32)  # of the products
        self.centre = features.mean(dim=0).double()  # keeps the cancellation in them small
        self.made = 0
        self.picks = torch.empty(count, dtype=torch.long, device=features.device)
        self.centred = features.new_empty(count, features.shape[1], dtype=self.dtype)
        self.norms = self.centred.new_empty(count)  # squared
        self.seen = self.picks.new_ones(len(features))
        first = features[:1].double()
        self.bound = torch.cat(
            [_distances(part.double(), first) for part in torch.split(features, PICK_CHUNK)]
        )
        if not bool(self.bound.isfinite().all()):
            raise NonFiniteError("features: expected finite numbers, got NaN or infinity")
        self.bound[0] = -1
        self._add(self.picks.new_zeros(1), first)

    def play_round(self) -> None:
        """Update the rows that may be the farthest, and pick those that surely are."""
        rows, limit, outside = self._candidates()
        features = self.features[rows].double()
        bound, vague = self._updated(features, self.bound[rows], self.seen[rows], limit)
        self.bound[rows] = self._extend(rows, features, bound, limit, outside)
        self.seen[rows] = self.seen[rows].where(vague, self.made)

    def _candidates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Find the rows of the largest bounds; of equal bounds, those of the lowest indices.

        Returns:
            The rows by index ``(b,)``, the largest bound of the others, and the first of the others
            that has it.
        """
        wanted = min(CANDIDATES, len(self.bound) - 1)
        limit = self.bound.topk(wanted + 1).values[-1]
        rows = (self.bound >= limit).nonzero()[:, 0]
        tied = self.bound[rows] == limit
        place = tied.cumsum(dim=0) - (wanted - (~tied).sum())  # above 0: no room for this one
        return rows[~tied | (place <= 0)], limit, rows[tied & (place == 1)]

    def _updated(
        self, features: Tensor, bound: Tensor, seen: Tensor, limit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Lower the candidates' bounds to their distances to the nearest pick.

        Args:
            features: The candidates in float64, ``(b, c)``.
            bound: Their bounds, ``(b,)``.
            seen: How many picks the bounds take into account, ``(b,)``.
            limit: The largest bound of the other rows.

        Returns:
            The bounds ``(b,)``, and for which of them rounding may have hidden a nearer pick,
            ``(b,)``: too low to be picked now, so that can wait.
        """
        vague = torch.zeros_like(bound, dtype=torch.bool)
        stale = ((seen < self.made) & (bound > 0)).nonzero()[:, 0]
        seen, order = seen[stale].sort()  # rows that missed about the same picks go together
        stale = stale[order]
        for chunk, first in enumerate(seen[::ROW_CHUNK].tolist()):
            part = stale[chunk * ROW_CHUNK : (chunk + 1) * ROW_CHUNK]
            distance = self._to_nearest(features[part], first, self.dtype)
            unsure = self._rounding(features[part], distance) > UNSURE * distance.square()
            vague[part] = unsure & (distance < limit)
            again = (unsure & ~vague[part]).nonzero()[:, 0]
            if len(again):
                distance[again] = self._to_nearest(features[part[again]], first, torch.float64)
            bound[part] = torch.minimum(bound[part], distance)
        return bound, vague

    def _to_nearest(self, features: Tensor, first: int, dtype: torch.dtype) -> Tensor:
        """Measure the distance of rows ``(b, c)`` to the nearest of the picks from ``first`` on."""
        centred = (features - self.centre).to(dtype)
        nearest = features.new_full((len(features),), torch.inf)
        for start in range(first, self.made, PICK_CHUNK):
            part = slice(start, min(start + PICK_CHUNK, self.made))
            picked, norms = self.centred[part], self.norms[part]
            if dtype != self.dtype:
                picked = self.features[self.picks[part]].to(dtype) - self.centre
                norms = picked.square().sum(dim=1)
            # ‖p‖² - 2 f·p orders a row's picks like the distance does
            closest = torch.addmm(norms, centred, picked.T, alpha=-2).min(dim=1).indices
            picked = self.features[self.picks[part][closest]].double()
            nearest = torch.minimum(nearest, _distances(features[:, None], picked[:, None])[:, 0])
        return nearest

    def _rounding(self, features: Tensor, distance: Tensor) -> Tensor:
        """Bound the products' rounding, in squared distance, for picks as far as ``distance``."""
        norms = (features - self.centre).square().sum(dim=1).sqrt() + distance  # also of the pick
        eps = torch.finfo(self.dtype).eps
        return 2 * eps * math.sqrt(features.shape[1]) * norms.square()

    def _extend(
        self, rows: Tensor, features: Tensor, bound: Tensor, limit: Tensor, outside: Tensor
    ) -> Tensor:
        """Pick among up-to-date candidates while no other row can be farther.

        Args:
            rows: The candidates' indices, ascending, ``(b,)``.
            features: The candidates in float64, ``(b, c)``.
            bound: Their distances to the nearest pick, ``(b,)``.
            limit: The largest bound of the other rows.
            outside: The lowest index of another row that has this bound, ``(1,)``.

        Returns:
            Their distances to the nearest pick by then, ``(b,)``; -1 for a pick.
        """
        burst = CPU_BURST if features.device.type == "cpu" else BURST
        while self.made < self.count:
            steps = min(burst, self.count - self.made)
            order = rows.new_empty(steps)
            farthest, distances = bound.new_empty(steps), bound.new_empty(steps, len(bound))
            trial = bound.clone()
            for step in range(steps):
                best = trial.argmax(keepdim=True)
                order[step], farthest[step] = best[0], trial[best][0]
                distances[step] = _distances(features, features[best])
                torch.minimum(trial, distances[step], out=trial)
                trial[best] = -1  # never again, even when only duplicates are left
            beyond = farthest > limit
            beyond |= (farthest == limit) & (rows[order] < outside)  # a tie that the index decides
            valid = int(beyond.long().cumprod(dim=0).sum())
            order = order[:valid]
            if valid:
                bound = torch.minimum(bound, distances[:valid].amin(dim=0))
                bound[order] = -1
                self._add(rows[order], features[order])
            if valid < steps:
                break
        return bound

    def _add(self, rows: Tensor, features: Tensor) -> None:
        """Note picks: their indices ``(k,)`` and their features in float64, ``(k, c)``."""
        part = slice(self.made, self.made + len(rows))
        self.picks[part] = rows
        self.centred[part] = features - self.centre
        self.norms[part] = self.centred[part].square().sum(dim=1)
        self.made += len(rows)


def _distances(rows: Tensor, row: Tensor) -> Tensor:
    """Measure ``‖rows - row‖`` from the differences: equal rows give equal bits, none is lost."""
    distances: Tensor = torch.cdist(rows, row, compute_mode="donot_use_mm_for_euclid_dist")
    return distances[..., 0]
