"""A job of a multirun made from its neighbour is the one that Hydra composes."""

import pickle
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from fsad.run.config import register
from fsad.run.neighbour import NeighbourLoader, compose_from_neighbours
from fsad.run.sweep import SweepStart

CONF = Path(__file__).parents[2] / "conf"
MASTER = ("sweep=alpha_beta", "data.category=tile")


class Counting:
    """Hydra's loader, and how often it composed."""

    def __init__(self, loader):
        self.loader = loader
        self.composed = 0

    def load_sweep_config(self, master, words):
        self.composed += 1
        return self.loader.load_sweep_config(master, words)


@pytest.fixture
def hydra():
    """Hydra's own loader and a multirun's configuration."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        yield loader, loader.load_configuration("train", list(MASTER), run_mode=RunMode.MULTIRUN)


def everything(cfg):
    """All that a configuration holds, with what may be changed in it."""
    flags = [OmegaConf.is_struct(node) for node in (cfg, cfg.hydra, cfg.method, cfg.data)]
    return OmegaConf.to_container(cfg), OmegaConf.to_yaml(cfg), flags, OmegaConf.get_cache(cfg)


def both(hydra, jobs):
    """Compose jobs in turn by Hydra, and each from its neighbour; count what Hydra was asked."""
    loader, master = hydra
    counting = Counting(loader)
    ours = NeighbourLoader(counting)
    for words in jobs:
        made = ours.load_sweep_config(master, [*MASTER, *words])
        made.hydra.job.num = 3  # as a launcher does; it must not reach the next
        made = ours.load_sweep_config(master, [*MASTER, *words])
        assert everything(made) == everything(loader.load_sweep_config(master, [*MASTER, *words]))
    return counting.composed


@pytest.mark.parametrize(
    "jobs",
    [
        [["method.alpha=0.1", "method.beta=0.2"], ["method.alpha=0.1", "method.beta=0.3"]],
        [["method.alpha=0.1", "method.beta=0.2"], ["method.alpha=1.0", "method.beta=1"]],
        [["seed=0"], ["seed=1"]],  # of a type of its own, and referred to
        [["data.root='a,b'"], ["data.root='c=d'"]],
        [["maps=true"], ["maps=false"]],
        [["data.shots=1"], ["data.shots=2"], ["data.shots=3"]],
    ],
)
def test_jobs_that_differ_in_values_are_composed_once(hydra, jobs):
    assert both(hydra, jobs) == 1


@pytest.mark.parametrize(
    "jobs",
    [
        [["method=hypertrans"], ["method=patchcore"]],  # other files
        [["backbone=tiny", "seed=0"], ["backbone=dino_vits8", "seed=0"]],
        [["cache=none"], ["cache=default"]],
        [["seed=0"], ["data.shots=1"]],
        [["seed=0"], ["seed=0", "data.shots=1"]],
        [["data.root=a"], ["data.root='${paths.cache_dir}'"]],  # refers to another
        [["data.root='${paths.cache_dir}'"], ["data.root=a"]],
        [["method.stages={perturb:true}"], ["method.stages={perturb:false}"]],
        [["+trainer.x=1"], ["+trainer.x=2"]],
        [["~logger.csv"], ["~logger"]],
        [
            ["method.stages={perturb:false}", "method.stages.perturb=true"],
            ["method.stages={perturb:false}", "method.stages.perturb=null"],
        ],
        [["hydra.job.name=a"], ["hydra.job.name=b"]],
    ],
)
def test_whatever_else_differs_is_left_to_hydra(hydra, jobs):
    assert both(hydra, jobs) >= len(jobs)


def test_a_setting_that_is_not_there_is_refused_as_hydra_does(hydra):
    loader, master = hydra
    ours = NeighbourLoader(loader)
    ours.load_sweep_config(master, [*MASTER, "seed=0"])
    for words in (["sead=1"], ["seed=x"]):
        with pytest.raises(HydraException) as theirs:
            loader.load_sweep_config(master, [*MASTER, *words])
        with pytest.raises(type(theirs.value)) as caught:
            ours.load_sweep_config(master, [*MASTER, *words])
        assert str(caught.value) == str(theirs.value)


def test_another_multirun_is_composed_anew(hydra):
    loader, master = hydra
    counting = Counting(loader)
    ours = NeighbourLoader(counting)
    ours.load_sweep_config(master, [*MASTER, "seed=0"])
    master.hydra.overrides.hydra.append("hydra.sweep.dir=elsewhere")
    assert ours.load_sweep_config(master, [*MASTER, "seed=1"]).hydra.sweep.dir == "elsewhere"
    assert counting.composed == 2


def test_a_launchers_process_gets_the_neighbour_too(hydra):
    loader, master = hydra
    ours = NeighbourLoader(loader)
    ours.load_sweep_config(master, [*MASTER, "seed=0"])
    there = pickle.loads(pickle.dumps(ours))
    there._loader = None  # need not be asked
    assert there.load_sweep_config(master, [*MASTER, "seed=1"]).seed == 1


def test_a_multirun_is_composed_so_from_its_start():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", ["seed=0,1"], run_mode=RunMode.MULTIRUN)
        config.hydra.sweep.dir = "named"
        SweepStart().on_multirun_start(config)
        compose_from_neighbours()  # once is enough
        ours = GlobalHydra.instance().config_loader()
        assert isinstance(ours, NeighbourLoader)
        assert ours._loader is loader
