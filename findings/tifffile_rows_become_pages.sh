#!/usr/bin/env bash
# tifffile: an organised cloud (H, W, 3) written with photometric="minisblack" has H pages of (W, 3).
# It reads back whole, so that nobody notices; but the first page's shape is not the image's, and a
# program that takes height and width from it, without reading the pixels, gets (W, 3).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import tifffile

points = np.zeros((48, 64, 3), np.float32)
seen = {}
for photometric in ("rgb", "minisblack"):
    path = f"{sys.argv[1]}/{photometric}.tiff"
    tifffile.imwrite(path, points, photometric=photometric)
    with tifffile.TiffFile(path) as file:
        seen[photometric] = (
            len(file.pages), file.pages[0].shape, file.series[0].shape, tifffile.imread(path).shape
        )
print("tifffile", tifffile.__version__)
print("photometric: pages, first page, first series, imread")
for photometric, shapes in seen.items():
    print(f"{photometric}:", *shapes)
expected = {
    "rgb": (1, (48, 64, 3), (48, 64, 3), (48, 64, 3)),
    "minisblack": (48, (64, 3), (48, 64, 3), (48, 64, 3)),
}
sys.exit(0 if seen == expected else "this has changed")
PYTHON
