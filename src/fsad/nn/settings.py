"""Checks of the settings that the backbones share."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from fsad.errors import ConfigError, check_at_least, check_bool, check_fraction

T = TypeVar("T")
Size = int | tuple[int, int]
"""Height and width of images, pixels; one number is both."""


def check_settings(
    image_size: Size, pretrained: bool, normalize_depth: bool, compile: bool
) -> None:
    """Refuse settings common to all backbones, before anything is built or fetched.

    Raises:
        ConfigError: One is out of range.
    """
    for side in both(image_size):
        check_at_least("data.image_size", side, 1)
    check_bool("backbone.pretrained", pretrained)
    check_bool("backbone.normalize_depth", normalize_depth)
    check_bool("backbone.compile", compile)


def both(image_size: Size) -> tuple[int, int]:
    """Return height and width.

    Raises:
        ConfigError: They are neither one value nor a list of two.
    """
    if not isinstance(image_size, Sequence):
        return image_size, image_size
    if isinstance(image_size, str) or len(image_size) != 2:
        raise ConfigError(
            f"data.image_size: expected a whole number, or height and width, got {image_size!r}"
        )
    height, width = image_size
    return height, width


def cells_of(image_size: Size, cell: int) -> tuple[int, int]:
    """Return how many cells images are high and wide.

    Args:
        image_size: Height and width of the images, pixels.
        cell: Height and width of a cell, pixels.
    """
    height, width = both(image_size)
    return height // cell, width // cell


def check_image_size(image_size: Size, cell: int) -> None:
    """Refuse an image size that the network would silently crop.

    Raises:
        ConfigError: A side of ``image_size`` is not a multiple of ``cell``, pixels.
    """
    for side in both(image_size):
        if side % cell:
            raise ConfigError(
                f"data.image_size: expected a multiple of {cell} for this backbone, got {side}"
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


def blocks_within(
    what: str, chosen: Sequence[int] | Sequence[float] | None, depth: int
) -> list[int]:
    """Return the chosen blocks of a vision transformer in the order in which they run.

    Args:
        what: The argument's name, for the message.
        chosen: Numbers from 0, or a window: two fractions of the depth, the lower first, of which
            block i of n lies at (i + 1) / n; both ends belong to it. None chooses nothing.
        depth: How many blocks there are, n.

    Returns:
        Their numbers; none for None.

    Raises:
        ConfigError: They are of another kind, not there, or a window without any block in it.

    Examples:
        >>> blocks_within("backbone.features", [0.4, 0.65], 12)
        [4, 5, 6]
    """
    if chosen is None:
        return []
    if isinstance(chosen, Sequence) and any(isinstance(it, bool) for it in chosen):
        raise ConfigError(f"{what}: expected numbers of blocks or fractions, got {list(chosen)}")
    if _is_window(chosen):
        return _within(what, chosen, depth, "blocks")
    blocks = in_order(what, chosen, range(depth))
    if not blocks:
        raise ConfigError(f"{what}: expected at least one block, or null, got none")
    return [int(number) for number in blocks]


def stages_within(
    what: str, chosen: Sequence[str] | Sequence[float], available: Sequence[str]
) -> list[str]:
    """Return the chosen stages of a CNN in the order in which they run.

    The depth of a CNN is counted in stages, since features are taken at their ends: all blocks
    within one have the same stride, and a network has as many stages however large it is.

    Args:
        what: The argument's name, for the message.
        chosen: Names, or a window: two fractions of the depth, the lower first, of which stage i of
            n, counted from 0, lies at (i + 1) / n; both ends belong to it.
        available: The names of all n stages, in the order they run.

    Returns:
        Their names.

    Raises:
        ConfigError: They are of another kind, not there, none, or a window without any stage in it.

    Examples:
        >>> resnet = ["act1", "layer1", "layer2", "layer3", "layer4"]
        >>> stages_within("backbone.stages", [0.5, 0.8], resnet)
        ['layer2', 'layer3']
    """
    if _is_window(chosen):
        places = _within(what, chosen, len(available), "stages")
        return [available[place] for place in places]
    stages = in_order(what, chosen, available)
    if not stages:
        raise ConfigError(f"{what}: expected at least one, got none")
    return [str(name) for name in stages]


def _is_window(chosen: object) -> bool:
    """Tell two fractions from two numbers of blocks: one of them at least is a float."""
    return (
        isinstance(chosen, Sequence)
        and len(chosen) == 2
        and any(isinstance(end, float) for end in chosen)
    )


def _within(what: str, window: Sequence[Any], depth: int, unit: str) -> list[int]:
    """Return the places, from 0, whose ends lie within two fractions of the depth.

    Raises:
        ConfigError: An end is no fraction, or no place lies between them.
    """
    low, high = (check_fraction(what, end) for end in window)
    places = [number for number in range(depth) if low <= (number + 1) / depth <= high]
    if not places:
        raise ConfigError(
            f"{what}: expected a window with one of {depth} {unit} in it, got [{low}, {high}]. "
            f"They end at multiples of 1/{depth}: put the lower end first, or widen the window."
        )
    return places
