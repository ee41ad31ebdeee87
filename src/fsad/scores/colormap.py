"""The colours of anomaly maps."""

import numpy as np
from numpy.typing import NDArray

# Dark blue over green to yellow, readable in grey and by the colour-blind.
_STOPS = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float32
)


def coloured(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Colour a map ``(H, W)`` from low to high; dark = normal, yellow = anomalous."""
    level = (values - low) / max(high - low, 1e-12)
    at = np.linspace(0, 1, len(_STOPS))
    colours = np.stack([np.interp(level, at, _STOPS[:, i]) for i in range(3)], axis=-1)
    pixels: NDArray[np.uint8] = colours.round().astype(np.uint8)
    return pixels
