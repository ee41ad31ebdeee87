"""What an exported file says of a run."""

from importlib.metadata import version

from fsad.data.depth_rules import DepthRules
from fsad.data.profile import InputProfile
from fsad.engine.trained import TrainedModel
from fsad.nn.extractor import PatchExtractor
from fsad.predict.model_file.kept import state_of
from fsad.predict.model_file.metadata import Metadata
from fsad.predict.scorer import Limits

SHIPPED = "Apache-2.0; its stem, of torchvision's ResNet-18, BSD-3-Clause (fsad/shipped/tiny.md)"
UNKNOWN = "not known: they were read from a file"


def about(
    trained: TrainedModel,
    limits: Limits,
    part_above: float | None = None,
    rules: DepthRules | None = None,
    profile: InputProfile | None = None,
) -> Metadata:
    """Describe a run's category for its exported file.

    Args:
        trained: The category.
        limits: Where good ends.
        part_above: How its images were prepared, and this and the following as for
            :class:`~fsad.predict.predictor.Predictor`.
        rules: How they were read.
        profile: What they looked like.
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
        part_above=part_above,
        png_holes=trained.png_holes,
        rules=rules.to_json() if rules else None,
        profile=profile.to_json() if profile else None,
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
