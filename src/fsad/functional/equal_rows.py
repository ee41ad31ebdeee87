r"""Which of a bank's equal rows are neighbours: those with the lowest indices.

A search that keeps only some of many equally near rows leaves open which. What is made of them (a
hypergraph's, say, in which equal rows have different hyperedges) would then depend on how a library
sorts, and differ between a run and the program exported from it.

Shapes: ``q`` queries, ``b`` bank rows, ``c`` channels, ``k`` neighbours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class EqualRows:
    """The rows of a bank in groups of equal ones; most groups are of one row.

    Attributes:
        order: Bank indices group by group, ascending within each, ``(b,)``.
        first: Where in ``order`` a row's group begins, ``(b,)``.
        place: Where in ``order`` a row itself stands, ``(b,)``.
    """

    order: Tensor
    first: Tensor
    place: Tensor

    def lowest(self, indices: Tensor, own: Tensor | None = None) -> Tensor:
        """Put the lowest equal rows in the place of those found.

        Of m equal rows among a query's neighbours, the first becomes the lowest of its group, the
        second the second lowest, and so on.

        Args:
            indices: Bank indices, different ones for each query, ``(q, k)``.
            own: One bank row per query that is no neighbour, ``(q,)``.

        Returns:
            Bank indices of rows that equal those of ``indices``, ``(q, k)``.
        """
        first = self.first[indices]
        columns = first.unbind(dim=1)
        passed = [first[:, :k].eq(column[:, None]).sum(dim=1) for k, column in enumerate(columns)]
        there = first + torch.stack(passed, dim=1)
        if own is not None:  # of its own group the query's row is left out
            same, place = self.first[own][:, None] == first, self.place[own][:, None]
            there = there + (same & (place <= there)).long()
        return self.order[there]


@torch.no_grad()
def equal_rows(rows: Tensor, norms: Tensor) -> EqualRows | None:
    """Find a bank's equal rows.

    Args:
        rows: The bank, ``(b, c)``.
        norms: Of each row a number that equal rows share, and few others, ``(b,)``.

    Returns:
        The groups; None where no two rows are equal.

    Note:
        Sorts ``b`` numbers, and of the rows only those that share their number with another.
    """
    ascending = norms.sort()
    alike = ascending.values[1:] == ascending.values[:-1]
    none = alike.new_zeros(1)
    shared = ascending.indices[torch.cat([alike, none]) | torch.cat([none, alike])].sort().values
    if not len(shared):
        return None
    kinds = torch.unique(rows[shared].to(norms.dtype), dim=0, return_inverse=True)[1]
    if int(kinds.max()) + 1 == len(shared):
        return None
    groups = torch.arange(len(rows), device=rows.device)
    groups[shared] = len(rows) + kinds
    order = groups.argsort(stable=True)
    sizes = torch.unique(groups, return_counts=True)[1]
    begins = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    first, place = torch.empty_like(order), torch.empty_like(order)
    first[order], place[order] = begins, torch.arange(len(rows), device=rows.device)
    return EqualRows(order, first, place)
