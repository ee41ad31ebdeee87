"""One job of the command line: build what the configuration names, run it, close its loggers."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from fsad.errors import ConfigError, RunError, message_of
from fsad.files import make_folder, write_text
from fsad.pipeline import Job, run
from fsad.report import read_result
from fsad.table import collect, print_table, write_table

log = logging.getLogger(__name__)

EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # data.workers is the user's choice
    ".*module\\(s\\) in eval mode at the start of training.*",  # the backbone is frozen
    ".*treespec, LeafSpec.*",  # Lightning's own use of torch
)


def run_job(cfg: DictConfig) -> float | None:
    """Run one job in ``paths.output_dir``.

    Args:
        cfg: The settled configuration.

    Returns:
        The mean fused image AUROC, or None where it is undefined.

    Raises:
        FsadError: Something the user can mend; what was finished before is on disk.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    output = make_folder(Path(cfg.paths.output_dir), "paths.output_dir")
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config["resume"] = None  # how a run was gone on with is not what it is
    if not cfg.resume:
        _refuse_used(output)
    seed_everything(cfg.seed, workers=True, verbose=False)
    # What cannot be built shows before any work, and before the folder counts as a run.
    TrainerMaker(cfg, [])(callbacks=[])
    method = instantiate(cfg.method, _convert_="all")
    data = instantiate(cfg.data, _convert_="all")
    extractor = instantiate(cfg.backbone, _convert_="all")
    if not cfg.resume:
        # Not resolved, so that a resumed run may lie elsewhere.
        write_text(output / "config.yaml", OmegaConf.to_yaml(cfg))
    log.info("writing to %s", output)
    with loggers(cfg.logger) as logs:
        job = Job(
            method=method,
            extractor=extractor,
            data=data,
            make_trainer=TrainerMaker(cfg, logs),
            output=output,
            config=config,
            seed=cfg.seed,
            trained=Path(cfg.ckpt) if cfg.ckpt else None,
            maps=cfg.maps,
        )
        for logger in logs:
            logger.log_hyperparams(config)
        try:
            result = read_result(run(job))
        except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
            log.error("interrupted. Go on with: python train.py resume=%s", output)
            raise
        for logger in logs:
            numbers = {f"mean/{name}": value for name, value in result.mean.items()}
            logger.log_metrics(
                {name: value for name, value in numbers.items() if value is not None}
            )
    runs = collect([output])
    write_table(output, runs)
    print_table(runs)
    log.info("results in %s", output)
    return result.mean["image_auroc"]


def _refuse_used(output: Path) -> None:
    """Refuse a folder with another run in it: its finished stages would be taken for this one's."""
    for name in ("config.yaml", "result.json", "categories"):
        if (output / name).exists():
            raise RunError(
                f"paths.output_dir: expected a folder without a run, got '{output}' with {name}. "
                f"Go on with resume={output}, or choose another folder."
            )


class TrainerMaker:
    """Makes the fresh Trainer that every fit and every test needs.

    Args:
        cfg: The settled configuration; ``trainer`` and ``callbacks`` are read.
        logs: The job's loggers, shared by all Trainers.

    Raises:
        ConfigError: More than one device is asked for.
    """

    def __init__(self, cfg: DictConfig, logs: Sequence[Logger]) -> None:
        if cfg.trainer.devices not in (1, "1", [0]):
            raise ConfigError(
                f"trainer.devices: expected 1, got {cfg.trainer.devices}. "
                "Banks are built in one process; run categories as jobs of a multirun instead."
            )
        self.cfg, self.logs = cfg, logs

    def __call__(self, callbacks: Sequence[Callback], max_epochs: int | None = None) -> Trainer:
        """Make one Trainer."""
        observers = [*callbacks, *instantiate_all(self.cfg.callbacks)]
        try:
            trainer: Trainer = instantiate(
                self.cfg.trainer,
                callbacks=observers,
                max_epochs=max_epochs,
                logger=list(self.logs) or False,
                enable_progress_bar=False,  # stages have one bar each, of their own
                _convert_="all",
            )
        except Exception as error:
            cause = error.__cause__ or error
            if isinstance(cause, MisconfigurationException | TypeError | ValueError):
                raise RunError(
                    f"trainer: expected settings that lightning.Trainer takes, got "
                    f"'{message_of(cause)}'. Without a GPU pass trainer=cpu."
                ) from error
            raise
        return trainer


def instantiate_all(nodes: DictConfig | None) -> list[Any]:
    """Build every named node of a group, in order."""
    return [instantiate(node, _convert_="all") for node in (nodes or {}).values() if node]


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
