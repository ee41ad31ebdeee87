"""The errors a user can meet, and the checks that raise them.

Every message reads ``name: expected what, got what`` and, where it is known, the remedy in a second
sentence. Messages are one line, so that they survive a worker process and a log file.
"""

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that the command line's help need not wait for torch
    from torch import Tensor

_WORKER = "Caught "


class FsadError(Exception):
    """Any mistake that the user can mend; shown without a traceback.

    Args:
        args: The message. It names files, and a file's name may hold anything but ``/``: what
            cannot be shown in one line is escaped, as by :func:`printable`.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*map(_in_one_line, args))


class ConfigError(FsadError, ValueError):
    """A setting or an argument is out of range."""


class ShapeError(FsadError, ValueError):
    """A tensor has the wrong shape."""


class DataError(FsadError, ValueError):
    """A file is there but cannot be used."""


class MissingDataError(FsadError, FileNotFoundError):
    """A file or folder is not there."""


class WeightsError(FsadError, RuntimeError):
    """A backbone's weights cannot be had, or belong to another architecture."""


class BankError(FsadError, RuntimeError):
    """A memory bank was used before it was filled, or filled with what it cannot hold."""


class NonFiniteError(FsadError, ArithmeticError):
    """Features or a loss became NaN or infinite."""


class OutputError(FsadError, OSError):
    """A result cannot be written."""


class PackageError(FsadError, ImportError):
    """A package that is not always needed is not installed.

    Args:
        package: Its name.
        extra: Which of this program's extras brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package}: expected the package to be installed, got none. "
            f"Install it with: pip install 'fsad[{extra}]'"
        )


class RunError(FsadError, RuntimeError):
    """A run cannot start, go on or be read back as asked."""


def printable(text: str) -> str:
    r"""Return a text that any terminal and any UTF-8 file can hold, in one line.

    Line breaks and other characters that are not shown become escapes (``\n``), and so do the bytes
    of a file's name that is no UTF-8 (``\xff``).
    """
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def _in_one_line(arg: object) -> object:
    """Leave alone what a data-loading worker puts around a message: :func:`message_of` finds it."""
    if not isinstance(arg, str) or arg.startswith(_WORKER):
        return arg
    return printable(arg)


def _escape(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # how Python keeps a byte that it cannot decode
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode("ascii")


def message_of(error: BaseException) -> str:
    """Return an error's own line, without the traceback a data-loading worker wraps around it."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    if not lines[0].startswith(_WORKER):
        return lines[0]
    return lines[-1].split(": ", 1)[-1]  # "fsad.errors.DataError: the message"


def check_shape(name: str, tensor: "Tensor", axes: str, **sizes: int) -> dict[str, int]:
    """Measure a tensor's axes and compare those already known.

    Args:
        name: What the caller calls the tensor.
        tensor: The tensor to measure.
        axes: One word per axis, for example ``"n c h w"``.
        sizes: Axes whose size is known.

    Returns:
        The size of every axis, by name.

    Raises:
        ShapeError: The number of axes differs, or a known axis has another size.
    """
    names = axes.split()
    shape = tuple(tensor.shape)
    known = {axis: size for axis, size in sizes.items() if axis in names}
    matches = len(shape) == len(names) and all(
        known.get(axis, size) == size for axis, size in zip(names, shape, strict=True)
    )
    if not matches:
        expected = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
        if known:
            expected += " with " + ", ".join(f"{axis}={size}" for axis, size in known.items())
        raise ShapeError(f"{name}: expected {expected}, got {shape}")
    return dict(zip(names, shape, strict=True))


def is_finite(value: object) -> bool:
    """Tell whether a value, as it may come from a file, is a number that is neither NaN nor inf."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def is_fraction(value: object) -> bool:
    """Tell whether a value, as it may come from a file, is a number in [0, 1]."""
    return is_finite(value) and 0 <= value <= 1  # type: ignore[operator]


def check_finite(name: str, value: float) -> float:
    """Return ``value`` if it is a number that is neither NaN nor infinite.

    Raises:
        ConfigError: It is not.
    """
    if not is_finite(value):
        raise ConfigError(f"{name}: expected a finite number, got {value!r}")
    return float(value)


def check_fraction(name: str, value: float) -> float:
    """Return ``value`` if it is a number in [0, 1].

    Raises:
        ConfigError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name}: expected a number in [0, 1], got {value!r}")
    return float(value)


def check_at_least(name: str, value: int, least: int) -> int:
    """Return ``value`` if it is a whole number of at least ``least``.

    Raises:
        ConfigError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return value


def check_positive(name: str, value: float) -> float:
    """Return ``value`` if it is a finite number above zero.

    Raises:
        ConfigError: It is not.
    """
    ok = not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < float("inf")
    if not ok:
        raise ConfigError(f"{name}: expected a number above 0, got {value!r}")
    return float(value)


def check_not_negative(name: str, value: float) -> float:
    """Return ``value`` if it is a finite number of at least zero.

    Raises:
        ConfigError: It is not.
    """
    ok = not isinstance(value, bool) and isinstance(value, int | float)
    if not ok or not 0 <= value < float("inf"):
        raise ConfigError(f"{name}: expected a number of at least 0, got {value!r}")
    return float(value)


def check_even(name: str, value: int) -> int:
    """Return ``value`` if it is an even whole number of at least 2.

    Raises:
        ConfigError: It is not.
    """
    if check_at_least(name, value, 2) % 2:
        raise ConfigError(f"{name}: expected an even number, half per domain, got {value}")
    return value


def check_odd(name: str, value: int) -> int:
    """Return ``value`` if it is an odd whole number of at least 1.

    Raises:
        ConfigError: It is not.
    """
    if not check_at_least(name, value, 1) % 2:
        raise ConfigError(f"{name}: expected an odd number, a middle has to be there, got {value}")
    return value


def check_choice(name: str, value: str, choices: Collection[str]) -> str:
    """Return ``value`` if it is one of the choices.

    Raises:
        ConfigError: It is not.
    """
    if value not in choices:
        raise ConfigError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def check_bool(name: str, value: bool) -> bool:
    """Return ``value`` if it is true or false.

    Raises:
        ConfigError: It is anything else.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name}: expected true or false, got {value!r}")
    return value
