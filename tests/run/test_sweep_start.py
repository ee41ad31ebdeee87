"""How a multirun starts: from what was composed, before any job."""

from itertools import product
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import OmegaConf

from fsad.errors import ConfigError, DataError, MissingDataError
from fsad.run.config import LAUNCHERS, register
from fsad.run.sweep import SweepStart, check_launcher, go_on

CONF = Path(__file__).parents[2] / "conf"


def composed(*words):
    """What Hydra composes for a multirun."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return loader.load_configuration("train", list(words), run_mode=RunMode.MULTIRUN)


def started(folder, *words):
    """A folder as a multirun leaves it that was killed at once."""
    folder.mkdir(parents=True)
    OmegaConf.save(composed(*words), folder / "multirun.yaml")
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep's folder."""
    return started(tmp_path_factory.mktemp("of") / "it's (one)", "seed=0,1", "data.shots=1")


def test_a_sweep_gone_on_with_writes_where_it_wrote(sweep):
    config = composed("seed=0,1", f'resume="{sweep}"', "data.shots=1")
    go_on(config)
    assert config.resume == config.hydra.sweep.dir == str(sweep)
    words = [*config.hydra.overrides.hydra, *config.hydra.overrides.task]
    again = composed(*words)  # as the jobs are
    assert again.resume == again.hydra.sweep.dir == str(sweep)


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_runs_and_sweeps_begun_in_one_second_get_folders_of_their_own(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"hydra.{kind}.dir='it\\'s (one)/${{now:%Y}}'"  # the same for a year
    folders = []
    for _ in range(3):
        config = composed(name)
        getattr(SweepStart(), f"on_{'multirun' if kind == 'sweep' else 'run'}_start")(config)
        folders.append(Path(config.hydra[kind].dir))
        again = composed(*config.hydra.overrides.hydra)  # as jobs are
        assert again.hydra[kind].dir == config.hydra[kind].dir
    year = folders[0].name
    assert [each.name for each in folders] == [year, f"{year}_2", f"{year}_3"]
    assert all(each.is_dir() for each in folders)


def test_a_folder_that_the_user_names_stays_as_named_though_it_is_there(tmp_path):
    config = composed(f"hydra.run.dir={tmp_path}")
    SweepStart().on_run_start(config)
    assert config.hydra.run.dir == str(tmp_path)


def test_where_no_folder_can_be_made_hydra_is_left_to_say_so(tmp_path):
    (tmp_path / "file").touch()
    config = composed(f"hydra.run.dir='{tmp_path}/file/${{now:%Y}}'")
    before = config.hydra.run.dir
    SweepStart().on_run_start(config)
    assert config.hydra.run.dir == before


@pytest.mark.parametrize(
    "word", ["trainer.accelerator=gpu", "data.root=elsewhere", "hydra/launcher=joblib"]
)
def test_it_may_go_on_elsewhere(sweep, word):
    config = composed("seed=0,1", "data.shots=1", f'resume="{sweep}"', word)
    go_on(config)
    assert config.hydra.sweep.dir == str(sweep)


@pytest.mark.parametrize(
    ("words", "expected", "got"),
    [
        (["seed=0,1", "data.shots=2"], "data.shots=1", "data.shots=2"),
        (["seed=0,1"], "data.shots=1", "nothing"),
        (["data.shots=1", "seed=0,1"], "seed=0,1", "data.shots=1"),  # jobs have other numbers
        (["seed=0,1", "data.shots=1", "maps=false"], "no other argument", "maps=false"),
        (["sweep=shots"], "seed=0,1", "sweep=shots"),
    ],
)
def test_a_sweep_goes_on_with_the_arguments_it_was_started_with(sweep, words, expected, got):
    config = composed(*words, f'resume="{sweep}"')
    with pytest.raises(ConfigError) as caught:
        go_on(config)
    assert str(caught.value) == (
        f"resume: expected {expected} as '{sweep}' was started, got {got}. "
        "Pass the same in the same order, or start a new sweep."
    )


def test_a_folder_without_a_sweep_is_named(tmp_path):
    message = r"resume: expected a sweep's folder with multirun.yaml, got '.*'. A single run"
    with pytest.raises(MissingDataError, match=message):
        go_on(composed("seed=0,1", f"resume={tmp_path}"))


@pytest.mark.parametrize("text", ["{", "", "- 1", "hydra: {}"])
def test_a_spoiled_record_of_a_sweep_is_named(tmp_path, text):
    (tmp_path / "multirun.yaml").write_text(text)
    with pytest.raises(DataError, match=r"multirun\.yaml: expected what Hydra stores .* got '"):
        go_on(composed("seed=0,1", f"resume={tmp_path}"))


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A folder with multiruns of several sweeps."""
    folder = tmp_path_factory.mktemp("several")
    for name, starts in {
        "[alpha_beta,shots]": ["2026-01-01/10-00-00"],
        "shots": ["2026-01-02/10-00-00", "2026-01-01/11-00-00"],
        "alpha_beta": ["2026-01-02/09-00-00", "2026-01-02/11-00-00"],
    }.items():
        for start in starts:
            started(folder / "multirun" / start, f"sweep={name}")
    return folder


@pytest.mark.parametrize(
    ("name", "newest"),
    [
        ("[alpha_beta,shots]", "2026-01-01/10-00-00"),
        ("shots", "2026-01-02/10-00-00"),
        ("alpha_beta", "2026-01-02/11-00-00"),
    ],
)
def test_the_newest_sweep_is_the_newest_with_the_same_name(several, monkeypatch, name, newest):
    monkeypatch.chdir(several)
    config = composed(f"sweep={name}", "resume=newest")
    go_on(config)
    assert config.resume == f"multirun/{newest}"


def test_without_an_earlier_sweep_there_is_no_newest(several, monkeypatch):
    monkeypatch.chdir(several)
    message = r"resume: expected an earlier multirun with sweep=ablation below 'multirun', got none"
    with pytest.raises(MissingDataError, match=message):
        go_on(composed("sweep=ablation", "resume=newest"))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_are_composed_from_our_files_whether_installed_or_not(launcher):
    path = CONF / "hydra" / "launcher" / f"{launcher}.yaml"
    written = OmegaConf.to_container(OmegaConf.load(path))
    config = composed(f"hydra/launcher={launcher}", "seed=0,1")
    assert OmegaConf.to_container(config.hydra.launcher) == written
    assert config.hydra.launcher._target_.startswith("hydra_plugins.hydra_")


def test_every_launcher_of_ours_is_known():
    files = (CONF / "hydra" / "launcher").glob("*.yaml")
    assert sorted(path.stem for path in files) == sorted(LAUNCHERS)


@pytest.mark.parametrize(
    ("launcher", "package", "extra"),
    [
        ("joblib", "hydra-joblib-launcher", "joblib"),
        ("submitit_slurm", "hydra-submitit-launcher", "submitit"),
        ("ray", "hydra-ray-launcher", "ray"),
    ],
)
def test_a_launcher_that_is_not_installed_is_named(monkeypatch, launcher, package, extra):
    config = composed(f"hydra/launcher={launcher}")
    monkeypatch.setattr(Plugins.instance(), "discover", lambda _: [])
    with pytest.raises(ConfigError) as caught:
        check_launcher(config)
    assert str(caught.value) == (
        f"hydra/launcher={launcher}: expected the package {package}, got none. "
        f"Install it with pip install 'fsad[{extra}]'."
    )


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_launcher_that_is_installed_is_accepted(launcher):
    check_launcher(composed(f"hydra/launcher={launcher}"))


def test_an_alpha_beta_sweep_draws_no_pictures_unless_asked_to():
    swept = [
        composed(f"sweep={name}", *more).maps
        for name, more in product(
            ["alpha_beta", "shots", "[alpha_beta,shots]"], [(), ("maps=true",)]
        )
    ]
    assert swept == [False, True, True, True, False, True]
