"""One category: its stages in order, then the test; what is finished is never done again."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fsad.data.datamodule import DataModule
from fsad.data.profile import InputProfile
from fsad.engine.artifacts import StageArtifact, restore, trained_plan
from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.engine.category_trainer import CategoryTrainer, RunContext
from fsad.engine.finished import FinishedCategory
from fsad.engine.held_out_shots import CacheSlot, groups_of, set_threshold
from fsad.engine.learnt import record_learnt, refuse_learnt
from fsad.engine.measure import Measured, banks_of, measure
from fsad.engine.plan import Method, Plan
from fsad.engine.scorer import Control, Scorer
from fsad.engine.stage import BankStage, FitStage, Settings, file_of
from fsad.errors import DataError, RunError
from fsad.nn.extractor import PatchExtractor
from fsad.results.feature_samples import EMBEDDINGS
from fsad.results.record import (
    CATEGORY,
    SCORES_DIGEST,
    CategoryResult,
    scores_digest,
    write_scores,
)
from fsad.runtime.processes import broadcast_from_first, is_rank_zero
from fsad.scores.combination import MapMaker
from fsad.scores.map_strips import write_maps
from fsad.scores.score_set import Scores, ScoreSet, from_tensors, to_tensors
from fsad.scores.threshold import THRESHOLD
from fsad.storage.digests import with_digest
from fsad.storage.memo import Memo
from fsad.storage.tensor_store import digest
from fsad.storage.tensors import make_folder, read_tensors, write_json, write_tensors

log = logging.getLogger(__name__)

SCORES = "patch_scores"


class CategoryRun:
    """Runs one category in a folder of its own.

    The folder holds ``<stage>.safetensors`` for each finished stage, ``<stage>.ckpt`` for an
    unfinished one, ``learnt.json`` where images of the test split are learnt from,
    ``banks.safetensors``, ``patch_scores.safetensors``, ``scores.csv``,
    ``embeddings.safetensors`` where there is something to show, ``category.json``, which ends it,
    and ``threshold.json``; a run that finds them goes on from there. The safetensors files are
    shared with other runs that would make the same.

    Args:
        method: What to run.
        extractor: The frozen backbone of the run.
        data: One category's data.
        run_data: That of all the run's categories, for stages that are trained once per run.
        around: What the run's categories share.
        folder: The category's folder.
        trained: This category's folder in another, finished run, whose stages and banks are used
            instead of training.
        maps: Where pictures go; None writes none.
        prefix: Put before log keys.
        embeddings: Keep what the stages have to show.
        resized: Returns the backbone for the category's canvas, and tells ``data`` of it; called
            where something is to be computed. None: it is that of the run.
    """

    def __init__(
        self,
        method: Method,
        extractor: PatchExtractor,
        data: DataModule,
        run_data: DataModule,
        around: RunContext,
        folder: Path,
        trained: Path | None = None,
        maps: Path | None = None,
        prefix: str = "",
        embeddings: bool = False,
        resized: Callable[[], PatchExtractor] | None = None,
    ) -> None:
        self.method, self.extractor, self.around = method, extractor, around
        self.data, self.run_data = data, run_data
        self.folder = make_folder(folder, "paths.output_dir")
        self.trained = trained
        self.maps = maps
        self.prefix = prefix
        self.embeddings = embeddings
        self.reused: list[str] = []
        self._resized = resized
        self._finished = FinishedCategory(folder, maps, around.threshold, embeddings)

    @property
    def record(self) -> Path:
        """The file that says the category is done."""
        return self.folder / CATEGORY

    @cached_property
    def _trainer(self) -> CategoryTrainer:
        return CategoryTrainer(self.extractor, self.data, self.run_data, self.around, self.prefix)

    def run(self) -> CategoryResult:
        """Run what is not done yet and return the result."""
        if broadcast_from_first(self.record.exists()):
            result = self._finished.result()
            lacking = broadcast_from_first(self._finished.lacking(result, self._shows_something))
            if not lacking:
                log.info("%s: already finished, read from %s", self.folder.name, self.record)
                return result
            log.info("%s: not finished (no %s); continuing", self.folder.name, lacking)
        if self.trained and not self.trained.is_dir():
            raise RunError(
                f"ckpt: expected a finished category in '{self.trained}', got none. "
                "Choose data.category among that run's, or finish it first: python train.py "
                f"resume={self.trained.parents[1]}"
            )
        if self._resized is not None:
            self.extractor = self._resized()
        backbone_before = self.extractor.seconds
        plan = self.method.plan(self.extractor)
        self.data.setup("fit")
        self._trainer.refuse_processes_without_test()
        self._watch_what_is_learnt(plan)
        profile = self.data.inspect_shots()  # first: a file that misleads costs no training
        memos = self._memos(plan)
        seconds: dict[str, float] = {}
        diagnostics: dict[str, Any] = {}
        builder: MemoryBankBuilder | None = None
        for stage in plan.stages:
            self._refuse_untrained(memos[stage.name])
            if isinstance(stage, BankStage):  # the next fit fills them, or else the test
                builder = MemoryBankBuilder(stage, self.data, memos[stage.name])
                continue
            artifact = self._fit(stage, builder, memos[stage.name])
            seconds[stage.name] = artifact.seconds
            diagnostics[stage.name] = artifact.diagnostics
        scores, seconds["test"] = self._score(plan.scorer, builder, memos[SCORES])
        if builder:
            seconds[builder.stage.name] = builder.seconds
        if is_rank_zero():
            result = self._measured(plan, scores, seconds, diagnostics, backbone_before, profile)
        self._keep_samples(plan, memos[EMBEDDINGS])
        if is_rank_zero():
            if self.around.threshold:  # after everything else, of which it must change nothing
                result = replace(result, threshold=self._threshold(plan, memos))
            self._end(result, plan)  # last: a category with this file is taken for finished
        broadcast_from_first(None)  # the others wait until it is there
        return result if is_rank_zero() else self._finished.result()

    def _watch_what_is_learnt(self, plan: Plan) -> None:
        """Refuse to test what was learnt from, and write down what will be."""
        folder = self.trained or self.folder
        watched = [(folder, self.data)]
        if any(stage.scope == "run" for stage in plan.stages) and not self.trained:
            watched.append((folder.parents[1], self.run_data))
        for place, data in watched:
            refuse_learnt(place, data.task)
            if not self.trained and is_rank_zero():
                record_learnt(place, data.task)

    def _memos(self, plan: Plan) -> dict[str, Memo]:
        """Tell each file of the category, and the digest of all that decides what is in it.

        A file depends on what it is made of and on the files before it, in the order in which they
        are made.
        """
        steps: list[tuple[Path, str, Settings | None, list[str]]] = []
        for stage in plan.stages:
            reads: tuple[str, ...] = ("source", "shots")
            owner = self.method.name
            if isinstance(stage, FitStage):
                reads, owner = stage.reads, stage.owner or owner
                for role in reads:  # one that is not there has no content, whatever the data
                    self._trainer.data_of(stage).task.role(role)
            path = file_of(stage, self.trained or self.folder)
            content = self._content(self._trainer.data_of(stage), *reads)
            steps.append((path, owner, stage.depends, content))
        for name, depends, roles in (
            (EMBEDDINGS, {}, ("source", "shots")),
            (SCORES, plan.scores_depend, ("test",)),
        ):
            path = self.folder / f"{name}.safetensors"
            content = self._content(self.data, *roles)
            if name == SCORES and isinstance(plan.scorer, Control) and content:
                content = [self.data.test_content()]  # it scores what is known of the images
            steps.append((path, self.method.name, depends, content))
        data = (
            self.data.canvas.to_json(),
            self.data.batch_size,
            self.data.seed,
            self.data.rules.to_json(),
        )
        about = (self.around.identity, self.extractor.identity(), data)
        key = digest(self.extractor.name, about)
        # What lies here already may be of other code or another machine: it is this run's alone.
        begun = broadcast_from_first(
            any(self.folder.glob("*.safetensors")) or any(self.folder.glob("*.ckpt"))
        )
        store = None if begun or self.trained else self.around.store
        memos = {}
        for path, owner, depends, content in steps:
            settings = self.around.settings if depends is None else depends
            key = digest(key, path.stem, owner, settings, content)
            memos[path.stem] = Memo(path, store, key)
        return memos

    def _content(self, data: DataModule, *roles: str) -> list[str]:
        """Digest the images that a step reads."""
        if self.around.store is None or not is_rank_zero():
            return []
        return [data.digest(role) for role in roles]

    def _refuse_untrained(self, memo: Memo) -> None:
        """Refuse to test again what another run has not finished."""
        if self.trained and not memo.path.exists():
            raise RunError(
                f"ckpt: expected {memo.path.name} in '{self.trained}', got none. "
                f"Finish that run first: python train.py resume={self.trained.parents[1]}"
            )

    def _fit(self, stage: FitStage, builder: MemoryBankBuilder | None, memo: Memo) -> StageArtifact:
        """Have a stage's network trained, here or by whoever did it before."""
        unfinished = file_of(stage, self.folder, ".ckpt")
        with memo.making() as needed:
            if needed:
                artifact = self._trainer.train(stage, builder, unfinished)
                if is_rank_zero():
                    artifact.write(memo.path)
        if not needed:
            artifact = restore(stage, memo.path, self.extractor)
            log.info("%s: taken from %s", stage.name, memo.path)
            self.reused.append(stage.name)
        if is_rank_zero():
            unfinished.unlink(missing_ok=True)
        return artifact

    def _end(self, result: CategoryResult, plan: Plan) -> None:
        """Record the category, and how its scores became maps: no setting need say that."""
        about = {
            "sigma": plan.sigma,
            "beta": plan.combination.share("source"),
            "combination": plan.combination.to_json(),
            SCORES_DIGEST: scores_digest(self.folder / "scores.csv"),
        }
        write_json(self.record, with_digest(result.to_json() | about))

    def _shows_something(self) -> bool:
        """Tell whether a stage has features to show."""
        return any(stage.has_samples for stage in self.method.plan(self.extractor).fits)

    def _score(
        self, scorer: Scorer, builder: MemoryBankBuilder | None, memo: Memo
    ) -> tuple[dict[str, Scores], float]:
        """Return the scores of all test images, and the seconds that scoring them took."""
        # Scores are of no use without their banks.
        lost = builder is not None and not builder.memo.is_there()
        with memo.making(afresh=lost) as needed:
            if needed:
                tensors, seconds = self._trainer.test(scorer, builder)
                if tensors is not None:
                    write_tensors(memo.path, tensors, {"seconds": str(seconds)})
        if builder and not needed:
            builder.read()
        self.reused += ["banks"] * (builder is not None and not builder.built)
        self.reused += ["test"] * (not needed)
        try:
            tensors, metadata = read_tensors(memo.path)
            seconds = float(metadata["seconds"])
            return (from_tensors(tensors) if self.data.test_samples else {}), seconds
        except (DataError, KeyError) as error:
            raise DataError(
                f"{memo.path}: expected patch scores, got a file that cannot be read. "
                "Delete it to have the category tested again."
            ) from error

    def _keep_samples(self, plan: Plan, memo: Memo) -> None:
        """Write what the stages have to show, once the numbers are known: it changes none."""
        if not (self.embeddings and any(stage.has_samples for stage in plan.fits)):
            return
        start = time.perf_counter()
        with memo.making() as needed:
            if needed and is_rank_zero():
                write_tensors(memo.path, self._trainer.samples(plan))
                log.info("embeddings: kept in %.1f s", time.perf_counter() - start)

    def _measured(
        self,
        plan: Plan,
        scores: dict[str, Scores],
        seconds: dict[str, float],
        diagnostics: dict[str, Any],
        backbone_before: float,
        profile: InputProfile,
    ) -> CategoryResult:
        """Measure the scores, write and draw them."""
        start = time.perf_counter()
        measured = measure(
            self.data,
            plan,
            scores,
            profile,
            self.around.exact_metrics,
            self.around.tests,
            self._test_key(plan, scores),
        )
        seconds["metrics"] = time.perf_counter() - start
        for line in measured.doubts:
            log.warning("%s: %s", self.folder.name, line)
        self._trainer.log({f"test/{name}": value for name, value in measured.numbers.items()})
        write_scores(self.folder / "scores.csv", measured.rows(self.data))
        if self.maps:
            self._draw(measured, scores)
        return measured.result(
            self.data,
            profile,
            bank_rows={bank.domain: len(bank.features) for bank in banks_of(plan)},
            seconds=seconds,
            backbone_seconds=self.extractor.seconds - backbone_before,
            diagnostics=diagnostics,
            reused=self.reused,
        )

    def _test_key(self, plan: Plan, scores: ScoreSet) -> str:
        """Digest all that decides what the test yields before the parts of the score are combined.

        Empty if nothing is shared.
        """
        if self.around.store is None:
            return ""
        return digest(
            to_tensors(scores),
            [plan.sigma, self.around.exact_metrics, self.data.batch_size],
            [self.data.canvas.to_json(), self.data.rules.to_json(), self.data.test_content()],
        )

    def _draw(self, measured: Measured, scores: ScoreSet) -> None:
        """Write a picture of every test image; W&B gets the most anomalous."""
        assert self.maps is not None
        files = write_maps(self.maps, self.data, measured.scored, scores)
        for logger in self.around.loggers:
            if hasattr(logger, "log_image"):
                names = [str(path) for path in files[:8]]
                logger.log_image(f"{self.prefix}maps", names)

    def _threshold(self, plan: Plan, memos: Mapping[str, Memo]) -> dict[str, Any]:
        """Set the threshold, write ``threshold.json``, and return what is in it."""
        maker = MapMaker(self.data.canvas.shape, plan.sigma, plan.combination)
        device = self._trainer.device()

        def again() -> Plan:
            return trained_plan(self.method, self.extractor, self.trained or self.folder, device)

        groups = groups_of(len(self.data.shot_files))
        key = digest(memos[SCORES].key, "held out", groups)  # what is trained, and how it scores
        threshold = set_threshold(
            plan, again, self.data, maker, CacheSlot(memos[SCORES].store, key), self.data.shot_files
        )
        self.extractor.to("cpu")
        for line in threshold.note.splitlines():
            log.info("%s: %s", self.folder.name, line)
        threshold.write(self.folder / THRESHOLD)
        return threshold.to_json()
