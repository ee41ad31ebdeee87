"""Runs on a tiny generated set; the conftest of each folder of tests imports the fixtures."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from fsad.run.config import register, settle
from fsad.run.job import run_job

ROOT = Path(__file__).parents[1]
GENERATED = (
    "data.reader.size=64",
    "data.reader.n_train=4",
    "data.reader.n_validation=1",
    "data.reader.n_test_good=2",
    "data.reader.n_test_defect=1",
    "data.reader.categories=[knob,tile]",
)
TINY = (
    "backbone.model_args.embed_dim=24",
    "backbone.model_args.patch_size=8",
    "backbone.model_args.depth=4",
    "backbone.layers=[1,2]",
    "backbone.stem=null",
    "backbone.pretrained=false",
)
REST = (
    "report=false",  # 5 MB of plotly.js; the runs that are about it ask for it
    "data.category=tile",
    "data.image_size=64",
    "data.batch_size=2",
    "data.shots=2",
    "method.perturb.hidden=4",
    "method.perturb.epochs=3",
    "method.rectify.hidden=16",
    "method.rectify.epochs=12",
)
SMALL = (*GENERATED, *TINY, *REST)


def settled(overrides: list[str]) -> DictConfig:
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return settle(compose("train", overrides=overrides), overrides)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the generated set, shared by every run of the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def run(cache: Path) -> Callable[..., Path]:
    """Run one job in ``output`` with the small configuration and the overrides given.

    Nothing is taken from another run unless ``cache=default`` is among them.
    ``without`` leaves out the small configuration's overrides that start with it.
    """

    def go(output: Path, *overrides: str, without: str | tuple[str, ...] | None = None) -> Path:
        if any(word.startswith("resume=") for word in overrides):
            words = list(overrides)
        else:
            again = any(word.startswith("ckpt=") for word in overrides)
            small: tuple[str, ...] = ("report=false",) if again else SMALL
            if without:
                small = tuple(word for word in small if not word.startswith(without))
            paths = [f"paths.output_dir={output}", f"paths.cache_dir={cache}"]
            words = [*paths, "cache=none", *small, *overrides]
        run_job(settled(words))
        return output

    return go


@pytest.fixture(scope="session")
def finished(run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with every stage on."""
    return run(tmp_path_factory.mktemp("finished"))
