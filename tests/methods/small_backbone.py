"""The backbone of the method tests: four blocks, four by four patches of 24 channels."""

from fsad.nn.backbone import VitExtractor


def small_backbone() -> VitExtractor:
    return VitExtractor(
        name="small",
        timm_name="vit_tiny_patch16_224",
        image_size=32,
        layers=[1, 2],
        pretrained=False,
        model_args={"patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 3},
    )
