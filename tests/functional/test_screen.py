"""Screening in 8 bits: its bound holds, and what it leaves out could not have been nearest."""

import pytest
import torch

from fsad.functional import screen
from fsad.functional.screen import BLOCK, GROUP, KEPT, Codes, int8_is_fast, quantise

PAIRS = (40, 300)


def plain_products(left, right, out):
    torch.mm(left.int(), right.int().T, out=out)


@pytest.fixture(autouse=True)
def exact_products(monkeypatch):
    """Exact products on every processor: what the fast ones lack is speed, elsewhere exactness."""
    if not int8_is_fast():
        monkeypatch.setattr(screen, "int8_products", plain_products)


def rows_of(kind, normal, uniform, channels=24):
    """Queries and bank rows, float32, both about the origin as if that were the centre."""
    both = normal(sum(PAIRS), channels)
    if kind == "outlier entries":
        both[uniform(*both.shape) < 0.02] *= 1e3
    elif kind == "outlier rows":
        both[::7] *= 1e6
    elif kind == "scales from 1e-20 to 1e10":
        both *= 10 ** (30 * uniform(len(both), 1) - 20)
    elif kind == "all tiny":
        both *= 1e-21
    elif kind == "constant rows":
        both = both[:, :1].expand(-1, channels)
    elif kind == "zero rows":
        both[::3] = 0
    elif kind == "duplicates":
        both = both[torch.arange(len(both)) % 50]
    elif kind == "all equal":
        both = both[:1].expand(len(both), -1)
    elif kind == "many channels":
        both = (normal(len(both), 1) + 0.01 * normal(len(both), 2000)).sign()
    return both.float().contiguous().split(PAIRS)


KINDS = [
    "spread",
    "outlier entries",
    "outlier rows",
    "scales from 1e-20 to 1e10",
    "all tiny",
    "constant rows",
    "zero rows",
    "duplicates",
    "all equal",
    "many channels",
]


def true_squares(queries, bank):
    """Squared distances less the query's squared length, in float64, which never enters."""
    return bank.double().square().sum(dim=1) - 2 * queries.double() @ bank.double().T


def coded(rows, size=BLOCK):
    return [quantise(part.clone()) for part in torch.split(rows, size)]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_leave_out_no_more_than_they_say(normal, uniform, kind):
    for rows in rows_of(kind, normal, uniform):
        codes = quantise(rows.clone())
        kept = codes.scales.double()[:, None] * codes.codes.double()
        exact = rows.double()
        assert (exact.norm(dim=1) <= codes.lengths.double()).all()
        assert ((exact - kept).norm(dim=1) <= codes.residuals.double()).all()
        assert codes.codes.abs().max() <= screen.LIMIT


def test_codes_of_ordinary_rows_leave_out_little(normal):
    codes = quantise(normal(100, 64).float())
    assert (codes.residuals <= 0.02 * codes.lengths).all()


def test_codes_are_written_where_asked(normal):
    rows, room = normal(20, 8).float(), Codes.empty(20, 8)
    for piece in (slice(0, 7), slice(7, 20)):
        quantise(rows[piece].clone(), out=room[piece])
    whole = quantise(rows.clone())
    for ours, theirs in zip(parts(room), parts(whole), strict=True):
        assert torch.equal(ours, theirs)


def parts(codes):
    return codes.codes, codes.scales, codes.squares, codes.lengths, codes.residuals


@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_further_off_than_its_bound(normal, uniform, kind, monkeypatch):
    queries, bank = rows_of(kind, normal, uniform)
    seen = []

    def add(_, values, factors, row_factors, __):
        seen.append((values.clone(), screen._errors(factors[:, None], row_factors)))

    monkeypatch.setattr(screen._Survivors, "add", add)
    monkeypatch.setattr(screen._Survivors, "ranked", lambda _: None)
    screen.screen(quantise(queries.clone()), coded(bank), 1)
    ((values, errors),) = seen
    off = (values[:, : len(bank)].double() - true_squares(queries, bank)).abs()
    assert (off <= errors[:, : len(bank)]).all()
    assert (values[:, len(bank) :] == torch.inf).all()


@pytest.mark.parametrize("size", [37, 128, BLOCK], ids="blocks-of-{}".format)
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_rows_are_among_those_left_and_their_bounds_hold(
    normal, uniform, kind, k, size
):
    queries, bank = rows_of(kind, normal, uniform)
    found = screen.screen(quantise(queries.clone()), coded(bank, size), k)
    if found is None:
        return  # leaving all to the full search is right as well; others test when it may
    true = true_squares(queries, bank)
    values, indices, lost = found
    assert (values.diff(dim=1).nan_to_num(posinf=0) >= 0).all()
    there = values.isfinite()
    assert torch.equal(there.any(dim=1), ~lost)
    below = true.gather(1, indices) >= values
    assert below[there].all()
    left = torch.zeros(true.shape, dtype=torch.bool)
    left[there.nonzero()[:, 0], indices[there]] = True
    assert torch.equal(left.sum(dim=1), there.sum(dim=1))  # no row twice
    kth = true.kthvalue(k, dim=1).values[:, None]
    assert ((true >= kth) | left | lost[:, None]).all()  # what is nearer than the k-th is there
    assert ((left & (true <= kth)).sum(dim=1) >= k)[~lost].all()


def test_few_rows_are_left_of_rows_that_differ(normal):
    bank = normal(300, 64).float()
    queries = bank[:40] + 0.01 * normal(40, 64).float()
    values, indices, lost = screen.screen(quantise(queries), coded(bank), 1)
    assert not lost.any()
    assert values.shape[1] < 4
    assert torch.equal(indices[:, 0], torch.arange(40))


def test_rows_that_do_not_count_are_never_left(normal):
    bank = normal(300, 24).float()
    codes, own = quantise(bank.clone()), torch.arange(300)
    found = screen.screen(codes, coded(bank, 64), 2, own)
    assert found is not None
    assert not (found.indices == own[:, None])[found.values.isfinite()].any()
    assert found.values.isfinite().sum(dim=1).min() >= 2


def test_queries_with_too_many_rows_in_question_are_lost_and_the_others_are_not(normal):
    twins = normal(1, 24).expand(2 * KEPT, -1) + 1e-4 * normal(2 * KEPT, 24)
    others = 10 * normal(100, 24)
    bank = torch.cat([twins, others]).float()
    queries = torch.cat([twins[:3], others[:7]]).float()
    found = screen.screen(quantise(queries), coded(bank), 1)
    assert found.lost.tolist() == [True] * 3 + [False] * 7
    assert (found.values[:3] == torch.inf).all()
    assert torch.equal(found.indices[3:, 0], torch.arange(2 * KEPT, 2 * KEPT + 7))


def test_queries_are_lost_as_well_where_the_rows_in_question_come_a_few_at_a_time(normal):
    far = 10 * normal(2, 24)
    bank = torch.cat([far, 5 + 1e-4 * normal(2 * KEPT, 24)]).float()
    _, indices, lost = screen.screen(quantise(bank[:3].clone()), coded(bank, 20), 1)
    assert lost.tolist() == [False, False, True]
    assert indices[:2, 0].tolist() == [0, 1]


def test_nothing_is_returned_where_most_queries_would_be_lost(normal):
    bank = normal(1, 24).float().expand(2 * KEPT, -1)
    assert screen.screen(quantise(bank[:9].clone()), coded(bank), 1) is None


def test_rows_that_a_later_block_outdoes_lose_no_query(normal):
    query, way = normal(1, 24).float(), normal(1, 24).float()
    steps = range(2 * KEPT // 20, -1, -1)
    bank = torch.cat([query + step * way + 1e-3 * normal(20, 24).float() for step in steps])
    _, indices, lost = screen.screen(quantise(query), coded(bank, 20), 1)
    assert not lost.any()
    assert (indices >= len(bank) - 20).all()


@pytest.mark.parametrize("large", ["queries", "bank"])
def test_products_that_could_overflow_are_left_to_the_full_search(normal, large):
    sides = {"queries": normal(4, 6).float(), "bank": normal(9, 6).float()}
    assert screen.screen(quantise(sides["queries"].clone()), coded(sides["bank"]), 1) is not None
    sides[large] *= 1e18
    assert screen.screen(quantise(sides["queries"]), coded(sides["bank"]), 1) is None


def test_sums_that_could_pass_32_bits_are_left_to_the_full_search(normal, monkeypatch):
    assert screen.WIDEST * screen.LIMIT**2 < 2**31
    monkeypatch.setattr(screen, "WIDEST", 5)
    assert screen.screen(quantise(normal(4, 6).float()), coded(normal(9, 6).float()), 1) is None


def test_products_of_integers_are_exact():
    left = torch.full((40, 3000), 127, dtype=torch.int8)
    right = torch.full((70, 3000), -127, dtype=torch.int8)
    out = torch.empty(40, 70, dtype=torch.int32)
    screen.int8_products(left, right, out)
    assert (out == -3000 * 127**2).all()


def test_a_row_cannot_be_measured_nearer_than_the_reach_of_its_bound(normal, uniform):
    for kind in KINDS:
        queries, bank = rows_of(kind, normal, uniform)
        measured = torch.linalg.vector_norm(queries[:, None] - bank, dim=2)
        of_each = measured.unbind(dim=1)
        codes = quantise(queries.clone())
        reach = torch.stack([screen.reach(each, codes) for each in of_each], dim=1)
        assert (true_squares(queries, bank) <= reach).all(), kind


def test_the_answer_is_no_where_pytorch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_vnni_supported", raising=False)
    assert int8_is_fast.__wrapped__() is False


@pytest.mark.parametrize("told", [True, False])
def test_the_answer_is_what_pytorch_tells_of_the_processor(monkeypatch, told):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: told, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(screen, "int8_products", plain_products)
    assert int8_is_fast.__wrapped__() is told


def test_the_answer_is_no_where_the_products_saturate(monkeypatch):
    """As where the library was told not to use the instructions that the processor has."""

    def products(left, right, out):
        pairs = (left.int() + 128)[:, None] * right.int()  # as unsigned by signed
        pairs = pairs[..., ::2] + pairs[..., 1::2]  # two of them are added up in 16 bits
        sums = pairs.clamp(-(2**15), 2**15 - 1).sum(dim=2)
        out.copy_(sums - 128 * right.int().sum(dim=1))

    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(screen, "int8_products", products)
    assert int8_is_fast.__wrapped__() is False


def test_the_answer_is_no_without_integer_products(monkeypatch):
    monkeypatch.delattr(torch, "_int_mm", raising=False)
    assert int8_is_fast.__wrapped__() is False


def test_a_block_is_whole_groups():
    assert BLOCK % (GROUP * screen.LANE) == 0
