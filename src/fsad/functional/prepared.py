"""A bank with what every search of it needs, computed once.

Shapes: ``b`` bank rows, ``c`` channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fsad.errors import NonFiniteError, ShapeError, check_shape
from fsad.functional import screen
from fsad.functional.equal_rows import EqualRows, equal_rows
from fsad.functional.screen import Codes

PREPARE_CHUNK = 256  # rows that stay in the processor's cache
CENTRE_ROWS = 1024  # enough to find the bank's middle, which need not be exact
LARGEST = 1e36  # squared norm; no sum that a search makes of smaller ones overflows in float32


@dataclass(frozen=True, eq=False)
class PreparedBank:
    """A bank with what a search needs of it, so that searching it again costs only the search.

    Made by :func:`prepare`. The rows are not copied: whoever changes them has to prepare anew.

    Attributes:
        rows: The bank, ``(b, c)``.
        centre: A point amid the rows, ``(c,)``.
        norms: Squared distance of every row to ``centre``, ``(b,)``.
        codes: The rows about ``centre`` in 8 bits, where that makes searching faster.
        equal: Which rows are equal; None where no two are.
    """

    rows: Tensor
    centre: Tensor
    norms: Tensor
    codes: Codes | None = None
    equal: EqualRows | None = None


@torch.no_grad()
def prepare(bank: Tensor | PreparedBank) -> PreparedBank:
    """Prepare a bank that will be searched more than once.

    Args:
        bank: Bank features, ``(b, c)``; a prepared bank is returned as it is.

    Raises:
        ShapeError: ``bank`` has other axes, no rows or no channels.
        NonFiniteError: A row is NaN, infinite or longer than 1e18.

    Note:
        One pass over the bank in bounded memory, and another over rows that may be equal;
        ``b + c`` numbers are kept beside it (``3 b`` more where rows are equal), and on processors
        that multiply 8-bit integers fast its codes, a quarter of a float32 bank, with four more
        numbers per row.
    """
    return bank if isinstance(bank, PreparedBank) else prepare_anew(bank, keep_codes=True)


def prepare_anew(bank: Tensor, *, keep_codes: bool) -> PreparedBank:
    """Prepare a bank as :func:`prepare` does, with codes only if it will be searched again."""
    rows, channels = check_shape("bank", bank, "b c").values()
    if not rows or not channels:
        raise ShapeError(
            f"bank: expected at least one row and one channel, got {tuple(bank.shape)}. "
            "Look at what made the features."
        )
    dtype = torch.promote_types(bank.dtype, torch.float32)
    centre = bank[:: rows // CENTRE_ROWS + 1].to(dtype).mean(dim=0)
    norms = centre.new_empty(rows)
    codes = Codes.empty(rows, channels) if keep_codes and can_screen(centre) else None
    for start in range(0, rows, PREPARE_CHUNK):
        piece = slice(start, start + PREPARE_CHUNK)
        part = bank[piece].to(dtype) - centre
        torch.linalg.vector_norm(part, dim=1, out=norms[piece])
        if codes is not None:
            screen.quantise(part, out=codes[piece])
    norms.square_()
    check_finite("bank", norms.maximum(torch.linalg.vector_norm(centre).square()))
    return PreparedBank(bank, centre, norms, codes, equal_rows(bank, norms))


def can_screen(values: Tensor) -> bool:
    """Tell whether rows like these are coded in 8 bits on this machine."""
    on_cpu = values.device.type == "cpu" and values.dtype == torch.float32
    return on_cpu and bool(torch.backends.mkldnn.enabled) and screen.int8_is_fast()


def coded_blocks(bank: PreparedBank) -> Iterator[Codes]:
    """Yield the bank's codes, block by block; the next block may overwrite it."""
    if bank.codes is not None:
        for start in range(0, len(bank.rows), screen.BLOCK):
            yield bank.codes[start : start + screen.BLOCK]
        return
    room = Codes.empty(screen.BLOCK, bank.rows.shape[1])
    for rows in torch.split(bank.rows, screen.BLOCK):
        for start in range(0, len(rows), PREPARE_CHUNK):
            piece = slice(start, min(start + PREPARE_CHUNK, len(rows)))
            screen.quantise(rows[piece].to(bank.centre.dtype) - bank.centre, out=room[piece])
        yield room[: len(rows)]


def check_finite(name: str, norms: Tensor) -> None:
    """Refuse features that are not finite, or so large that what is made of them may not be.

    Args:
        name: What they are.
        norms: Their squared norms, ``(n,)``.

    Raises:
        NonFiniteError: Some are above ``LARGEST``, the square of 1e18.
    """
    bad = ~(norms <= LARGEST)  # NaN is bad
    if bool(bad.any()):
        raise NonFiniteError(
            f"{name}: expected finite features below 1e18, got {int(bad.sum())} of {len(norms)} "
            "rows that are not. Look for broken images, or for a training that diverged."
        )
