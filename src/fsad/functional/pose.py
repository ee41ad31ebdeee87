"""Whether images show things that always lie alike: whether they match best unturned."""

import torch
from torch import Tensor

from fsad.errors import check_shape
from fsad.functional.distance import nearest


def upright_match_rate(views: Tensor) -> float:
    r"""Measure how often an image matches another better as that lies than turned.

    With :math:`d_k(i, j)` the mean distance of image i's patches, unturned, to the nearest patch of
    image j in view k, of which view 0 is the unturned one: the share of ordered pairs
    :math:`i \neq j` with

    .. math:: d_0(i, j) < \min_{k > 0} d_k(i, j)

    Laws (``tests/functional/test_pose.py``):

    * 1 where all images are alike and no view of them is like another.
    * 0 where the views are alike, as of something round.
    * Another order of the images, or of the views but the first, changes nothing.

    Args:
        views: Patch features, ``(K, n, p, c)``: K views of n images.

    Returns:
        In [0, 1]; about 1 / K where things lie as they come. NaN of a single image.

    Note:
        K n searches of n p patches among p.
    """
    sizes = check_shape("views", views, "K n p c")
    queries = views[0].flatten(0, 1)
    distances = torch.stack(
        [
            torch.stack([_mean_distances(queries, image, sizes["n"]) for image in view], dim=1)
            for view in views
        ]
    )  # (K, n, n)
    upright = distances[0] < distances[1:].amin(dim=0)
    others = ~torch.eye(sizes["n"], dtype=torch.bool, device=views.device)
    return float(upright[others].float().mean())


def _mean_distances(queries: Tensor, image: Tensor, images: int) -> Tensor:
    return nearest(queries, image)[0].view(images, -1).mean(dim=1)
