"""One category: its stages in order, then the test; what is finished is never done again."""

import csv
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from fsad.data.datamodule import PairDataModule
from fsad.data.inspect.doubts import Doubts
from fsad.data.profile import InputProfile
from fsad.engine.artifacts import StageArtifact, restore, trained_plan
from fsad.engine.checkpoint import backbone_identity, check_readable
from fsad.engine.last_tests import LastTests
from fsad.engine.leave_one_out import Shelf, set_threshold
from fsad.engine.plan import Method, Plan, Settings, Stage
from fsad.engine.stage_checkpoint import StageCheckpoint
from fsad.engine.stage_progress import StageProgress
from fsad.errors import ConfigError, DataError, RunError, message_of
from fsad.nn.extractor import PatchExtractor
from fsad.results.feature_samples import EMBEDDINGS
from fsad.results.record import (
    CATEGORY,
    SCORES_DIGEST,
    CategoryResult,
    ScoreRow,
    peak_rss_mb,
    read_category,
    scores_digest,
    write_scores,
)
from fsad.results.result import as_json
from fsad.runtime.processes import agree, is_first
from fsad.runtime.progress import track
from fsad.runtime.randomness import seeded
from fsad.scores.map_strips import write_maps
from fsad.scores.scored import (
    Fusion,
    ImageScore,
    ScoredImages,
    Scores,
    scores_by_domain,
    source_share,
)
from fsad.scores.threshold import THRESHOLD, read_threshold
from fsad.storage.digests import refuse_changed, with_digest
from fsad.storage.memo import Memo
from fsad.storage.regular import refuse_irregular
from fsad.storage.tensor_store import TensorStore, digest
from fsad.storage.tensors import make_folder, read_tensors, write_json, write_tensors

log = logging.getLogger(__name__)

SCORES = "patch_scores"

MakeTrainer = Callable[..., Trainer]


@dataclass(frozen=True)
class Surroundings:
    """What all categories of a run share.

    Attributes:
        make_trainer: Returns a Trainer from ``max_epochs`` and ``callbacks``; a fresh one is needed
            for every fit, a used one would train for no step.
        loggers: Told what is measured.
        store: Where files lie that other runs need too; None keeps them to this run.
        identity: All that decides a run's numbers besides its method, data and backbone: the code,
            the machine, the number of threads.
        settings: All of the method's settings.
        exact_metrics: Keep and sort every pixel for the metrics.
        threshold: Set a threshold from the shots when the test is over.
        tests: What the process's last tests yielded, and what this run's will be kept in; used
            where files are shared.
    """

    make_trainer: MakeTrainer
    loggers: Sequence[Logger] = ()
    store: TensorStore | None = None
    identity: str = ""
    settings: Settings = field(default_factory=dict)
    exact_metrics: bool = False
    threshold: bool = False
    tests: LastTests = field(default_factory=LastTests)


class CategoryRun:
    """Runs one category in a folder of its own.

    The folder holds ``<stage>.safetensors`` for each finished stage, ``<stage>.ckpt`` for an
    unfinished one, ``banks.safetensors``, ``patch_scores.safetensors``, ``scores.csv``,
    ``embeddings.safetensors`` where there is something to show, ``category.json``, which ends it,
    and ``threshold.json``; a run that finds them goes on from there. The safetensors files are
    shared with other runs that would make the same.

    Args:
        method: What to run.
        extractor: The frozen backbone.
        data: One category's data.
        around: What the run's categories share.
        folder: The category's folder.
        trained: This category's folder in another, finished run, whose stages and banks are used
            instead of training.
        maps: Where pictures go; None writes none.
        prefix: Put before log keys.
        embeddings: Keep what the stages have to show.
    """

    def __init__(
        self,
        method: Method,
        extractor: PatchExtractor,
        data: PairDataModule,
        around: Surroundings,
        folder: Path,
        trained: Path | None = None,
        maps: Path | None = None,
        prefix: str = "",
        embeddings: bool = False,
    ) -> None:
        self.method, self.extractor, self.data, self.around = method, extractor, data, around
        self.folder = make_folder(folder, "paths.output_dir")
        self.trained = trained
        self.maps = maps
        self.prefix = prefix
        self.embeddings = embeddings
        self.reused: list[str] = []

    @property
    def record(self) -> Path:
        """The file that says the category is done."""
        return self.folder / CATEGORY

    def run(self) -> CategoryResult:
        """Run what is not done yet and return the result."""
        if agree(self.record.exists()):
            result = self._recorded()
            lacking = agree(self._lacking(result))
            if not lacking:
                log.info("%s: finished before, taken from %s", self.folder.name, self.record)
                return result
            log.info("%s: not finished, there is no %s; goes on", self.folder.name, lacking)
        if self.trained and not (self.trained / "banks.safetensors").is_file():
            raise RunError(
                f"ckpt: expected a finished category in '{self.trained}', got one without banks. "
                "Choose data.category among that run's, or finish it first: python train.py "
                f"resume={self.trained.parents[1]}"
            )
        backbone_before = self.extractor.seconds
        stored_at = self.trained or self.folder
        plan = self.method.plan(self.extractor, stored_at / "banks.safetensors")
        self.data.setup("fit")
        self._refuse_processes_without_test()
        profile = self.data.inspect_shots()  # first: a file that misleads costs no training
        memos = self._memos(plan)
        plan.builder.memo = memos["banks"]
        seconds = {"perturb": 0.0, "banks": 0.0, "rectify": 0.0}
        diagnostics: dict[str, Any] = {}
        for stage in plan.stages:
            stage.module.prefix = self.prefix
            artifact = self._run_stage(stage, plan, memos[stage.name])
            seconds[stage.name] = artifact.seconds
            diagnostics[stage.name] = artifact.diagnostics
        scores, seconds["test"] = self._score(plan, memos[SCORES])
        seconds["banks"] = plan.builder.seconds
        if is_first():
            result = self._measure(plan, scores, seconds, diagnostics, backbone_before, profile)
        self._keep_embeddings(plan, memos[EMBEDDINGS])
        if is_first():
            if self.around.threshold:  # after everything else, of which it must change nothing
                result = replace(result, threshold=self._threshold(plan, memos))
            self._end(result, plan)  # last: a category with this file is taken for finished
        agree(None)  # the others wait until it is there
        return result if is_first() else self._recorded()

    def _memos(self, plan: Plan) -> dict[str, Memo]:
        """Tell each file of the category, and the digest of all that decides what is in it.

        A file depends on what it is made of and on the files before it, in the order in which they
        are made: the banks come right before the stage that scores, or after all stages.
        """
        steps: list[tuple[str, Settings | None, list[str]]] = []
        banks = ("banks", plan.banks_depend, self._content("source", "shots"))
        for stage in plan.stages:
            if stage.module is plan.scorer:
                steps.append(banks)
            steps.append((stage.name, stage.depends, self._content(*stage.module.train_domains)))
        if banks not in steps:
            steps.append(banks)
        steps.append((EMBEDDINGS, {}, self._content("source", "shots")))
        steps.append((SCORES, plan.scores_depend, self._content("test")))
        data = (
            self.data.image_size,
            self.data.batch_size,
            self.data.seed,
            self.data.rules.to_json(),
        )
        about = (self.around.identity, self.method.name, self.extractor.identity(), data)
        key = digest(self.extractor.name, about)
        # What lies here already may be of other code or another machine: it is this run's alone.
        begun = agree(any(self.folder.glob("*.safetensors")) or any(self.folder.glob("*.ckpt")))
        store = None if begun or self.trained else self.around.store
        memos = {}
        for name, depends, content in steps:
            settings = self.around.settings if depends is None else depends
            key = digest(key, name, settings, content)
            trained = self.trained if name not in (EMBEDDINGS, SCORES) else None
            folder = trained or self.folder
            memos[name] = Memo(folder / f"{name}.safetensors", store, key)
        return memos

    def _content(self, *splits: str) -> list[str]:
        """Digest the images that a step reads; the sources' colours, or else depth."""
        if self.around.store is None or not is_first():
            return []
        names = ("shots" if it == "target" else it for it in splits)
        return [self.data.digest("rgb" if it == "source" else "depth", it) for it in names]

    def _run_stage(self, stage: Stage, plan: Plan, memo: Memo) -> StageArtifact:
        if self.trained and not memo.path.exists():
            raise RunError(
                f"ckpt: expected {memo.path.name} in '{self.trained}', got none. "
                f"Finish that run first: python train.py resume={self.trained.parents[1]}"
            )
        unfinished = self.folder / f"{stage.name}.ckpt"
        with memo.making() as needed:
            if needed:
                artifact = self._train(stage, plan, unfinished)
                if is_first():
                    artifact.write(memo.path)
        if not needed:
            artifact = restore(stage, memo.path, self.extractor)
            log.info("%s: taken from %s", stage.name, memo.path)
            self.reused.append(stage.name)
        if is_first():
            unfinished.unlink(missing_ok=True)
        return artifact

    def _train(self, stage: Stage, plan: Plan, unfinished: Path) -> StageArtifact:
        checkpoint = StageCheckpoint(unfinished, stage.checkpoint_every)
        callbacks: list[Callback] = [checkpoint, StageProgress(stage.name)]
        if stage.module is plan.scorer:
            callbacks.append(plan.builder)
        goes_on = agree(unfinished.exists())
        if goes_on:
            log.info("%s: goes on from %s", stage.name, unfinished)
        trainer = self.around.make_trainer(max_epochs=stage.epochs, callbacks=callbacks)
        trainer.fit(
            stage.module,
            datamodule=self.data,
            ckpt_path=check_readable(unfinished) if goes_on else None,
            weights_only=True,
        )
        artifact = StageArtifact(
            stage.module.trained_state(),
            backbone_identity(self.extractor),
            checkpoint.seconds,
            stage.module.diagnostics,
        )
        self._log({f"{stage.name}/{name}": it for name, it in artifact.diagnostics.items()})
        return artifact

    def _end(self, result: CategoryResult, plan: Plan) -> None:
        """Record the category, and how its scores became maps: no setting need say that."""
        about = {
            "sigma": plan.sigma,
            "beta": plan.beta,
            SCORES_DIGEST: scores_digest(self.folder / "scores.csv"),
        }
        write_json(self.record, with_digest(result.to_json() | about))

    def _recorded(self) -> CategoryResult:
        """Read back what an earlier process finished."""
        try:
            refuse_irregular(self.record)
            stored = json.loads(self.record.read_text(encoding="utf-8"))
            refuse_changed(stored)
            return CategoryResult.from_json(stored)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{self.record}: expected a finished category's result, got a file that cannot be "
                f"read ({message_of(error)}). Delete it to have the category tested again."
            ) from error

    def _lacking(self, result: CategoryResult) -> str:
        """Name what was asked for and is not there; empty if all is."""
        if self.around.threshold and result.threshold is None:
            return "threshold"  # of an earlier version, killed while it was set
        for name, is_whole in (("scores.csv", self._has_scores), (THRESHOLD, self._has_threshold)):
            if name == THRESHOLD and not self.around.threshold:
                continue
            if not (self.folder / name).is_file():
                return name
            if not is_whole():
                return f"{name} as it was written"
        tested = result.n_test_good + result.n_test_defect
        if self.maps and tested and not any(self.maps.glob("*.png")):
            return f"picture in {self.maps}"
        samples = self.folder / f"{EMBEDDINGS}.safetensors"
        if self.embeddings and not samples.is_file() and self._shows_something():
            return samples.name
        return ""

    def _has_scores(self) -> bool:
        """Tell whether ``scores.csv`` is as the record has it, if it says."""
        written = read_category(self.folder).get(SCORES_DIGEST)
        try:
            return written is None or scores_digest(self.folder / "scores.csv") == written
        except (OSError, ValueError, csv.Error):
            return False

    def _has_threshold(self) -> bool:
        """Tell whether ``threshold.json`` can be believed."""
        try:
            read_threshold(self.folder / THRESHOLD)
        except DataError:
            return False
        return True

    def _shows_something(self) -> bool:
        """Tell whether a stage has embeddings to keep."""
        plan = self.method.plan(self.extractor, self.folder / "banks.safetensors")
        return any(stage.embeddings for stage in plan.stages)

    def _score(self, plan: Plan, memo: Memo) -> tuple[dict[str, Scores], float]:
        """Return the scores of all test images, and the seconds that scoring them took."""
        lost = not plan.builder.memo.is_there()  # scores are of no use without their banks
        with memo.making(afresh=lost) as needed:
            if needed:
                patches, seconds = self._test(plan)
                if patches is not None:
                    write_tensors(memo.path, patches, {"seconds": str(seconds)})
        if not needed:
            plan.builder.read(plan.scorer)
        self.reused += ["banks"] * (not plan.builder.built) + ["test"] * (not needed)
        try:
            patches, metadata = read_tensors(memo.path)
            seconds = float(metadata["seconds"])
            return (scores_by_domain(patches) if self.data.test_samples else {}), seconds
        except (DataError, KeyError) as error:
            raise DataError(
                f"{memo.path}: expected patch scores, got a file that cannot be read. "
                "Delete it to have the category tested again."
            ) from error

    def _test(self, plan: Plan) -> tuple[dict[str, Tensor] | None, float]:
        start = time.perf_counter()
        scorer, builder = plan.scorer, plan.builder
        if not self.data.test_samples:
            return self._without_test(plan), 0.0
        trainer = self.around.make_trainer(callbacks=[builder, StageProgress("test")])
        trainer.test(scorer, datamodule=self.data, verbose=False)
        device = trainer.strategy.root_device  # the module is back on the CPU by now
        patches = scorer.patches.gathered(len(self.data.test_samples), device)
        return patches, time.perf_counter() - start - builder.seconds_in_test

    def _refuse_processes_without_test(self) -> None:
        """Refuse several processes where there is nothing to share out among them."""
        if self.data.test_samples:
            return
        count = self.around.make_trainer(callbacks=[]).world_size
        if count > 1:
            raise ConfigError(
                f"trainer.devices: expected 1 without test images, got {count}. "
                "Say trainer.devices=1, or add images to test/."
            )

    def _without_test(self, plan: Plan) -> dict[str, Tensor]:
        """Build the banks all the same: a threshold, and predictions, need no test images."""
        plan.scorer.to(self.around.make_trainer(callbacks=[]).strategy.root_device)
        plan.builder.fill(self.data, plan.scorer)
        plan.scorer.cpu()
        return {}

    def _keep_embeddings(self, plan: Plan, memo: Memo) -> None:
        """Write what the stages have to show, once the numbers are known: it changes none."""
        if not (self.embeddings and any(stage.embeddings for stage in plan.stages)):
            return
        start = time.perf_counter()
        with memo.making() as needed:
            if needed and is_first():
                write_tensors(memo.path, self._embeddings(plan))
                log.info("embeddings: kept in %.1f s", time.perf_counter() - start)

    @torch.no_grad()
    def _embeddings(self, plan: Plan) -> dict[str, Tensor]:
        device = self.around.make_trainer(callbacks=[]).strategy.root_device
        kept: dict[str, Tensor] = {}
        for stage in plan.stages:
            if stage.embeddings:
                stage.module.to(device)  # Lightning has put it back on the CPU
                with seeded(self.data.seed, EMBEDDINGS):
                    sets = stage.embeddings(self.data)
                stage.module.cpu()
                kept |= {f"{stage.name}.{name}": rows.float() for name, rows in sets.items()}
        return kept

    def _measure(
        self,
        plan: Plan,
        scores: dict[str, Scores],
        seconds: dict[str, float],
        diagnostics: dict[str, Any],
        backbone_before: float,
        profile: InputProfile,
    ) -> CategoryResult:
        scorer = plan.scorer
        start = time.perf_counter()
        tests, key = self.around.tests, self._test_key(plan, scores)
        scored = ScoredImages(
            self.extractor.image_size,
            plan.sigma,
            plan.beta,
            self.around.exact_metrics,
            tuple(scores),
            unmixed=tests.get(key),
            keep=tests.max_bytes if key else -1,
        )
        doubts = Doubts(self.data.test_samples, self.data.image_size, profile)
        truths = self.data.truth_dataloader()
        for truth in track(scored.truths(truths), "metrics", len(truths)):
            batch = {
                domain: Scores(*(column[truth.index] for column in each))
                for domain, each in scores.items()
            }
            scored.update(truth, batch)
            doubts.update(truth)
        for line in doubts.lines():
            log.warning("%s: %s", self.folder.name, line)
        metrics = scored.compute()
        tests.keep(key, scored.unmixed())
        share = source_share(scores, plan.beta)
        seconds["metrics"] = time.perf_counter() - start
        fused = {name: value for name, value in metrics["fused"].items() if value is not None}
        if share is not None:
            fused["source_share"] = share
        self._log({f"test/{name}": value for name, value in fused.items()})
        write_scores(self.folder / "scores.csv", self._rows(scored.images))
        if self.maps:
            files = write_maps(self.maps, self.data, scored, scores)
            for logger in self.around.loggers:
                if hasattr(logger, "log_image"):  # W&B; the most anomalous images
                    names = [str(path) for path in files[:8]]
                    logger.log_image(f"{self.prefix}maps", names)
        return CategoryResult(
            shots=self.data.shot_files,
            n_source=self.data.n_source,
            n_test_good=self.data.n_test_good,
            n_test_defect=self.data.n_test_defect,
            fused=metrics["fused"],
            source_only=metrics.get("source_only", {}),
            target_only=metrics.get("target_only", {}),
            part_mask=metrics["part_mask"],
            bank_rows={
                bank.domain: len(bank.features) for bank in (scorer.source_bank, scorer.target_bank)
            },
            seconds=seconds,
            backbone_seconds=self.extractor.seconds - backbone_before,
            peak_rss_mb=peak_rss_mb(),
            source_share=share,
            diagnostics=as_json(diagnostics),
            reused=self.reused,
            test_digest=self.data.digest("depth", "test"),
            metrics_within=max(
                (bound for it in scored.bounds.values() for bound in it.values()),
                default=0.0,
            ),
            prepared=self.data.prepared,
            undefined=dict(scored.evaluation.undefined),
            input=profile.to_json(),
            notes=[
                *doubts.lines(),
                *(
                    f"stage {name} has not learnt what it trains for; see diagnostics"
                    for name, measured in diagnostics.items()
                    if measured.get("failed")
                ),
            ],
        )

    def _test_key(self, plan: Plan, scores: Mapping[str, Scores]) -> str:
        """Digest all that decides what the test yields besides beta; empty if nothing is shared."""
        if self.around.store is None:
            return ""
        return digest(
            {domain: list(each) for domain, each in scores.items()},
            [plan.sigma, self.around.exact_metrics, self.extractor.image_size],
            [self.data.batch_size, self.data.image_size, self.data.rules.to_json()],
            [self.data.digest(read, "test") for read in ("depth", "mask")],
            [[sample.is_anomalous, sample.is_masked] for sample in self.data.test_samples],
        )

    def _threshold(self, plan: Plan, memos: Mapping[str, Memo]) -> dict[str, Any]:
        """Set the threshold, write ``threshold.json``, and return what is in it."""
        fusion = Fusion(self.extractor.image_size, plan.sigma, plan.beta)
        device = self.around.make_trainer(callbacks=[]).strategy.root_device
        banks = memos["banks"]

        def again() -> Plan:
            return trained_plan(self.method, self.extractor, banks.path.parent, device)

        key = digest(memos[SCORES].key, "held out")  # with what is trained and how it scores
        threshold = set_threshold(
            plan, again, self.data, fusion, Shelf(banks.store, key), self.data.shot_files
        )
        self.extractor.to("cpu")
        for line in threshold.note.splitlines():
            log.info("%s: %s", self.folder.name, line)
        threshold.write(self.folder / THRESHOLD)
        return threshold.to_json()

    def _log(self, numbers: Mapping[str, float]) -> None:
        if not numbers:  # a logger would make a row, or a step, of nothing
            return
        for logger in self.around.loggers:
            logger.log_metrics({f"{self.prefix}{name}": float(it) for name, it in numbers.items()})

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
