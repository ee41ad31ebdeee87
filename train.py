"""Run one experiment: compose the configuration, run it, report. The only door to Hydra's jobs."""

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig

from fsad.config import register, settle
from fsad.errors import FsadError, message_of

CONF = str(Path(__file__).parent / "conf")
log = logging.getLogger("fsad")
register()


class Stopped(CompactHydraException):
    """A user's mistake, in one line."""


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Run one job and return its mean image AUROC, the value a sweeper sees."""
    try:
        return run(cfg)
    except (FsadError, InstantiationException) as error:
        # A constructor's complaint arrives wrapped by Hydra.
        mistake = error.__cause__ if isinstance(error, InstantiationException) else error
        if not isinstance(mistake, FsadError):
            raise
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            log.error(message_of(mistake))  # Hydra shows the first failed job's, at the very end
        raise Stopped(message_of(mistake)) from None


def run(cfg: DictConfig) -> float | None:
    """Settle one job's configuration and run it."""
    job = HydraConfig.get()
    number = job.job.num if job.mode is RunMode.MULTIRUN else None
    cfg = settle(cfg, list(job.overrides.task), job.runtime.output_dir, number)
    from fsad.job import run_job  # lightning takes seconds to import; a mistake shows before that

    return run_job(cfg)


def command() -> None:
    """Run the command line: a mistake is shown without a traceback and exits with 1."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here instead of being printed
    try:
        main()
    except CompactHydraException as error:
        sys.exit(str(error))
    except OSError as error:  # Hydra makes the job's folder before the job can
        sys.exit(
            f"{error.filename}: expected a file or folder that can be written, got "
            f"'{error.strerror}'. Choose another hydra.run.dir (or hydra.sweep.dir)."
        )


if __name__ == "__main__":
    command()
