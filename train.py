"""Run one experiment: compose the configuration, run it, report. The only door to Hydra's jobs."""

import logging
import os
import re
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig

from fsad.errors import FsadError, message_of, printable
from fsad.run.config import register, settle
from fsad.run.overrides import unreadable
from fsad.run.sweep import finished

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
    except Exception as error:
        message = mistake_in(error)
        job = HydraConfig.get()
        if job.mode is RunMode.MULTIRUN:  # Hydra goes on, and shows the first failure at the end
            log.error(message or error, exc_info=not message)  # a worker's traceback is lost
            if message:
                remedy = f"The other jobs went on; run what is missing with resume={job.sweep.dir}"
                message = f"{message.rstrip('.')}. {remedy}"
        elif message:
            sys.exit(message)  # not by way of Hydra, which would put a line of its own before it
        if not message:
            raise
        raise Stopped(message) from None


def mistake_in(error: Exception) -> str:
    """Return the line that tells a user what to mend; nothing if a traceback tells more."""
    if debugging():
        return ""
    if isinstance(error, FsadError):
        return message_of(error)
    if not isinstance(error, InstantiationException):
        return ""
    cause = error.__cause__  # a constructor's complaint arrives wrapped by Hydra
    if isinstance(cause, TypeError):
        return f"settings: expected those the class takes, got '{message_of(cause)}'"
    return message_of(cause) if isinstance(cause, FsadError) else ""


def debugging() -> bool:
    """Tell whether a traceback is wanted: of a variable, which a multirun's workers see too."""
    return os.environ.get("FSAD_DEBUG", "0") not in ("", "0")


def run(cfg: DictConfig) -> float | None:
    """Settle one job's configuration and run it."""
    job = HydraConfig.get()
    number = job.job.num if job.mode is RunMode.MULTIRUN else None
    cfg = settle(cfg, list(job.overrides.task), job.runtime.output_dir, number)
    if number is not None and cfg.resume and (result := finished(Path(cfg.resume))):
        log.info("already finished: %s", cfg.resume)
        return result.mean["image_auroc"]
    from fsad.run.job import (
        run_job,  # lightning takes seconds to import; a mistake shows before that
    )

    return run_job(cfg)


def in_one_line(message: str) -> str:
    """Say what Hydra says of a misspelt key or choice in the words of all other messages."""
    misspelt = re.match(r"Could not override '(.+)'\.\nTo append", message)
    if misspelt:
        return (
            f"{misspelt[1]}: expected the name of a setting, got an unknown one. "
            "See them all with: python train.py --cfg job; those of another method or protocol by "
            "naming it too, as in protocol=open_set"
        )
    several = re.match(r"Ambiguous value for argument '(.+)'\n", message)
    if several:
        return unreadable(several[1]) or message
    choice = re.search(
        r"Could not find '(.+)/(.+)'\n\nAvailable options in .+:\n((?:\t.+\n)+)", message
    )
    if choice:
        return f"{choice[1]}: expected one of {', '.join(choice[3].split())}, got '{choice[2]}'"
    return message


def unwritten(error: OSError) -> str:
    """Say what could not be written; of a disk that is full the error knows no file."""
    named = error.filename
    if named is None:
        job = HydraConfig.get() if HydraConfig.initialized() else None
        named = (job and (job.runtime.output_dir or job.run.dir)) or os.getcwd()
    return (
        f"{printable(os.fsdecode(named) if not isinstance(named, int) else str(named))}: expected "
        f"a file or folder that can be written, got '{error.strerror or message_of(error)}'. "
        "Choose another hydra.run.dir (or hydra.sweep.dir)."
    )


def command() -> None:
    """Run the command line: a mistake is shown without a traceback and exits with 1."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here instead of being printed
    try:
        main()
    except CompactHydraException as error:
        if debugging():
            raise
        override = getattr(error, "override", None)  # which Hydra could not parse
        sys.exit((override and unreadable(override)) or in_one_line(str(error)))
    except BrokenPipeError:  # the reader has seen enough: train.py --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        sys.exit(1)
    except FsadError as error:  # some are OSErrors too
        if debugging():
            raise
        sys.exit(message_of(error))
    except OSError as error:  # Hydra makes the job's folder before the job can
        sys.exit(unwritten(error))


if __name__ == "__main__":
    command()
