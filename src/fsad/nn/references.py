"""What is kept of defective references: the features of their anomalous patches."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from fsad.errors import BankError, ShapeError, check_shape


class DefectiveReferences(nn.Module):
    """The anomalous patches of some images with a defect, as buffers that resize on load.

    Attributes:
        features: Of these patches, ``(r, c)``.
        places: Their number in the grid, row by row, ``(r,)`` int64.
        images: Which image each is of, ``(r,)`` int64.
    """

    features: Tensor
    places: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("features", torch.empty(0, 0))
        self.register_buffer("places", torch.empty(0, dtype=torch.int64))
        self.register_buffer("images", torch.empty(0, dtype=torch.int64))

    def fill(self, features: Tensor, anomalous: Tensor) -> None:
        """Keep the anomalous patches of images.

        Args:
            features: ``(n, c, h, w)``.
            anomalous: Which patches are, as :func:`anomalous_cells` says, ``(n, h, w)``, bool.

        Raises:
            ShapeError: The shapes do not fit.
            BankError: No patch is.
        """
        sizes = check_shape("features", features, "n c h w")
        check_shape("anomalous", anomalous, "n h w", n=sizes["n"], h=sizes["h"], w=sizes["w"])
        if not bool(anomalous.any()):
            raise BankError("references: expected anomalous patches, got none")
        flat = anomalous.flatten(1)
        self.features = features.permute(0, 2, 3, 1)[anomalous]
        self.images, self.places = flat.nonzero(as_tuple=True)

    @property
    def is_filled(self) -> bool:
        """Tell whether there is any patch."""
        return len(self.features) > 0

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # How many patches there are is known only once they are seen: take the stored size.
        for name in ("features", "places", "images"):
            if (stored := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(stored, device=self.features.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


def anomalous_cells(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tell which cells of a grid have a defective pixel.

    Law (``tests/nn/test_defective_references.py``): each defective pixel makes the cell that it
    lies in, and no other, anomalous.

    Args:
        masks: Defective pixels, ``(n, H, W)``, bool.
        grid: Height and width of the grid; they divide H and W.

    Returns:
        ``(n, h, w)``, bool.

    Raises:
        ShapeError: The shapes do not fit.

    Source:
        IDEAL (arXiv 2605.23231). Departure: its cells are shifted by one pixel.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> mask[0, 3, 1] = True
        >>> anomalous_cells(mask, (2, 2)).tolist()
        [[[False, False], [True, False]]]
    """
    sizes = check_shape("masks", masks, "n H W")
    if sizes["H"] % grid[0] or sizes["W"] % grid[1]:
        raise ShapeError(
            f"masks: expected a height and width that {grid[0]} x {grid[1]} cells divide, got "
            f"{sizes['H']} x {sizes['W']}"
        )
    cells: Tensor = adaptive_max_pool2d(masks[:, None].float(), grid)[:, 0]
    return cells > 0
