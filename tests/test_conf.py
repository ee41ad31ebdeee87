"""The configuration: every option composes, typos are refused, runs can take over other runs."""

from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fsad.config import output_folder, register, settle
from fsad.errors import ConfigError, FsadError, MissingDataError

CONF = Path(__file__).parents[1] / "conf"
GROUPS = (
    "data",
    "backbone",
    "method",
    "trainer",
    "callbacks",
    "logger",
    "sweep",
    "debug",
    "experiment",
)


def composed(*overrides, run=True):
    register()
    words = [*overrides, *(["paths.output_dir=out"] if run else [])]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=words, return_hydra_config=not run)


def options():
    for group in GROUPS:
        for path in sorted((CONF / group).glob("*.yaml")):
            if (group, path.stem) != ("data", "pairs"):
                yield group, path.stem


@pytest.mark.parametrize(("group", "option"), list(options()))
def test_every_option_of_every_group_composes_and_resolves(group, option):
    needed = ["data.root=PATH", "data.category=all"] if group in ("data", "experiment") else []
    cfg = composed(f"{group}={option}", *needed)
    settle(cfg, [])
    assert OmegaConf.is_readonly(cfg)


@pytest.mark.parametrize(
    "typo", ["method.alhpa=0.1", "data.shotss=1", "sed=1", "method.perturb.stdd=1", "paths.out=x"]
)
def test_a_misspelt_key_is_refused(typo):
    with pytest.raises(
        ConfigCompositionException, match=f"Could not override '{typo.split('=')[0]}'"
    ):
        composed(typo)


def test_a_misspelt_option_lists_those_there_are():
    with pytest.raises(ConfigCompositionException, match="resnet18"):
        composed("backbone=resnet81")


def test_a_seed_that_is_no_number_is_refused():
    with pytest.raises(ConfigCompositionException):
        composed("seed=abc")


def test_the_last_of_two_values_or_options_wins():
    assert composed("data.shots=1", "data.shots=2").data.shots == 2
    assert composed("backbone=dino_vits8", "backbone=resnet18").backbone.name == "resnet18"


@pytest.mark.parametrize("dataset", ["mvtec3d", "eyecandies"])
def test_real_data_get_the_papers_backbone_unless_told_otherwise(dataset):
    assert composed(f"data={dataset}").backbone.name == "dino_vitb8"
    assert composed(f"data={dataset}", "backbone=resnet18").backbone.name == "resnet18"
    assert composed("backbone=resnet18", f"data={dataset}").backbone.name == "resnet18"


def test_the_embedded_default_is_small_and_says_that_its_weights_are_random():
    default = composed()
    assert default.backbone.name == "tiny"
    assert default.backbone.pretrained is False
    assert default.data.reader._target_ == "fsad.data.synthetic.Synthetic"


def test_a_required_key_without_value_is_named_with_its_remedy():
    cfg = composed("data=mvtec3d", "data.category=bagel")
    with pytest.raises(
        ConfigError, match=r"data.root: expected a value, got none. Pass data.root="
    ):
        settle(cfg, [])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.alpha=1.5", r"method.alpha: expected a number in \[0, 1\], got 1.5"),
        ("method.beta=-0.1", r"method.beta: expected a number in \[0, 1\], got -0.1"),
        ("method.alpha=abc", r"method.alpha: expected a number in \[0, 1\], got 'abc'"),
        ("method.knn=5", "method.knn: expected an even number, half per domain, got 5"),
        ("method.sigma=-1", "method.sigma: expected a number of at least 0, got -1"),
        ("method.stages.perturb=2", "method.stages.perturb: expected true or false, got 2"),
        ("method.perturb.std=0", "method.perturb.std: expected a number above 0, got 0"),
        ("method.perturb.factors=x", "method.perturb.factors: expected one of channel, spatial"),
        ("method.banks.source_ratio=0", "method.banks.source_ratio: expected a number above 0"),
        (
            "method.rectify.scale=two",
            "method.rectify.scale: expected one of one, median, got 'two'",
        ),
        ("method.rectify.epochs=0", "method.rectify.epochs: expected a whole number of at least 1"),
    ],
)
def test_a_value_out_of_range_names_the_key_and_the_range(override, message):
    cfg = composed(override)
    with pytest.raises(Exception, match="Error in call to target") as caught:
        instantiate(cfg.method, _convert_="all")
    assert isinstance(caught.value.__cause__, FsadError)
    with pytest.raises(ConfigError, match=message):
        raise caught.value.__cause__


def axes(*overrides):
    params = composed(*overrides, run=False).hydra.sweeper.params
    return {key: str(value).split(",") for key, value in params.items()}


def test_sweeps_hold_the_axes_that_issue_and_paper_name():
    tenths = [f"{i / 10:.1f}" for i in range(11)]
    assert axes("sweep=alpha_beta") == {"method.alpha": tenths, "method.beta": tenths}
    assert axes("sweep=shots") == {"data.shots": ["1", "2", "5"], "seed": list("01234")}


def test_the_ablation_is_the_papers_table_3():
    params = composed("sweep=ablation", run=False).hydra.sweeper.params
    ((key, value),) = params.items()
    (override,) = OverridesParser.create().parse_overrides([f"{key}={value}"])
    rows = [tuple(stages.values()) for stages in override.value().list]
    assert key == "method.stages"
    assert rows == [
        (False, False, False),
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (True, True, True),
    ]
    assert all(list(stages) == list(composed().method.stages) for stages in override.value().list)


def test_two_sweeps_cross():
    crossed = axes("sweep=[alpha_beta,shots]")
    assert set(crossed) == {"method.alpha", "method.beta", "data.shots", "seed"}
    assert len(list(product(*crossed.values()))) == 11 * 11 * 3 * 5


@pytest.mark.parametrize("dataset", ["mvtec3d", "eyecandies"])
def test_the_category_sweep_follows_the_dataset(dataset):
    names = axes(f"data={dataset}", "sweep=categories")["data.category"]
    assert len(names) == 10


def test_jobs_that_share_an_output_folder_get_one_each():
    cfg = composed()
    assert output_folder(cfg, "out", None) == Path("out")
    assert output_folder(cfg, "multirun/3", 3) == Path("out/3")
    own = OmegaConf.merge(cfg, {"paths": {"output_dir": "multirun/3"}})
    assert output_folder(own, "multirun/3", 3) == Path("multirun/3")


def test_ckpt_without_a_run_says_so(tmp_path):
    cfg = composed(f"ckpt={tmp_path}")
    with pytest.raises(MissingDataError, match=r"ckpt: expected a run's folder with config.yaml"):
        settle(cfg, [])


def test_resume_keeps_the_runs_own_settings(tmp_path):
    stored = composed("method.beta=0.2")
    settle(stored, [])
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(stored))
    cfg = composed(f"resume={tmp_path}")
    assert settle(cfg, [f"resume={tmp_path}"]).method.beta == 0.2
    with pytest.raises(
        ConfigError, match=r"resume: expected no settings of its own, got method\.beta"
    ):
        settle(composed(f"resume={tmp_path}"), ["method.beta=0.5"])
