"""One job of the command line: build what the configuration names, run it, close its loggers."""

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning import seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from fsad.data.datamodule import DataModule
from fsad.engine.assemble import (
    ResizedExtractor,
    build_extractor,
    build_method,
    shared_backbone,
    weights_setting,
)
from fsad.engine.category_trainer import RunContext
from fsad.engine.last_tests import LastTests
from fsad.engine.pipeline import Job, run
from fsad.engine.stored import blaming
from fsad.engine.trained import refuse_control
from fsad.errors import (
    ConfigError,
    FsadError,
    RunError,
    check_choice,
    check_not_negative,
    message_of,
)
from fsad.functional.screen import int8_is_fast
from fsad.results.record import read_result
from fsad.results.run_folder import alone_in, begin, refuse_used
from fsad.results.table import collect, print_table, write_table
from fsad.run.trainer import (
    TrainerMaker,
    check_devices,
    device,
    instantiate_all,
    refuse_trainer,
)
from fsad.runtime.fingerprint import PACKAGE, code_digest, machine
from fsad.runtime.launch import spawn_workers, threads_of_each
from fsad.runtime.lightning_warnings import quieten_lightning
from fsad.storage.tensor_store import TensorStore, digest
from fsad.storage.tensors import make_folder, sweep

log = logging.getLogger(__name__)

ELSEWHERE = ("_target_", "accelerator", "devices", "strategy", "precision", "default_root_dir")
"""Keywords of the Trainer that change no number, or are known otherwise."""
METRICS = ("histogram", "exact")
TESTS = LastTests(max_bytes=2**28)
"""Of this process, for the cells of a grid: 256 MB hold 500 test images of 224 x 224."""


def run_job(cfg: DictConfig) -> float | None:
    """Run one job in ``paths.output_dir``.

    Args:
        cfg: The settled configuration.

    Returns:
        The mean fused image AUROC, or None where it is undefined.

    Raises:
        FsadError: Something the user can mend; what was finished before is on disk.
    """
    quieten_lightning()
    output = make_folder(Path(cfg.paths.output_dir), "paths.output_dir")
    if not cfg.resume:
        refuse_used(output)
    sweep(output, "**/" if cfg.resume else "")  # what is below a new run's folder is not its own
    # What cannot be built shows before any work, and before the folder counts as a run.
    with blaming(cfg.resume):
        sweep(Path(cfg.paths.cache_dir))
        refuse_trainer(cfg)
    if cfg.export:
        from fsad.export.onnx import refuse_without_packages

        refuse_without_packages()
    logs: list[Logger] = []
    with blaming(cfg.resume):
        job = build(cfg, logs)
    if cfg.export and not cfg.resume:  # what has begun shall end
        refuse_unexportable(cfg.trainer.precision, job)
    _ = job.data.categories
    settings = OmegaConf.to_yaml(cfg)  # not resolved: a resumed run may lie elsewhere
    if not cfg.resume:
        begin(output, settings)
    with alone_in(output):
        return _run_in(output, cfg, settings, job, logs)


def _run_in(
    output: Path, cfg: DictConfig, settings: str, job: Job, logs: list[Logger]
) -> float | None:
    """Run a job that is built, in its folder, and write what it has to show."""
    log.info("writing to %s", output)
    with loggers(cfg.logger) as opened:
        logs += opened
        for logger in logs:
            logger.log_hyperparams(dict(job.config))
        backend = "nccl" if device(cfg).type == "cuda" else "gloo"
        try:
            with spawn_workers(check_devices(cfg), backend, run_beside, settings):
                path = run(job)
        except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
            log.error("interrupted. Go on with: python train.py resume=%s", output)
            raise
        result = read_result(path)
        means = {f"mean/{name}": it for name, it in result.mean.items() if it is not None}
        for logger in logs if means else ():
            logger.log_metrics(means)
    runs = collect([output])
    write_table(output, runs)
    print_table(runs)
    if cfg.report:
        write_page(output)
    if cfg.export:
        keep_exported(output, job.data.categories, OmegaConf.select(cfg, weights_setting(cfg)))
    log.info("results in %s", output)
    return result.mean["image_auroc"]


def write_page(output: Path) -> None:
    """Write a finished run's report."""
    with log_failures("report", f"fsad report {output}"):
        from fsad.report import write_report  # plotly takes a second to import

        log.info("report in %s", write_report([output]))


def refuse_unexportable(precision: str, job: Job) -> None:
    """Refuse to start a run that could not be exported at its end, as far as that shows already.

    Raises:
        ConfigError: It computes in half precision, its scores would differ in another program, or
            it scores no image by itself.
    """
    from fsad.export.module import refuse_half
    from fsad.export.onnx import refuse_unsteady

    name = job.method.name
    try:
        refuse_half(precision)
        refuse_unsteady(name, job.extractor.name)
        refuse_control(name, job.method.plan(job.extractor).scorer)
    except FsadError as error:
        raise ConfigError(
            f"export: expected a run that ONNX can hold, got '{message_of(error).rstrip('.')}'. "
            "To run it as it is leave export=true out."
        ) from error


def keep_exported(output: Path, categories: Sequence[str], weights: str | None) -> None:
    """Leave an exported file of each category in a finished run.

    Args:
        output: The run's folder.
        categories: Its categories.
        weights: The backbone's file of weights; where a run was gone on with, its first
            configuration may name another, which has moved.
    """
    option = f" --weights-path {weights}" if weights else ""
    for category in categories:
        with log_failures("export", f"fsad export {output} --category {category}{option}"):
            from fsad.export.from_run import export_run

            path = Path(weights) if weights else None
            exported = export_run(output, category, weights_path=path)
            log.info("exported file in %s; it scores %s", exported.path, exported.proof)


@contextmanager
def log_failures(name: str, remedy: str) -> Iterator[None]:
    """Log what goes wrong after a run's results are written; it must not spoil them.

    Args:
        name: The setting that asked for what is being written.
        remedy: The command that writes it later.
    """
    try:
        yield
    except Exception as error:
        log.error(
            "%s: expected to write one, got '%s'. Correct that, then: %s",
            name,
            message_of(error),
            remedy,
            exc_info=not isinstance(error, FsadError),
        )


def run_beside(settings: str) -> None:
    """Run a job as one of its further processes, which write and log nothing.

    Args:
        settings: The settled configuration as YAML.
    """
    quieten_lightning()
    cfg = OmegaConf.create(settings)
    assert isinstance(cfg, DictConfig)
    run(build(cfg, []))


def build(cfg: DictConfig, logs: Sequence[Logger]) -> Job:
    """Build everything that a job needs.

    Raises:
        FsadError: A setting is out of range, or the weights cannot be had.
    """
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config["resume"] = None  # how a run was gone on with is not what it is
    seed_everything(cfg.seed, workers=True, verbose=False)
    method = build_method(cfg)
    settings = {**config["data"], "protocol": config["protocol"]}
    data: DataModule = instantiate(settings, _convert_="all")
    method.refuse_modality(data.protocol.modality)
    extractor = build_extractor(cfg, method, shared_backbone)
    extractor.store = data.store = open_store(cfg)
    return Job(
        method=method,
        extractor=extractor,
        data=data,
        around=RunContext(
            make_trainer=TrainerMaker(cfg, logs),
            loggers=logs,
            store=extractor.store,
            identity=identity(cfg, method, extractor),
            settings=config["method"],
            exact_metrics=check_choice("metrics", cfg.metrics, METRICS) == "exact",
            threshold=cfg.threshold,
            tests=TESTS,
        ),
        output=Path(cfg.paths.output_dir),
        config=config,
        seed=cfg.seed,
        trained=Path(cfg.ckpt) if cfg.ckpt else None,
        maps=cfg.maps,
        report=cfg.report,
        resized=ResizedExtractor(cfg, method, extractor.store),
    )


def open_store(cfg: DictConfig) -> TensorStore | None:
    """Open what runs share under ``paths.cache_dir``; None with ``cache=none``."""
    size = check_not_negative("cache.max_gb", cfg.cache.max_gb)
    return TensorStore(Path(cfg.paths.cache_dir) / "tensors", int(size * 1e9)) if size else None


def identity(cfg: DictConfig, *parts: object) -> str:
    """Digest what decides a run's numbers besides the settings of method, data and backbone.

    Args:
        cfg: The settled configuration.
        parts: What the configuration names; further code that it comes from counts too.
    """
    files = (inspect.getsourcefile(type(part)) for part in parts)
    sources = {Path(file) for file in files if file and PACKAGE not in Path(file).parents}
    trainer: Any = OmegaConf.to_container(cfg.trainer, resolve=True)
    return digest(
        code_digest(),
        [sha256(path.read_bytes()).hexdigest() for path in sorted(sources)],
        machine(device(cfg), threads_of_each(check_devices(cfg))),
        int8_is_fast(),  # which of two searches is taken
        {name: value for name, value in trainer.items() if name not in ELSEWHERE},
        OmegaConf.to_container(cfg.callbacks, resolve=True) if cfg.callbacks else None,
    )


@contextmanager
def loggers(nodes: DictConfig | None) -> Iterator[list[Logger]]:
    """Build the loggers, and close them whatever happens.

    Without closing, a second job in this process would go on in the first one's W&B run.

    Raises:
        RunError: A logger does not start.
    """
    opened: list[Any] = []
    status = "failed"
    try:
        for logger in instantiate_all(nodes):
            _start(logger)
            opened.append(logger)
        yield opened
        status = "success"
    finally:
        for logger in opened:
            _close(logger, status)


def _start(logger: Any) -> None:
    try:
        logger.experiment  # noqa: B018 (W&B starts its run here)
    except Exception as error:
        raise RunError(
            f"logger: expected {type(logger).__name__} to start, got '{message_of(error)}'. "
            "For W&B log in with `wandb login`, or pass logger.wandb.offline=true."
        ) from error


def _close(logger: Any, status: str) -> None:
    try:
        logger.finalize(status)
        if hasattr(logger, "log_image"):  # W&B
            logger.experiment.finish(exit_code=0 if status == "success" else 1)
    except Exception as error:  # the results are written; a logger must not spoil them
        log.warning("%s did not close: %s", type(logger).__name__, message_of(error))
