"""A bank of axes: from batches what comes from all rows at once."""

import pytest
import torch
from torch.testing import assert_close

from fsad.errors import BankError, ConfigError, NonFiniteError, ShapeError
from fsad.functional.subspace import principal_axes
from fsad.nn.memory_bank import MemoryBank
from fsad.nn.subspace_stream import SubspaceStream


def bank_of(*batches, variance=0.9):
    stream, bank = SubspaceStream("target", variance), MemoryBank("target")
    for batch in batches:
        stream.add(batch)
    stream.fill(bank)
    return bank


@pytest.fixture
def rows(normal):
    """Far from 0, as features may be."""
    return (100 + normal(200, 8) * torch.logspace(0, -1.5, 8)).float()


def test_the_bank_is_the_mean_and_the_axes_of_z_scored_rows(rows):
    bank = bank_of(rows)
    scored = (rows.double() - rows.double().mean()) / rows.double().std()
    axes = principal_axes(torch.cov(scored.T, correction=0), 0.9)
    assert_close(bank.rows.double(), torch.cat([scored.mean(0)[None], axes]), atol=1e-4, rtol=1e-4)
    assert_close(bank.mean.double(), rows.double().mean())
    assert_close(bank.std.double(), rows.double().std(), rtol=1e-6, atol=0)


def test_neither_batches_nor_their_order_matter(rows):
    known = bank_of(rows)
    for batches in (rows.split(7), reversed(rows.split(50)), [rows[:0], rows]):
        found = bank_of(*batches)
        assert_close(found.rows, known.rows, atol=1e-6, rtol=1e-6)
        assert_close((found.mean, found.std), (known.mean, known.std))


def test_what_no_bank_can_be_made_of_is_refused(rows):
    with pytest.raises(BankError, match="bank 'target': expected features to keep, got none"):
        bank_of(rows[:0])
    with pytest.raises(BankError, match="expected features that vary"):
        bank_of(torch.ones(9, 4))
    with pytest.raises(BankError, match="expected features that vary, got the same everywhere"):
        bank_of(torch.arange(4.0).repeat(9, 1))
    with pytest.raises(BankError, match="expected a subspace that leaves something over"):
        bank_of(rows[:, :3], variance=0.9999)
    with pytest.raises(NonFiniteError, match="target features: expected finite numbers, got NaN"):
        bank_of(rows, rows * float("nan"))
    with pytest.raises(ShapeError, match=r"features: expected .*c"):
        bank_of(rows, rows[:, :3])
    with pytest.raises(ConfigError, match="target variance: expected a number above 0 and below 1"):
        SubspaceStream("target", 1)
