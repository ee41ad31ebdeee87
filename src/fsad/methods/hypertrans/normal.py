"""Scores of patches against both banks, beyond what the shots score themselves if asked for."""

from torch import Tensor

from fsad.errors import ConfigError
from fsad.functional.distance import nearest
from fsad.functional.held_out import Scale, held_out_neighbours
from fsad.functional.prepared import PreparedBank
from fsad.methods.hypertrans.settings import Plus

# Both chosen on generated data of another seed than the tables': docs/methods.md.
TWINS = 3  # patches of the shots that tell what is normal where a query lies
MOSTLY = 0.75  # share of the shots' patches whose distance to the source says nothing


class NormalScores:
    r"""Nearest distances to both banks (eqs. 12-17), and what ``plus`` makes of them.

    With :math:`d_s(q)` the distance of a patch to the source bank, :math:`t_i(q)` the ``TWINS``
    patches of the shots nearest to it and u the upper quartile of :math:`d_s` over the shots'
    patches, ``excess`` scores

    .. math:: d_s(q) - \frac{1}{3} \sum_i \max(0, d_s(t_i(q)) - u)

    in place of :math:`d_s(q)`. Where the sensors differ more than they mostly do, what a normal
    patch has of it counts for nothing; where they differ less, nothing is added.
    ``calibrate`` turns either domain's score x into :math:`(x - m) / s`, with m the median and s
    the robust deviation of what the shots score, each held out of the target bank.

    Law: with all off these are :func:`~fsad.functional.scoring.patch_scores`.

    Args:
        source: Source bank, as queries are compared with it.
        target: Target bank, likewise.
        plus: What is asked for.
        shots: How many images the target bank holds, and the grid of their patches.

    Raises:
        ConfigError: ``calibrate`` is asked for with a target bank that does not hold every patch.
    """

    def __init__(
        self,
        source: PreparedBank,
        target: PreparedBank,
        plus: Plus,
        shots: tuple[int, tuple[int, int]],
    ) -> None:
        self.source, self.target, self.plus = source, target, plus
        self._twins = min(TWINS, len(target.rows)) if plus.excess else 1
        self._of_target = self._gap = None
        if plus.excess or plus.calibrate:
            self._of_target = nearest(target.rows, source)[0][:, 0]
            self._gap = (self._of_target - self._of_target.quantile(MOSTLY)).clamp(min=0)
        self._scales: tuple[Scale, Scale] | None = None
        if plus.calibrate:
            count, grid = shots
            if count * grid[0] * grid[1] != len(target.rows):
                raise ConfigError(
                    "method.plus.calibrate: expected method.banks.target_ratio of 1, got a bank "
                    f"of {len(target.rows)} rows, no whole number of images"
                )
            assert self._of_target is not None
            held_out = held_out_neighbours(target.rows, count, grid, self._twins)
            of_source = self._excess(self._of_target, held_out.indices)
            self._scales = Scale.of(of_source), Scale.of(held_out.distances[:, 0])

    def _excess(self, of_source: Tensor, twins: Tensor) -> Tensor:
        if not self.plus.excess:
            return of_source
        assert self._gap is not None
        return of_source - self._gap[twins].mean(dim=1)

    def score(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Score patches ``(q, c)`` against the source and against the target, ``(q,)`` each."""
        of_target, twins = nearest(queries, self.target, self._twins)
        scores = self._excess(nearest(queries, self.source)[0][:, 0], twins), of_target[:, 0]
        if self._scales is None:
            return scores
        source, target = self._scales
        return source.applied(scores[0]), target.applied(scores[1])
