"""The Trainers of a job, and what they run on."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, ListConfig, OmegaConf

from fsad.errors import RunError, check_at_least, check_choice, message_of
from fsad.runtime.launch import LeaderGradientDDP


def device(cfg: DictConfig) -> torch.device:
    """Tell the kind of device that the Trainer will choose: CUDA or CPU, no other is known here."""
    gpu = cfg.trainer.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def check_devices(cfg: DictConfig) -> int:
    """Return how many processes share a job.

    Raises:
        ConfigError: ``trainer.devices`` does not say.
    """
    devices = cfg.trainer.devices
    if isinstance(devices, ListConfig):  # chosen GPUs
        return len(devices)
    return check_at_least("trainer.devices", devices, 1)


class TrainerMaker:
    """Makes the fresh Trainer that every fit and every test needs.

    Several devices mean one process each. All of them go through the training stages in step, so
    that the weights are those of one process; what they share out is the extraction of features.

    Args:
        cfg: The settled configuration; ``trainer`` and ``callbacks`` are read.
        logs: The job's loggers, shared by all Trainers.
    """

    def __init__(self, cfg: DictConfig, logs: Sequence[Logger]) -> None:
        self.cfg, self.logs = cfg, logs

    def __call__(self, callbacks: Sequence[Callback], max_epochs: int | None = None) -> Trainer:
        """Make one Trainer.

        Raises:
            RunError: ``lightning.Trainer`` does not take the settings.
        """
        observers = [*callbacks, *instantiate_all(self.cfg.callbacks)]
        strategy: Any = check_choice("trainer.strategy", self.cfg.trainer.strategy, ("auto", "ddp"))
        if check_devices(self.cfg) > 1:
            strategy = LeaderGradientDDP()
        try:
            trainer: Trainer = instantiate(
                self.cfg.trainer,
                callbacks=observers,
                max_epochs=max_epochs,
                logger=list(self.logs) or False,
                enable_progress_bar=False,  # stages have one bar each, of their own
                precision="32-true",  # the extractor knows its own
                strategy=strategy,
                use_distributed_sampler=False,  # loaders know their share
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


def refuse_trainer(cfg: DictConfig) -> None:
    """Refuse settings of which no Trainer can be made.

    Raises:
        RunError, ConfigError: As :class:`TrainerMaker`.
    """
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    asked = {name: settings.get(name) for name in ("trainer", "callbacks")}
    if asked["trainer"].get("default_root_dir") == settings["paths"]["output_dir"]:
        del asked["trainer"]["default_root_dir"]  # the job's own, which is there by now
    _try(json.dumps(asked, sort_keys=True))


@lru_cache(maxsize=1)  # the jobs of a grid have the same, and a try takes as long as their metrics
def _try(settings: str) -> None:
    cfg = OmegaConf.create(json.loads(settings))
    assert isinstance(cfg, DictConfig)
    TrainerMaker(cfg, [])(callbacks=[])


def instantiate_all(nodes: DictConfig | None) -> list[Any]:
    """Build every named node of a group, in order."""
    return [instantiate(node, _convert_="all") for node in (nodes or {}).values() if node]
