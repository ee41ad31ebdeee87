"""A pinhole camera: from a depth map to points."""

import numpy as np
from numpy.typing import NDArray


def back_project(z: NDArray[np.float32], focal: float) -> NDArray[np.float32]:
    r"""Turn a pinhole camera's depth map into organised points.

    .. math:: x = z \, (u - u_0) / f, \qquad y = z \, (v - v_0) / f

    with the optical axis through the image's centre and x to the right, y down, z ahead.

    Args:
        z: Distance along the optical axis, ``(H, W)``, NaN where there is no reading.
        focal: Focal length as a share of the image's width; 711.11 / 512 for Eyecandies.

    Returns:
        Points, ``(H, W, 3)``, in the unit of ``z``; (0, 0, 0) where invalid.
    """
    z = np.nan_to_num(z)
    height, width = z.shape
    u = (np.arange(width) - (width - 1) / 2) / (focal * width)
    v = (np.arange(height) - (height - 1) / 2) / (focal * width)
    return np.stack([z * u, z * v[:, None], z], axis=-1).astype(np.float32)
