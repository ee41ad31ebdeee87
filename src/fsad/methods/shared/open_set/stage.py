"""The stage that fits trunk and heads, of every method that learns from labelled anomalies."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fsad.engine.stage import FitStage
from fsad.methods.shared.open_set.scorer import HeadsScorer
from fsad.methods.shared.open_set.settings import Fit, Loss

if TYPE_CHECKING:
    from fsad.engine.stage_module import StageModule


def deviation_stage(
    scorer: HeadsScorer,
    fit: Fit,
    loss: Loss,
    references: int,
    seed: int,
    depends: Mapping[str, Any],
) -> FitStage:
    """Return the stage ``fit``, which trains a scorer's network by the deviation loss.

    Args:
        scorer: Whose network is trained.
        fit: How.
        loss: The deviation loss.
        references: Normal images whose mean map the residuals are taken from; 0: no head needs it.
        seed: Of what is random.
        depends: The settings that decide what is learnt.
    """

    def module() -> "StageModule":
        from fsad.methods.shared.open_set.fit import DeviationModule  # Lightning, to train alone

        return DeviationModule(scorer, fit, loss, references, seed)

    return FitStage(
        "fit",
        scorer.network,
        module,
        fit.epochs,
        reads=("normals", "seen_anomalies"),
        sampling=fit.mix,
        depends=depends,
    )
