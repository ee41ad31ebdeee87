#!/usr/bin/env bash
# DINOv2 was trained on 37 x 37 patches. For other image sizes its position embeddings are stretched,
# and three libraries do it in three ways: the authors scale by (n + 0.1) / 37 without antialiasing,
# transformers stretches to the size without antialiasing, timm with it. No library says so; the same
# weights give other features. Here the rules are compared on one and the same embedding.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 \
    timm==1.0.31 transformers==4.57.1
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import timm
import torch
import transformers
from timm.models.vision_transformer import checkpoint_filter_fn
from torch.nn.functional import interpolate
from transformers import Dinov2Config, Dinov2Model

print("torch", torch.__version__, "timm", timm.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
trained, count, width = 37, 16, 384  # 518 and 224 pixels in patches of 14
smooth = interpolate(torch.randn(1, width, 12, 12), (trained, trained), mode="bicubic")
plane = smooth + 0.3 * torch.randn(1, width, trained, trained)
rows = plane.permute(0, 2, 3, 1).reshape(1, -1, width)
table = torch.cat([torch.zeros(1, 1, width), rows], dim=1)

# the rule of the authors' repository, in their words: interpolate_offset = 0.1
scale = (count + 0.1) / trained
authors = interpolate(plane, scale_factor=(scale, scale), mode="bicubic", antialias=False)
authors = authors.permute(0, 2, 3, 1).reshape(1, -1, width)

net = timm.create_model("vit_small_patch14_dinov2", img_size=14 * count, num_classes=0)
stretched = checkpoint_filter_fn({"pos_embed": table}, net)["pos_embed"][:, 1:]

config = Dinov2Config(image_size=14 * trained, patch_size=14, hidden_size=width, num_attention_heads=6)
model = Dinov2Model(config)
model.embeddings.position_embeddings.data = table
tokens = torch.zeros(1, 1 + count * count, width)
with torch.no_grad():
    huggings = model.embeddings.interpolate_pos_encoding(tokens, 14 * count, 14 * count)[:, 1:]


def apart(one, other):
    return float((one - other).norm() / authors.norm())


found = {
    "timm and the authors": apart(stretched, authors),
    "transformers and the authors": apart(huggings, authors),
    "timm and transformers": apart(stretched, huggings),
}
for names, share in found.items():
    print(f"{names}: {share:.1%} of the norm")
sys.exit(0 if min(found.values()) > 0.005 else "this has changed")
PYTHON
