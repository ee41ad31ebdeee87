"""Scores of patches against both banks, less what the shots' like have if asked for."""

from torch import Tensor

from fsad.functional.distance import nearest
from fsad.functional.prepared import PreparedBank
from fsad.methods.hypertrans.settings import Extensions

# Both chosen on generated data of another seed than the tables': docs/methods.md.
TWINS = 3  # patches of the shots that tell what is normal where a query lies
MOSTLY = 0.75  # share of the shots' patches whose distance to the source says nothing


class CorrectedScores:
    r"""Nearest distances to both banks (eqs. 12-17), and what ``plus`` makes of them.

    With :math:`d_s(q)` the distance of a patch to the source bank, :math:`t_i(q)` the ``TWINS``
    patches of the shots nearest to it and u the upper quartile of :math:`d_s` over the shots'
    patches, ``excess`` scores

    .. math:: d_s(q) - \frac{1}{3} \sum_i \max(0, d_s(t_i(q)) - u)

    in place of :math:`d_s(q)`. Where the sensors differ more than they mostly do, what a normal
    patch has of it counts for nothing; where they differ less, nothing is added.

    Law: with it off these are :func:`~fsad.functional.scoring.patch_scores`.

    Args:
        source: Source bank, as queries are compared with it.
        target: Target bank, likewise.
        plus: What is asked for.
    """

    def __init__(self, source: PreparedBank, target: PreparedBank, plus: Extensions) -> None:
        self.source, self.target = source, target
        self._gap: Tensor | None = None
        if plus.excess:
            of_target = nearest(target.rows, source)[0][:, 0]
            self._gap = (of_target - of_target.quantile(MOSTLY)).clamp(min=0)
        self._twins = 1 if self._gap is None else min(TWINS, len(target.rows))

    def score(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Score patches ``(q, c)`` against the source and against the target, ``(q,)`` each."""
        of_target, twins = nearest(queries, self.target, self._twins)
        of_source = nearest(queries, self.source)[0][:, 0]
        if self._gap is not None:
            of_source = of_source - self._gap[twins].mean(dim=1)
        return of_source, of_target[:, 0]
