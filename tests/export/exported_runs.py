"""Which runs are exported: their settings beyond the small configuration's, by name."""

from fsad.predict.scorer import Limits

SHALLOW = ("backbone.model_args.depth=2", "backbone.layers=[0]", "maps=false", "threshold=false")
HYPERTRANS = (
    "method.perturb.hidden=4",
    "method.perturb.epochs=1",
    "method.rectify.hidden=16",
    "method.rectify.epochs=3",
)
SETTINGS = {
    "hypertrans": HYPERTRANS,
    "hypertrans_plus": (*HYPERTRANS, "method.plus.excess=true", "method.plus.rotations=4"),
    "raw banks": ("method=hypertrans", *HYPERTRANS, "method.rectify_banks=false"),
    "patchcore": ("method.reweight=3",),
    "source_bank": (),
    "patchcore of photographs": (
        "method=patchcore",
        "protocol=few_shot",
        "protocol.modality=rgb",
    ),
    "subspace": ("method.rotations=2",),
    "padim": (),
    "anomalydino": ("method.rotations=2",),
    "masked": ("method=anomalydino", "method.rotations=2", "method.threshold=0.1"),
    "depth_inet": ("method.timm_name=resnet18.tv_in1k", "method.pretrained=false"),
    "ast": (
        "method.teacher.epochs=2",
        "method.student.epochs=2",
        "method.student.hidden=8",
        "method.student.blocks=1",
    ),
    "raw": (),
    "part_mask": (),
}
LIMITS = Limits(3.5, 2.5, 0.25, "an example")
