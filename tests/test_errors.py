import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from fsad.errors import (
    BankError,
    ConfigError,
    DataError,
    FsadError,
    MissingDataError,
    NonFiniteError,
    OutputError,
    RunError,
    ShapeError,
    WeightsError,
    check_at_least,
    check_bool,
    check_even,
    check_finite,
    check_fraction,
    check_not_negative,
    check_positive,
    check_shape,
    is_finite,
    message_of,
)

WHOLE = "expected a whole number of at least"


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (ConfigError, ValueError),
        (ShapeError, ValueError),
        (DataError, ValueError),
        (MissingDataError, FileNotFoundError),
        (WeightsError, RuntimeError),
        (BankError, RuntimeError),
        (NonFiniteError, ArithmeticError),
        (OutputError, OSError),
        (RunError, RuntimeError),
    ],
)
def test_every_error_is_ours_and_the_builtin_that_callers_expect(error, builtin):
    assert issubclass(error, FsadError)
    assert issubclass(error, builtin)
    assert str(error("x: expected a, got b")) == "x: expected a, got b"


def test_every_axis_is_measured_by_name():
    sizes = check_shape("features", torch.zeros(2, 3, 4, 5), "n c h w", c=3)
    assert sizes == {"n": 2, "c": 3, "h": 4, "w": 5}


@pytest.mark.parametrize(
    ("axes", "known", "message"),
    [
        ("n c h w", {}, r"features: expected \(n, c, h, w\), got \(4, 6\)"),
        ("v", {}, r"features: expected \(v,\), got \(4, 6\)"),
        ("v c", {"c": 5}, r"features: expected \(v, c\) with c=5, got \(4, 6\)"),
        ("v c", {"v": 4, "c": 5}, r"features: expected \(v, c\) with v=4, c=5, got \(4, 6\)"),
        ("c", {"c": 6, "n": 1}, r"features: expected \(c,\) with c=6, got \(4, 6\)"),
    ],
)
def test_another_shape_is_refused_with_both(axes, known, message):
    with pytest.raises(ShapeError, match=rf"^{message}$"):
        check_shape("features", torch.zeros(4, 6), axes, **known)


@pytest.mark.parametrize("value", [0, 1, 0.25, 1.0])
def test_a_fraction_comes_back_as_a_float(value):
    assert check_fraction("alpha", value) == value
    assert isinstance(check_fraction("alpha", value), float)


@pytest.mark.parametrize("value", [-0.1, 1.3, float("nan"), float("inf"), "a", None, True])
def test_what_is_no_fraction_is_refused_verbatim(value):
    with pytest.raises(ConfigError) as caught:
        check_fraction("alpha", value)
    assert str(caught.value) == f"alpha: expected a number in [0, 1], got {value!r}"


def test_a_whole_number_at_its_least_comes_back():
    assert check_at_least("shots", 1, 1) == 1


@pytest.mark.parametrize("value", [0, -3, 1.0, "2", None, True])
def test_what_is_no_whole_number_of_at_least_the_least_is_refused_verbatim(value):
    with pytest.raises(ConfigError) as caught:
        check_at_least("shots", value, 1)
    assert str(caught.value) == f"shots: {WHOLE} 1, got {value!r}"


@pytest.mark.parametrize(
    ("check", "least", "bad"),
    [(check_positive, 1e-12, (0, -1.0)), (check_not_negative, 0, (-1e-12, -1))],
)
def test_a_number_too_small_not_finite_or_none_is_refused_verbatim(check, least, bad):
    assert check("std", least) == least
    assert isinstance(check("std", least), float)
    wanted = "above 0" if check is check_positive else "of at least 0"
    for value in (*bad, float("nan"), float("inf"), "a", None, True):
        with pytest.raises(ConfigError) as caught:
            check("std", value)
        assert str(caught.value) == f"std: expected a number {wanted}, got {value!r}"


def test_only_a_finite_number_is_one():
    assert check_finite("threshold", 3) == 3.0
    for value in (float("nan"), float("-inf"), 10**400, "3", None, True):
        assert not is_finite(value)
        with pytest.raises(ConfigError) as caught:
            check_finite("threshold", value)
        assert str(caught.value) == f"threshold: expected a finite number, got {value!r}"


def test_an_even_number_comes_back_and_an_odd_one_is_refused():
    assert check_even("knn", 2) == 2
    with pytest.raises(ConfigError, match=rf"^knn: {WHOLE} 2, got 0$"):
        check_even("knn", 0)
    message = r"^knn: expected an even number, half per domain, got 3$"
    with pytest.raises(ConfigError, match=message):
        check_even("knn", 3)


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_come_back(value):
    assert check_bool("maps", value) is value


@pytest.mark.parametrize("value", [0, 1, "false", None, 0.5])
def test_what_is_neither_true_nor_false_is_refused_verbatim(value):
    with pytest.raises(ConfigError) as caught:
        check_bool("maps", value)
    assert str(caught.value) == f"maps: expected true or false, got {value!r}"


LINE = "root/xyz/017.tiff: expected (H, W, 3), got (4, 4)"
ERRORS = (DataError, MissingDataError, ValueError)


class Broken(Dataset):
    """A dataset none of whose samples can be read."""

    def __len__(self):
        return len(ERRORS)

    def __getitem__(self, index):
        raise ERRORS[index](LINE)


def test_the_message_of_a_workers_error_is_the_line_it_was_raised_with():
    samples = iter(DataLoader(Broken(), num_workers=1))
    for error in ERRORS:
        with pytest.raises(error) as caught:
            next(samples)
        assert len(str(caught.value).splitlines()) > 1  # the worker's traceback is there
        assert message_of(caught.value) == LINE
    assert next(samples, None) is None  # exhausted, so that the worker ends


def test_the_message_of_an_error_is_its_first_line_or_else_its_type():
    assert (
        message_of(ValueError("  one: expected a: b, got c\ntwo\n")) == "one: expected a: b, got c"
    )
    assert message_of(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert message_of(RuntimeError("  ")) == "RuntimeError"
