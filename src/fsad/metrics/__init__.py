"""How well scores separate defects from good parts: AUROC and AU-PRO of a category."""

from typing import NamedTuple

METRICS = ("image_auroc", "pixel_auroc", "pixel_auroc_part", "aupro30", "aupro05")
"""The five numbers of every scored set, in the order in which they are reported."""


class Measured(NamedTuple):
    """A metric, and how far it can lie from that of the scores as they came."""

    value: float
    error: float
