#!/usr/bin/env bash
# timm's features_only=True gives a ResNet as a list of stages, and an EfficientNet as one piece of another
# class. Asked for a list by feature_cls="list" the latter fails, because its blocks lie in one container; the
# keyword that takes the container apart is no argument of create_model. Both work in feature_cfg alone, and
# that dictionary of the caller is changed in place: feature_cls is taken out, out_indices put in.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 timm==1.0.31
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import timm
import torch

print("torch", torch.__version__, "timm", timm.__version__)
NAME = "tf_efficientnet_lite0"


def outcome(**arguments):
    try:
        return type(timm.create_model(NAME, features_only=True, **arguments)).__name__
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}"


wanted = {"feature_cls": "list", "flatten_sequential": True}
found = {
    "resnet18": type(timm.create_model("resnet18", features_only=True)).__name__,
    "efficientnet": outcome(),
    "feature_cls": outcome(feature_cls="list"),
    "flatten_sequential": outcome(feature_cls="list", flatten_sequential=True),
    "feature_cfg": outcome(feature_cfg=wanted),
    "the same feature_cfg again": outcome(feature_cfg=wanted),
}
for asked, got in found.items():
    print(f"{asked}: {got}")
print("feature_cfg is now", wanted)
expected = ("FeatureListNet", "EfficientNetFeatures", "AssertionError", "TypeError")
same = all(got.startswith(start) for got, start in zip(found.values(), expected))
same = same and found["feature_cfg"] == found["the same feature_cfg again"] == "FeatureListNet"
sys.exit(0 if same and "feature_cls" not in wanted and "out_indices" in wanted else "this has changed")
PYTHON
