"""Colours: mostly shades of few hues, as on real surfaces, and at times all of them."""

import numpy as np

from fsad.pretrain.grid import Array

_AXES = np.array([[1.1, 0.1, -1.2], [-0.4, 0.6, -0.2]])  # orange to blue, green to magenta


def colours(rng: np.random.Generator, count: int) -> Array:
    """Draw colours that go together: any lightness, about a common hue.

    Hues spread more between orange and blue than between green and magenta, as in photographs.

    Returns:
        ``(count, 3)`` in [0, 1].
    """
    light = rng.uniform(0.03, 0.97, (count, 1))
    vivid = rng.uniform(0.01, 0.22)  # once for all: some images are nearly grey, some colourful
    hue = 0.3 * rng.normal(0, vivid, 2) + rng.normal(0, vivid, (count, 2))
    return np.asarray(np.clip(light + hue @ _AXES, 0, 1), dtype=np.float32)


def ramp(rng: np.random.Generator, value: Array) -> Array:
    """Colour a field by a random scale of two to five colours.

    Args:
        rng: Source of chance.
        value: ``(H, W)``, mean about 0 and standard deviation about 1; cut off at 2.5.

    Returns:
        ``(H, W, 3)`` in [0, 1].
    """
    stops = colours(rng, int(rng.integers(2, 6)))
    stops = stops[:1] + np.float32(rng.uniform(0.2, 1)) * (stops - stops[:1])
    places = np.sort(rng.uniform(0.1, 0.9, len(stops)))
    places[[0, -1]] = rng.uniform(0, 0.4), rng.uniform(0.6, 1)  # else some fields would be flat
    places.sort()
    steps = np.linspace(0, 1, 256)
    table = np.stack([np.interp(steps, places, channel) for channel in stops.T], axis=1)
    level = np.clip(value * np.float32(51) + np.float32(127.5), 0, 255).astype(np.uint8)
    return np.asarray(table.astype(np.float32)[level])
