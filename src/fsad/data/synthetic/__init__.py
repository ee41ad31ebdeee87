"""Generated pairs with known defects; needs no download."""

from fsad.data.synthetic.dataset import Synthetic

__all__ = ["Synthetic"]
