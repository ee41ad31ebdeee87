"""What an exported file says of a run."""

from importlib.metadata import version

from fsad.data.input import InputSpec
from fsad.engine.trained import TrainedModel
from fsad.nn.extractor import PatchExtractor
from fsad.predict.model_file.kept import state_of
from fsad.predict.model_file.metadata import DEPTH, KEPT, PHOTOGRAPH, Metadata
from fsad.predict.scorer import Limits

SHIPPED = "Apache-2.0; its stem, of torchvision's ResNet-18, BSD-3-Clause (fsad/shipped/tiny.md)"
UNKNOWN = "not known: they were read from a file"


def about(trained: TrainedModel, limits: Limits, input: InputSpec) -> Metadata:
    """Describe a run's category for its exported file.

    Args:
        trained: The category.
        limits: Where good ends.
        input: How images are read.
    """
    extractor = trained.extractor
    return Metadata(
        fsad=version("fsad"),
        method=trained.method,
        category=trained.category,
        image_size=trained.image_size,
        beta=trained.combination.share("source"),
        sigma=trained.sigma,
        backbone={
            "name": extractor.name,
            "weights": extractor.weights,
            "sha256": extractor.sha256,
            "licence": licence_of(extractor),
        },
        threshold=limits.image,
        map_threshold=limits.map,
        false_alarm_rate=limits.false_alarm_rate,
        note=limits.note,
        modality=input.modality,
        depth=DEPTH if input.channels == 1 else PHOTOGRAPH if input.canvas.aspect is None else KEPT,
        **input.to_json(),
        state=state_of(trained.folder),
    )


def licence_of(extractor: PatchExtractor) -> str:
    """Name the licence of a backbone's weights, as far as it is known."""
    if extractor.weights == "shipped":
        return SHIPPED
    if extractor.weights == "file":
        return UNKNOWN
    if extractor.weights == "pretrained":
        published = getattr(extractor.net, "pretrained_cfg", {})
        return str(published.get("license") or "not stated by timm")
    return "none needed"
