"""The whole way from images to scores and a map as one module, and its graph."""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fsad.data.input import channels_of
from fsad.engine.trained import TrainedModel
from fsad.errors import ConfigError, RunError, message_of
from fsad.predict.model_file.metadata import MAP, SCORE


class ScoringGraph(nn.Module):
    """A run's backbone, adapters, rectifier and banks, its scores and its map.

    Law (``tests/export``): the scores and maps are those of
    :meth:`fsad.engine.trained.TrainedModel.combined` within rounding, whatever the number of
    images.

    Args:
        trained: One category of a finished run.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.scorer, self.maker = trained.scorer, trained.maker

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Score images.

        Args:
            images: ``(n, C, S, S)``, values in [0, 1], as the run's
                :class:`~fsad.data.input.InputSpec` makes them: of depth one of the three equal
                channels that a backbone looks at.

        Returns:
            ``score`` ``(n,)`` and ``map`` ``(n, S, S)``, the method's own, and ``score_NAME``
            ``(n,)`` of each part, such as ``score_source`` and ``score_target``. All are float32;
            higher = more anomalous. ``map`` is missing where the method scores whole images alone,
            or has a map that no graph can hold.
        """
        scores = self.scorer.parts(images.expand(-1, 3, -1, -1))
        alone = {f"{SCORE}_{domain}": each.images for domain, each in scores.items()}
        # Enlarging and blurring are linear: fused first, they are done once.
        patches = {name: each.patches for name, each in scores.items() if each.patches is not None}
        combine = self.maker.combination.combine
        score = combine({name: each.images for name, each in scores.items()})
        if not self.maker.combination.has_map(patches, scores):
            return {SCORE: score, **alone}
        if self.maker.combination.kind == "max":  # of maps, not of what they are made of
            maps = combine(self.maker.part_maps(scores))
        else:
            maps = self.maker.maps(combine(patches))
        return {SCORE: score, MAP: maps, **alone}


def refuse_half(precision: str) -> None:
    """Refuse a run in half precision, for the graph computes in full.

    Raises:
        ConfigError: ``precision`` is not ``32-true``.
    """
    if precision != "32-true":
        raise ConfigError(
            f"trainer.precision: expected a run in 32-true, got {precision}: in full precision its "
            "images would score otherwise. Run it again with trainer.precision=32-true."
        )


def traced(trained: TrainedModel) -> ExportedProgram:
    """Record the graph, for any number of images.

    Args:
        trained: On the CPU.

    Raises:
        ConfigError: The run computed in half precision, which the graph does not.
        RunError: The method does something that a graph cannot hold.
    """
    refuse_half(trained.config.trainer.precision)
    shape = trained.canvas.shape
    example = torch.full((2, channels_of(trained.modality), *shape), 0.5)  # any values
    try:
        with torch.no_grad():
            return torch.export.export(
                ScoringGraph(trained).eval(),
                (example,),
                dynamic_shapes={"images": {0: Dim("n", min=1)}},
            )
    except Exception as error:  # tracing runs into whatever the method does
        raise RunError(
            f"method: expected one that can be recorded as a graph, got {trained.method} "
            f"({message_of(error)})"
        ) from error


def outputs_of(program: ExportedProgram) -> list[str]:
    """Name what a graph gives, in order."""
    outputs = [each.arg.name for each in program.graph_signature.output_specs]
    return list(program.call_spec.out_spec.unflatten(outputs))
