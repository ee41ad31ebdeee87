"""Checks of the settings that the backbones share."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from fsad.errors import ConfigError, check_at_least, check_bool

T = TypeVar("T")


def check_settings(image_size: int, pretrained: bool, normalize_depth: bool, compile: bool) -> None:
    """Refuse settings common to all backbones, before anything is built or fetched.

    Raises:
        ConfigError: One is out of range.
    """
    check_at_least("data.image_size", image_size, 1)
    check_bool("backbone.pretrained", pretrained)
    check_bool("backbone.normalize_depth", normalize_depth)
    check_bool("backbone.compile", compile)


def check_image_size(image_size: int, cell: int) -> None:
    """Refuse an image size that the network would silently crop.

    Raises:
        ConfigError: ``image_size`` is not a multiple of ``cell``, pixels.
    """
    if image_size % cell:
        raise ConfigError(
            f"data.image_size: expected a multiple of {cell} for this backbone, got {image_size}"
        )


def in_order(what: str, chosen: Sequence[T], available: Iterable[T]) -> list[T]:
    """Return the chosen layers in the order in which they run.

    Args:
        what: The argument's name, for the message.
        chosen: Some of ``available``, in any order.
        available: All there are, in the order they run.

    Raises:
        ConfigError: ``chosen`` is no list, or one in it is not available or named twice.
    """
    known = list(available)
    if isinstance(chosen, str) or not isinstance(chosen, Sequence):
        raise ConfigError(f"{what}: expected a list out of {known}, got {chosen!r}")
    ordered = [layer for layer in known if layer in chosen]
    if len(ordered) != len(chosen):
        raise ConfigError(f"{what}: expected different ones out of {known}, got {list(chosen)}")
    return ordered
