"""anomalib's PatchCore from start to result, as a script of its own that its user would write.

Runs under the peer environment's interpreter and imports nothing of this project. The last line
that it prints is JSON.
"""

# mypy: disable-error-code="import-not-found"

import json
import sys
from pathlib import Path

import torch


def main() -> None:
    """Fit on all training images of a folder and test, then print the metrics.

    The folder has MVTec AD's layout. What the two libraries do differently by default, and a figure
    should not depend on, is set alike: the size of the images, no pictures of the test images, and
    no data workers, which only slow two cores down.
    """
    given = json.loads(sys.argv[1])
    root = Path(given["root"])
    torch.set_num_threads(given["threads"])
    torch.manual_seed(0)
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Patchcore
    from safetensors.torch import load_file

    size = given["size"]
    model = Patchcore(
        backbone="resnet18",
        layers=["layer2", "layer3"],
        pre_trained=False,
        coreset_sampling_ratio=given["ratio"],
        pre_processor=Patchcore.configure_pre_processor(image_size=(size, size)),
        visualizer=False,
    )
    extractor = model.model.feature_extractor.feature_extractor
    missing = extractor.load_state_dict(load_file(given["weights"]), strict=False).missing_keys
    if missing:
        sys.exit(f"{given['weights']}: expected ResNet-18 up to layer3, got none of {missing[0]}")
    defects = sorted(path.name for path in (root / "test").iterdir() if path.name != "good")
    data = Folder(
        name="parts",
        root=root,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{defect}" for defect in defects],
        mask_dir=[f"ground_truth/{defect}" for defect in defects],
        num_workers=0,
    )
    engine = Engine(accelerator="cpu", devices=1, logger=False, default_root_dir=given["out"])
    engine.fit(model, datamodule=data)
    (metrics,) = engine.test(model, datamodule=data)
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
