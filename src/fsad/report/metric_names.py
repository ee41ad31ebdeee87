"""What people call the five metrics."""

NAMES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "pixel_auroc_part": "in-part pixel AUROC",
    "aupro30": "AU-PRO@0.3",
    "aupro05": "AU-PRO@0.05",
}
