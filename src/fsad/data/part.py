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
CLOSING = 0.01  # gaps up to this share of the shorter side are closed, then holes are filled


def part_mask(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    r"""Find the part from the depth map alone.

    A perspective camera sees a plane as an inverse depth that is affine in the pixel,

    .. math:: 1/z = a + b \, x + c \, y,

    so the ground is fitted robustly to the image's border, and what is nearer than the ground by
    more than its noise is the part. Components that touch the border are walls rather than parts,
    unless nothing else stands out. Where there is no ground (a part cut out by data preparation)
    or nothing stands out of it, the valid pixels are the part.

    Laws (``tests/data/test_part.py``):

    * The same depth map gives the same mask, whatever was drawn from any generator before.
    * Scaling ``z`` (another unit of length) changes nothing.
    * Mirroring ``z`` mirrors the mask of a noise-free scene.

    Args:
        z: Depth, ``(H, W)``, any unit; 0 where invalid.

    Returns:
        True on the part, ``(H, W)``.
    """
    valid = z > 0
    inverse = np.divide(1.0, z, out=np.zeros(z.shape), where=valid)
    raised = _above_ground(inverse, valid)
    regions = large_regions(raised) if raised is not None else np.zeros_like(valid)
    if not regions.any():
        return np.asarray(ndimage.binary_fill_holes(valid), dtype=np.bool_)
    return _close(regions)


def _above_ground(
    inverse: NDArray[np.float64], valid: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Tell which pixels are nearer than the ground; None if no plane explains the border."""
    height, width = inverse.shape
    rows, columns = np.mgrid[:height, :width]
    design = np.stack(
        [np.ones(inverse.shape), (columns + 0.5) / width - 0.5, (rows + 0.5) / height - 0.5],
        axis=-1,
    )
    margin = max(2, round(BORDER * min(height, width)))
    border = valid.copy()
    border[margin:-margin, margin:-margin] = False
    if border.sum() < SUPPORT * 2 * margin * (height + width - 2 * margin):
        return None
    points, values = design[border], inverse[border]
    tolerance = TOLERANCE * float(np.median(values))

    inliers = _ransac(points, values, tolerance)
    if inliers.mean() < SUPPORT:
        return None
    for _ in range(3):  # the sample's plane rests on three noisy pixels; let all inliers settle it
        plane, *_ = np.linalg.lstsq(points[inliers], values[inliers], rcond=None)
        residuals = np.abs(values - points @ plane)
        inliers = residuals < tolerance
    sigma = 1.4826 * float(np.median(residuals[inliers]))
    ground = design @ plane
    threshold = np.maximum(NOISE * sigma, RELIEF * np.abs(ground))
    return np.asarray(valid & (inverse - ground > threshold))


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
