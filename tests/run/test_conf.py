"""The configuration: every option composes, typos are refused, runs can take over other runs."""

import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fsad.errors import ConfigError, DataError, FsadError, MissingDataError, RunError
from fsad.nn.weights import SHIPPED
from fsad.run.config import register, settle

CONF = Path(__file__).parents[2] / "conf"
GROUPS = (
    "data",
    "protocol",
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
            if not path.stem.startswith("_"):  # what several have in common
                yield group, path.stem


@pytest.mark.parametrize(("group", "option"), list(options()))
def test_every_option_of_every_group_composes_and_resolves(group, option):
    needed = ["data.root=PATH", "data.category=all"] if group in ("data", "experiment") else []
    cfg = settle(composed(f"{group}={option}", *needed), [])
    assert OmegaConf.is_readonly(cfg)
    assert "${" not in OmegaConf.to_yaml(cfg, resolve=True)


@pytest.mark.parametrize(
    "typo", ["method.alhpa=0.1", "data.shotss=1", "sed=1", "method.perturb.stdd=1", "paths.out=x"]
)
def test_a_misspelt_key_is_refused(typo):
    with pytest.raises(
        ConfigCompositionException, match=f"Could not override '{typo.split('=')[0]}'"
    ):
        composed(typo)


@pytest.mark.parametrize("word", ["+foo=1", "++foo.bar=2", "+foo=null", "+foo={bar:[1]}"])
def test_a_key_added_at_the_top_is_refused_with_those_there_are(word):
    with pytest.raises(ConfigError) as caught:
        settle(composed(word), [word])
    assert str(caught.value) == (
        "foo: expected one of data, source, protocol, backbone, method, trainer, callbacks, "
        "logger, paths, cache, metrics, seed, maps, report, threshold, export, ckpt, resume, got "
        "an unknown key. Leave it out, or put the name of its group before it, as in "
        "method.alpha=0.5."
    )


def test_what_is_packed_at_the_top_may_set_any_key_there_is_and_no_other(tmp_path):
    words = (f"hydra.searchpath=[file://{tmp_path}]", "sweep=alpha_beta", "debug=default")
    words = (*words, "experiment=mvtec3d_dino", "data.root=PATH", "+trainer.limit_test_batches=1")
    local = tmp_path / "local/default.yaml"
    local.parent.mkdir()
    local.write_text("# @package _global_\nseed: 7\ncallbacks: {mine: null}\n")
    assert settle(composed(*words), []).seed == 7
    local.write_text("# @package _global_\nsed: 7\n")
    with pytest.raises(ConfigCompositionException, match="sed"):
        composed(*words)


@pytest.mark.parametrize("machines", ["2", "0", "two"])
def test_several_machines_for_one_run_are_refused_with_the_remedy(machines):
    message = (
        rf"^trainer\.num_nodes: expected 1, got '?{machines}'?\. A run's processes share one "
        r"machine \(trainer\.devices\); for several use the jobs of a multirun with "
        r"hydra/launcher=submitit_slurm\.$"
    )
    with pytest.raises(ConfigError, match=message):
        settle(composed(f"+trainer.num_nodes={machines}"), [])


def test_one_machine_may_be_said():
    assert settle(composed("+trainer.num_nodes=1"), []).trainer.num_nodes == 1


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


def test_the_embedded_default_needs_no_download():
    default = composed()
    assert default.backbone.name == "tiny"
    assert default.backbone.pretrained is True
    assert (SHIPPED / default.backbone.shipped).is_file()
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
        ("method.rectify_banks=maybe", "method.rectify_banks: expected true or false, got 'maybe'"),
        ("method.stages.perturb=2", "method.stages.perturb: expected true or false, got 2"),
        ("method.perturb.std=0", "method.perturb.std: expected a number above 0, got 0"),
        ("method.banks.source_ratio=0", "method.banks.source_ratio: expected a number above 0"),
        (
            "method.rectify.scale=two",
            "method.rectify.scale: expected one of one, median, got 'two'",
        ),
        ("method.rectify.dropout=1", "method.rectify.dropout: expected a number below 1, got 1"),
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


SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_job_of_a_sweep_composes(sweep):
    """What a sweep of several methods sets must be known before one of them is chosen."""
    params = composed(f"sweep={sweep}", run=False).hydra.sweeper.params
    words = [f"{key}={value}" for key, value in params.items()]
    several = OverridesParser.create().parse_overrides(words)
    one_by_one = [
        [f"{each.key_or_group}={value}" for value in each.sweep_string_iterator()]
        for each in several
    ]
    for axis in one_by_one:
        firsts = [choices[0] for choices in one_by_one if choices is not axis]
        for choice in axis:
            composed(f"sweep={sweep}", *firsts, choice, run=False)


def test_labelled_anomalies_are_swept_in_the_hard_setting_too():
    words = ("protocol.setting=hard", "protocol.known_defect=bump", "method.fit.epochs=2")
    for job in ([], ["method=dra"], ["method=ahl"]):
        cfg = composed("sweep=open_set", *words, *job, run=False)
        assert (cfg.protocol.known_defect, cfg.method.fit.epochs) == ("bump", 2)


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


@pytest.mark.parametrize(
    ("job_folder", "job", "expected"),
    [("elsewhere", None, "out"), ("multirun/3", 3, "out/3"), ("out", 3, "out")],
    ids=["one job", "a multirun sharing a folder", "a multirun's own folder"],
)
def test_every_job_writes_everything_into_a_folder_of_its_own(job_folder, job, expected):
    cfg = settle(composed(), [], job_folder, job)
    assert cfg.paths.output_dir == expected
    assert cfg.logger.csv.save_dir == expected
    assert cfg.trainer.default_root_dir == expected


def test_ckpt_without_a_run_says_so(tmp_path):
    cfg = composed(f"ckpt={tmp_path}")
    with pytest.raises(MissingDataError, match=r"ckpt: expected a run's folder with config.yaml"):
        settle(cfg, [])


@pytest.fixture
def stored(tmp_path):
    """The folder of a run with settings of its own."""
    cfg = settle(
        composed("method.beta=0.2", "trainer.precision=bf16-mixed", "maps=false", "seed=3"), []
    )
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    return tmp_path


def test_resume_takes_the_whole_run_and_writes_where_it_is(stored):
    words = [f"resume={stored}", "data.workers=1"]
    cfg = settle(composed(*words), words, "hydras/own")
    assert (cfg.method.beta, cfg.seed, cfg.data.seed, cfg.maps) == (0.2, 3, 3, False)
    assert cfg.trainer.precision == "bf16-mixed"
    assert cfg.data.workers == 1
    assert cfg.paths.output_dir == cfg.logger.csv.save_dir == str(stored)


def test_resume_may_choose_another_cache(stored):
    words = [f"resume={stored}", "cache=none"]
    assert settle(composed(*words), words).cache.max_gb == 0


@pytest.mark.parametrize("word", ["method.beta=0.5", "seed=1", "logger=wandb", "maps=true"])
def test_resume_refuses_settings_that_would_make_it_another_run(stored, word):
    words = [f"resume={stored}", word]
    with pytest.raises(ConfigError, match=rf"resume: expected nothing else but .* got {word}"):
        settle(composed(*words), words)


def test_ckpt_takes_what_was_trained_and_the_precision(stored):
    words = [f"ckpt={stored}", "method.beta=0.9", "maps=true"]
    cfg = settle(composed(*words), words)
    assert (cfg.method.beta, cfg.seed, cfg.maps) == (0.9, 3, True)
    assert cfg.trainer.precision == "bf16-mixed"
    assert cfg.ckpt == str(stored)


def test_ckpt_of_a_run_that_trained_nothing_names_the_one_that_did(stored, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    words = [f"ckpt={stored}"]
    (again / "config.yaml").write_text(OmegaConf.to_yaml(settle(composed(*words), words)))
    words = [f"ckpt={again}"]
    with pytest.raises(RunError, match=rf"expected a run that trained, .* Pass ckpt={stored}"):
        settle(composed(*words), words)


def go_on_with(sweep, job, *words):
    """Settle job ``job`` of a multirun that goes on with ``sweep``."""
    words = [f"resume={sweep}", *words]
    cfg = composed(*words, run=False)
    del cfg.hydra
    cfg.paths.output_dir = str(sweep / str(job))  # as Hydra resolves it
    return settle(cfg, words, str(sweep / str(job)), job)


@pytest.fixture
def sweep(tmp_path):
    """A sweep of which job 0 was started."""
    folder = tmp_path / "0"
    folder.mkdir()
    cfg = composed("method.beta=0.2", f"paths.output_dir={folder}", run=False)
    del cfg.hydra
    cfg = settle(cfg, [], str(folder), 0)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    return tmp_path


def test_a_job_of_a_resumed_sweep_goes_on_in_the_folder_it_had(sweep):
    cfg = go_on_with(sweep, 0, "method.beta=0.2")
    assert cfg.resume == cfg.paths.output_dir == str(sweep / "0")


def test_a_job_of_a_resumed_sweep_that_was_never_started_starts(sweep):
    cfg = go_on_with(sweep, 1, "method.beta=0.9")
    assert cfg.resume is None
    assert cfg.paths.output_dir == str(sweep / "1")


@pytest.mark.parametrize("word", ["data.root=a", "trainer.accelerator=gpu", "paths.cache_dir=b"])
def test_a_job_of_a_resumed_sweep_may_find_its_things_elsewhere(sweep, word):
    key, _, value = word.partition("=")
    assert OmegaConf.select(go_on_with(sweep, 0, "method.beta=0.2", word), key) == value


@pytest.mark.parametrize(
    ("words", "key", "before", "now"),
    [
        (["method.beta=0.3"], "method.beta", "0.2", "0.3"),
        (["method.beta=0.2", "seed=1"], "seed", "0", "1"),
        (
            ["method.beta=0.2", "data.reader.categories=[tile]"],
            "data.reader.categories",
            "None",
            r"\['tile'\]",
        ),
        (["method.beta=0.2", "logger=none"], "logger.csv._target_", "'.*CSVLogger'", "None"),
        (["method.beta=0.2", "maps=false"], "maps", "True", "False"),
    ],
)
def test_a_job_of_a_resumed_sweep_names_the_first_setting_that_differs(
    sweep, words, key, before, now
):
    message = rf"^{key}: expected {before} as in '{sweep}/0', got {now}\. Go on with a sweep as it"
    with pytest.raises(ConfigError, match=message):
        go_on_with(sweep, 0, *words)


def test_a_job_of_a_sweep_begun_with_retired_settings_goes_on(sweep):
    file = sweep / "0/config.yaml"
    before = OmegaConf.load(file)
    before.method.perturb.factors = "channel"
    before.method.banks.coreset_slack = 0.0
    file.write_text(OmegaConf.to_yaml(before))
    assert go_on_with(sweep, 0, "method.beta=0.2").resume == str(sweep / "0")


RETIRED = {
    "method.plus.calibrate": ("false", "true"),
    "method.perturb.factors": ("channel", "spatial"),
    "method.banks.coreset_slack": ("0.0", "0.1"),
    "method.coreset_slack": ("0.0", "0.1"),
}


def set_in(run, key, value):
    config = OmegaConf.load(run / "config.yaml")
    OmegaConf.update(config, key, yaml.safe_load(value))
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))


@pytest.mark.parametrize("word", ["resume", "ckpt"])
@pytest.mark.parametrize("key", RETIRED)
def test_a_retired_setting_that_did_what_is_done_today_is_dropped(stored, word, key):
    set_in(stored, key, RETIRED[key][0])
    words = [f"{word}={stored}"]
    cfg = settle(composed(*words), words)
    assert OmegaConf.select(cfg, key) is None
    assert cfg.method.beta == 0.2


@pytest.mark.parametrize("word", ["resume", "ckpt"])
@pytest.mark.parametrize("key", RETIRED)
def test_a_retired_setting_that_did_something_else_is_refused(stored, word, key):
    neutral, other = RETIRED[key]
    set_in(stored, key, other)
    message = (
        f"{stored}/config.yaml: expected {key}={neutral}, got {other}: this version no longer "
        "has the setting. Use the version that made the run."
    )
    words = [f"{word}={stored}"]
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        settle(composed(*words), words)


@pytest.mark.parametrize("key", RETIRED)
def test_anothers_method_may_have_a_setting_of_a_retired_ones_name(stored, key):
    set_in(stored, "method._target_", "mine.Method")
    set_in(stored, key, RETIRED[key][1])
    words = [f"resume={stored}"]
    cfg = settle(composed(*words), words)
    assert OmegaConf.select(cfg, key) == yaml.safe_load(RETIRED[key][1])


def test_a_sweep_over_ckpt_goes_on_too(sweep, stored):
    words = [f"ckpt={stored}", "method.beta=0.9"]
    first = go_on_with(sweep, 1, *words)
    assert first.resume is None
    (sweep / "1").mkdir()
    (sweep / "1/config.yaml").write_text(OmegaConf.to_yaml(first))
    again = go_on_with(sweep, 1, *words)
    assert (again.resume, again.ckpt, again.seed) == (str(sweep / "1"), str(stored), 3)


def test_a_multirun_elsewhere_may_go_on_with_single_runs(stored):
    words = [f"resume={stored}"]
    cfg = settle(composed(*words), words, "multirun/of/runs/0", 0)
    assert (cfg.paths.output_dir, cfg.seed) == (str(stored), 3)


@pytest.mark.parametrize("text", ["{", "", "- 1", "no_such_key: 1", "seed: 1"])
@pytest.mark.parametrize("kind", ["ckpt", "resume"])
def test_a_spoiled_config_of_a_stored_run_is_named(tmp_path, text, kind):
    (tmp_path / "config.yaml").write_text(text)
    words = [f"{kind}={tmp_path}"]
    with pytest.raises(DataError, match=r"config\.yaml: expected a run's configuration, got"):
        settle(composed(*words), words)
