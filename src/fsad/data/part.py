"""The part in a depth image: what stands out of the plane it lies on."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.data.regions import EIGHT, large_regions

BORDER = 0.025  # width of the border that shows the ground, as a share of the shorter side
TRIALS = 300  # RANSAC samples; at an inlier share of 0.4, all fail with probability 4e-9
TOLERANCE = 0.005  # of the median inverse depth: a border pixel this near the plane supports it
SUPPORT = 0.3  # share of the border that a plane must explain to count as the ground
NOISE = 5.0  # a pixel stands out if it is this many noise standard deviations nearer, ...
RELIEF = 0.002  # ... and nearer by at least this share of its distance (noise-free renderings)
OF_SPREAD = 0.02  # of the spread of heights: the tolerance, and the relief, where 0 is no distance
CLOSING = 0.01  # gaps up to this share of the shorter side are closed, then holes are filled


def part_mask(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    r"""Find the part from the depth map alone.

    A perspective camera sees a plane as an inverse depth that is affine in the pixel,

    .. math:: 1/z = a + b \, x + c \, y,

    so the ground is fitted robustly to the image's border, and what is nearer than the ground by
    more than its noise is the part. Heights about a plane, of which some are not above 0, are
    affine themselves; there, higher is nearer. Components that touch the border are walls rather
    than parts, unless nothing else stands out. Where there is no ground (a part cut out by data
    preparation) or nothing stands out of it, the valid pixels are the part.

    Laws (``tests/data/test_part.py``):

    * The same depth map gives the same mask, whatever was drawn from any generator before.
    * Scaling ``z`` (another unit of length) changes nothing.
    * Mirroring ``z`` mirrors the mask of a noise-free scene.
    * A camera that looks along -z sees the same part.

    Args:
        z: Depth, ``(H, W)``, any unit; NaN where there is no reading.

    Returns:
        True on the part, ``(H, W)``.
    """
    valid = np.isfinite(z)
    raised = _raised(z, valid)
    regions = large_regions(raised) if raised is not None else np.zeros_like(valid)
    if not regions.any():
        return np.asarray(ndimage.binary_fill_holes(valid), dtype=np.bool_)
    return _close(regions)


def _raised(z: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Tell which pixels are nearer than the ground; None if no plane explains the border."""
    border = _border(valid)
    if border is None:
        return None
    readings = z[valid]
    if (readings > 0).all() or (readings < 0).all():  # a camera; along -z distances are negative
        inverse = np.divide(1.0, np.abs(z), out=np.zeros(z.shape), where=valid)
        plane = _ground(inverse, border, TOLERANCE * float(np.median(inverse[border])))
        if plane is not None:
            ground, sigma = plane
            threshold = np.maximum(NOISE * sigma, RELIEF * np.abs(ground))
            return np.asarray(valid & (inverse - ground > threshold))
    if (readings > 0).all():
        return None
    heights = np.where(valid, z, 0).astype(np.float64)
    tolerance = OF_SPREAD * float(np.subtract(*np.percentile(readings, [99, 1])))
    plane = _ground(heights, border, tolerance)
    if plane is None:
        return None
    ground, sigma = plane
    return np.asarray(valid & (heights - ground > max(NOISE * sigma, tolerance)))


def _border(valid: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return the measured pixels of the image's border; None if they are too few for a plane."""
    height, width = valid.shape
    margin = max(2, round(BORDER * min(height, width)))
    border = valid.copy()
    border[margin:-margin, margin:-margin] = False
    enough = border.sum() >= SUPPORT * 2 * margin * (height + width - 2 * margin)
    return border if enough else None


def _ground(
    near: NDArray[np.float64], border: NDArray[np.bool_], tolerance: float
) -> tuple[NDArray[np.float64], float] | None:
    """Fit a plane to the border.

    Args:
        near: What is affine in the pixel on a plane, ``(H, W)``.
        border: Where to fit, ``(H, W)``.
        tolerance: A pixel this near the plane supports it.

    Returns:
        The plane, ``(H, W)``, and the standard deviation of the noise about it; None if no plane
        explains the border.
    """
    height, width = near.shape
    rows, columns = np.mgrid[:height, :width]
    design = np.stack(
        [np.ones(near.shape), (columns + 0.5) / width - 0.5, (rows + 0.5) / height - 0.5],
        axis=-1,
    )
    points, values = design[border], near[border]
    inliers = _ransac(points, values, tolerance)
    if inliers.mean() < SUPPORT:
        return None
    for _ in range(3):  # the sample's plane rests on three noisy pixels; let all inliers settle it
        plane, *_ = np.linalg.lstsq(points[inliers], values[inliers], rcond=None)
        residuals = np.abs(values - points @ plane)
        inliers = residuals < tolerance
    return design @ plane, 1.4826 * float(np.median(residuals[inliers]))


def _ransac(
    points: NDArray[np.float64], values: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Return the pixels within ``tolerance`` of the best plane through three of them."""
    rng = np.random.default_rng(0)  # its own, so that the mask is a function of the image
    triples = rng.integers(len(points), size=(TRIALS, 3))
    spread = np.abs(np.linalg.det(points[triples]))
    triples = triples[spread > 1e-3]  # three pixels on one line carry no plane
    if not len(triples):
        return np.zeros(len(points), dtype=np.bool_)
    planes = np.linalg.solve(points[triples], values[triples][..., None])[..., 0]  # (trials, 3)
    judges = rng.permutation(len(points))[:2000]
    close = np.abs(planes @ points[judges].T - values[judges]) < tolerance
    best = planes[close.sum(axis=1).argmax()]
    return np.asarray(np.abs(points @ best - values) < tolerance)


def _close(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close narrow gaps, then fill holes; sensors lose pixels at edges and on shiny spots."""
    radius = round(CLOSING * min(mask.shape))
    padded = np.pad(mask, radius)  # without it the image's edge would erode the part
    if radius:
        padded = ndimage.binary_closing(padded, structure=EIGHT, iterations=radius)
    filled = ndimage.binary_fill_holes(padded)
    return np.asarray(filled[radius : radius + mask.shape[0], radius : radius + mask.shape[1]])
