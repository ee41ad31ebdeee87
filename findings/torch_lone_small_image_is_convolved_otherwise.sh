#!/usr/bin/env bash
# PyTorch on the CPU: a 3 x 3 convolution of one small image (16 x 16 and below) has other last bits
# than the same image among six; at 56 x 56 they agree. Features kept in a cache, a resumed run and a
# run on other numbers of processes then differ, though every operation is deterministic.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch

torch.use_deterministic_algorithms(True)
print("torch", torch.__version__, "on", torch.backends.cpu.get_cpu_capability())
equal = {}
for side in (4, 8, 16, 56):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).eval()
    images = torch.randn(6, 64, side, side)
    with torch.no_grad():
        together = layer(images)
        alone = torch.cat([layer(image[None]) for image in images])
    equal[side] = torch.equal(together, alone)
    print(f"{side} x {side}: largest difference {float((together - alone).abs().max()):.1e}")
sys.exit(0 if equal == {4: False, 8: False, 16: False, 56: True} else "this has changed")
PYTHON
