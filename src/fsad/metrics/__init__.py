"""How well scores separate defects from good parts: AUROC and AU-PRO of a category."""

METRICS = ("image_auroc", "pixel_auroc", "pixel_auroc_part", "aupro30", "aupro05")
"""The five numbers of every scored set, in the order in which they are reported."""
