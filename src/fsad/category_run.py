"""One category: its stages in order, then the test; what is finished is never done again."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from fsad.artifacts import StageArtifact
from fsad.callbacks.stage_checkpoint import StageCheckpoint
from fsad.callbacks.stage_progress import StageProgress
from fsad.checkpoint import backbone_identity, check_readable, refuse_other_backbone
from fsad.data.datamodule import PairDataModule
from fsad.errors import DataError, RunError
from fsad.files import make_folder, write_json, write_tensors
from fsad.maps import write_maps
from fsad.nn.extractor import PatchExtractor
from fsad.plan import Method, Plan, Stage
from fsad.report import CategoryResult, ScoreRow, peak_rss_mb, write_scores
from fsad.result import as_json
from fsad.scored import ImageScore

log = logging.getLogger(__name__)

MakeTrainer = Callable[..., Trainer]


class CategoryRun:
    """Runs one category in a folder of its own.

    The folder holds ``<stage>.safetensors`` for each finished stage, ``<stage>.ckpt`` for an
    unfinished one, ``banks.safetensors``, ``patch_scores.safetensors``, ``scores.csv`` and, last,
    ``category.json``; a run that finds them goes on from there.

    Args:
        method: What to run.
        extractor: The frozen backbone.
        data: One category's data.
        make_trainer: Returns a Trainer from ``max_epochs`` and ``callbacks``; a fresh one is needed
            for every fit, a used one would train for no step.
        folder: The category's folder.
        trained: This category's folder in another, finished run, whose stages and banks are used
            instead of training.
        maps: Where pictures go; None writes none.
        prefix: Put before log keys.
    """

    def __init__(
        self,
        method: Method,
        extractor: PatchExtractor,
        data: PairDataModule,
        make_trainer: MakeTrainer,
        folder: Path,
        trained: Path | None = None,
        maps: Path | None = None,
        prefix: str = "",
    ) -> None:
        self.method, self.extractor, self.data = method, extractor, data
        self.make_trainer = make_trainer
        self.folder = make_folder(folder, "paths.output_dir")
        self.trained = trained
        self.maps = maps
        self.prefix = prefix

    @property
    def record(self) -> Path:
        """The file that says the category is done."""
        return self.folder / "category.json"

    def run(self) -> CategoryResult:
        """Run what is not done yet and return the result."""
        if self.record.exists():
            return self._recorded()
        if self.trained and not (self.trained / "banks.safetensors").is_file():
            raise RunError(
                f"ckpt: expected a finished category in '{self.trained}', got one without banks. "
                "Choose data.category among that run's, or finish it with resume=RUN_DIR."
            )
        backbone_before = self.extractor.seconds
        stored_at = self.trained or self.folder
        plan = self.method.plan(self.extractor, stored_at / "banks.safetensors")
        self.data.setup("fit")
        seconds = {"perturb": 0.0, "banks": 0.0, "rectify": 0.0}
        diagnostics: dict[str, Any] = {}
        for stage in plan.stages:
            stage.module.prefix = self.prefix
            artifact = self._run_stage(stage, plan)
            seconds[stage.name] = artifact.seconds
            diagnostics[stage.name] = artifact.diagnostics
        result = self._test(plan, seconds, diagnostics, backbone_before)
        write_json(self.record, result.to_json())
        return result

    def _run_stage(self, stage: Stage, plan: Plan) -> StageArtifact:
        finished = (self.trained or self.folder) / f"{stage.name}.safetensors"
        if finished.exists():
            return self._restore(stage, finished)
        if self.trained:
            raise RunError(
                f"ckpt: expected {finished.name} in '{self.trained}', got none. "
                "Finish that run with resume=RUN_DIR first."
            )
        unfinished = self.folder / f"{stage.name}.ckpt"
        if unfinished.exists():
            log.info("%s: goes on from %s", stage.name, unfinished)
        checkpoint = StageCheckpoint(unfinished, stage.checkpoint_every)
        callbacks: list[Callback] = [checkpoint, StageProgress(stage.name)]
        if stage.module is plan.scorer:
            callbacks.append(plan.builder)
        trainer = self.make_trainer(max_epochs=stage.epochs, callbacks=callbacks)
        trainer.fit(
            stage.module,
            datamodule=self.data,
            ckpt_path=check_readable(unfinished) if unfinished.exists() else None,
            weights_only=True,
        )
        artifact = StageArtifact(
            stage.module.trained_state(),
            backbone_identity(self.extractor),
            checkpoint.seconds,
            stage.module.diagnostics,
        )
        artifact.write(finished)
        for logger in trainer.loggers:
            logger.log_metrics(
                {
                    f"{self.prefix}{stage.name}/{name}": float(value)
                    for name, value in artifact.diagnostics.items()
                }
            )
        unfinished.unlink(missing_ok=True)
        return artifact

    def _restore(self, stage: Stage, finished: Path) -> StageArtifact:
        artifact = StageArtifact.read(finished)
        refuse_other_backbone(artifact.backbone, self.extractor)
        try:
            stage.module.load_trained_state(artifact.state)
        except RuntimeError as error:
            raise DataError(
                f"{finished}: expected the weights of stage '{stage.name}' with these settings, "
                "got others. Delete it to have the stage trained again."
            ) from error
        log.info("%s: taken from %s", stage.name, finished)
        return artifact

    def _recorded(self) -> CategoryResult:
        """Read back what an earlier process finished."""
        try:
            stored = json.loads(self.record.read_text(encoding="utf-8"))
            log.info("%s: finished before, taken from %s", self.folder.name, self.record)
            return CategoryResult.from_json(stored)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.record}: expected a finished category's result, got a file that cannot be "
                "read. Delete it to have the category tested again."
            ) from error

    def _test(
        self,
        plan: Plan,
        seconds: dict[str, float],
        diagnostics: dict[str, Any],
        backbone_before: float,
    ) -> CategoryResult:
        scorer, builder = plan.scorer, plan.builder
        scorer.prefix = self.prefix
        start = time.perf_counter()
        trainer = self.make_trainer(callbacks=[builder, StageProgress("test")])
        trainer.test(scorer, datamodule=self.data, verbose=False)
        scored = scorer.scored
        tested = time.perf_counter() - start
        seconds["banks"] = builder.seconds
        seconds["test"] = tested - scored.seconds - builder.seconds_in_test
        seconds["metrics"] = scored.seconds
        source, target = scored.patches()
        write_tensors(
            self.folder / "patch_scores.safetensors", {"source": source, "target": target}
        )
        write_scores(self.folder / "scores.csv", self._rows(scored.images))
        if self.maps:
            files = write_maps(self.maps, self.data, scored)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):  # W&B; the most anomalous images
                    names = [str(path) for path in files[:8]]
                    logger.log_image(f"{self.prefix}maps", names)
        metrics = scored.metrics
        return CategoryResult(
            shots=self.data.shot_files,
            n_source=self.data.n_source,
            n_test_good=self.data.n_test_good,
            n_test_defect=self.data.n_test_defect,
            fused=metrics["fused"],
            source_only=metrics["source_only"],
            target_only=metrics["target_only"],
            part_mask=metrics["part_mask"],
            bank_rows={
                "source": len(scorer.source_bank.rows),
                "target": len(scorer.target_bank.rows),
            },
            seconds=seconds,
            backbone_seconds=self.extractor.seconds - backbone_before,
            peak_rss_mb=peak_rss_mb(),
            source_share=scored.source_share,
            diagnostics=as_json(diagnostics),
            notes=[
                *(f"{name}: {why}" for name, why in scored.evaluation.undefined.items()),
                *(
                    f"stage {name} failed by its own measure; see diagnostics"
                    for name, measured in diagnostics.items()
                    if measured.get("failed")
                ),
            ],
        )

    def _rows(self, images: list[ImageScore]) -> list[ScoreRow]:
        samples = self.data.test_samples
        return [
            ScoreRow(
                category=samples[image.index].category,
                image=self.data.relative(samples[image.index].depth),
                label=samples[image.index].is_anomalous,
                defect=samples[image.index].defect,
                score=image.fused,
                score_source=image.source,
                score_target=image.target,
            )
            for image in images
        ]
