"""The shape of a run's configuration, and how a run takes over another run's settings."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from fsad.engine.stored import TRAINED, Run, blaming, stored_config
from fsad.errors import ConfigError, RunError

FREE_TO_TEST = (
    "data.category",
    "data.root",
    "data.batch_size",
    "data.workers",
    "backbone.weights_path",
)
"""Settings under :data:`TRAINED` that ``ckpt`` lets change: training is as it was without them. So
are those of the method that affect its scores and maps alone."""

FREE_TO_RESUME = (
    "resume",
    "trainer.accelerator",
    "data.root",
    "data.workers",
    "backbone.weights_path",
    "paths.cache_dir",
    "cache",
    "cache.max_gb",
)
"""Settings that ``resume`` lets change: where things are, not what the run is."""

LAUNCHERS = ("joblib", "submitit_slurm", "ray")
"""What runs the jobs of a multirun elsewhere than in this process."""


def register() -> None:
    """Make the schema known to Hydra under the name ``schema``, and its launchers ours.

    A launcher's package stores settings under the names that ours have in ``conf/hydra/launcher``.
    Hydra would take them for a schema of ours and warn of it in every job.
    """
    Plugins.instance()  # imports the packages, which store their settings
    store = ConfigStore.instance()
    store.store(name="schema", node=Run)
    for name in LAUNCHERS:
        store.repo["hydra"]["launcher"].pop(f"{name}.yaml", None)


def settle(
    cfg: DictConfig, overrides: list[str], job_folder: str = "", job: int | None = None
) -> DictConfig:
    """Complete a composed configuration and make it read-only.

    With ``resume`` it is the interrupted run's own; with ``ckpt`` what was trained comes from the
    finished run's. ``paths.output_dir`` becomes the job's own folder, so that whatever refers to it
    writes there. For a job of a resumed sweep ``resume`` becomes its own folder if it was started
    there before with the same settings, and None if it was not started at all.

    Args:
        cfg: As Hydra composed it.
        overrides: The command line's overrides.
        job_folder: The folder that Hydra made for this job.
        job: The job's number within a multirun, else None.

    Raises:
        ConfigError: A top-level key is unknown or a required one is missing, the run is to share
            several machines, or an override or, in a sweep, any setting contradicts the stored run.
        MissingDataError: The stored run is not there.
        DataError: The stored run's ``config.yaml`` cannot be read.
        RunError: Both ``ckpt`` and ``resume`` are given, or ``ckpt`` names a run that trained
            nothing.
    """
    _refuse_unknown(cfg)
    cfg = cfg.copy()
    sweep_goes_on = job is not None and _lies_in(job_folder, cfg.resume)
    if sweep_goes_on:
        cfg.resume = None
    if cfg.ckpt and cfg.resume:
        raise RunError("ckpt, resume: expected one of them, got both")
    with open_dict(cfg):
        if cfg.resume:
            cfg = _resumed(cfg, overrides)
        elif cfg.ckpt:
            _take_trained(cfg, overrides)
        with blaming(cfg.resume):
            _complete(cfg, job_folder, job)
        if sweep_goes_on:
            cfg.resume = _started_before(cfg)
    with blaming(cfg.resume or cfg.ckpt):
        OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    OmegaConf.set_readonly(cfg, True)
    return cfg


def _complete(cfg: DictConfig, job_folder: str, job: int | None) -> None:
    """Refuse settings that lack one, and say where the job writes."""
    _refuse_bare_modalities(cfg)  # first: whatever looks at all settings meets what refers to them
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(
            f"{missing[0]}: expected a value, got none. Pass {missing[0]}=... as an argument."
        )
    _refuse_several_machines(cfg)
    cfg.paths.output_dir = str(_output_folder(cfg, job_folder, job))
    cfg.paths.cache_dir = cfg.paths.cache_dir  # read the environment once


def _refuse_unknown(cfg: DictConfig) -> None:
    """Refuse what Hydra lets in with ``+``; below the top level the classes refuse it."""
    known = [field.name for field in fields(Run)]
    for key in map(str, cfg):
        if key not in known:
            raise ConfigError(
                f"{key}: expected one of {', '.join(known)}, got an unknown key. "
                "Leave it out, or put the name of its group before it, as in method.alpha=0.5."
            )


def _refuse_several_machines(cfg: DictConfig) -> None:
    """Refuse what would wait for ever: nothing starts processes on another machine."""
    machines = OmegaConf.select(cfg, "trainer.num_nodes", default=1)
    if machines != 1:
        raise ConfigError(
            f"trainer.num_nodes: expected 1, got {machines!r}. A run's processes share one machine "
            "(trainer.devices); for several use the jobs of a multirun with "
            "hydra/launcher=submitit_slurm."
        )


def _refuse_bare_modalities(cfg: DictConfig) -> None:
    """Refuse ``data.source=rgb``, which takes the place of the settings that others refer to."""
    for name in ("data.source", "data.target"):
        node = OmegaConf.select(cfg, name)
        if node is not None and not OmegaConf.is_dict(node):
            raise ConfigError(
                f"{name}: expected settings, got {node!r}. Say {name}.modality={node}."
            )


def _resumed(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Return the stored run's configuration, told where it is."""
    stored = stored_config(cfg.resume, "resume")
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key not in FREE_TO_RESUME:
            raise ConfigError(
                f"resume: expected nothing else but {', '.join(FREE_TO_RESUME[1:])}, got "
                f"{override.input_line}. The rest comes from the run; start a new one to change it."
            )
        OmegaConf.update(stored, key, OmegaConf.select(cfg, key))  # cache=none is a whole node
    stored.resume = cfg.resume
    return stored


def _lies_in(job_folder: str, sweep: str | None) -> bool:
    return sweep is not None and Path(sweep).resolve() in Path(job_folder).resolve().parents


def _started_before(cfg: DictConfig) -> str | None:
    """Return the job's folder if the same job was started there before; None if none was."""
    folder = str(cfg.paths.output_dir)
    if not (Path(folder) / "config.yaml").is_file():
        return None
    before, now = _settings(stored_config(folder, "resume")), _settings(cfg)
    for key in [*now, *before]:
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"{key}: expected {before.get(key)!r} as in '{folder}', got {now.get(key)!r}. "
                "Go on with a sweep as it was started, or start a new one."
            )
    return folder


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """List what the run is by dotted keys; references stay, for what they refer to is compared."""
    settings: dict[str, Any] = {}

    def add(prefix: str, node: Any) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                add(f"{prefix}.{name}" if prefix else str(name), value)
        elif prefix not in FREE_TO_RESUME and not prefix.startswith("paths."):
            settings[prefix] = node

    add("", OmegaConf.to_container(cfg))
    return settings


def _take_trained(cfg: DictConfig, overrides: list[str]) -> None:
    """Put what the stored run was trained with into ``cfg``."""
    stored = stored_config(cfg.ckpt, "ckpt")
    if stored.ckpt:
        raise RunError(
            f"ckpt: expected a run that trained, got '{cfg.ckpt}', which tested another. "
            f"Pass ckpt={stored.ckpt}."
        )
    for key in TRAINED:
        cfg[key] = stored[key]
    with blaming(cfg.ckpt):
        cfg.trainer.precision = stored.trainer.precision
    cfg.ckpt = str(Path(cfg.ckpt).resolve())
    free = (*_untrained(cfg), *FREE_TO_TEST)
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key.split(".")[0] not in TRAINED and key != "trainer.precision":
            continue
        if key not in free:
            raise ConfigError(
                f"ckpt: expected one of {', '.join(free)}, got {override.input_line}. "
                "The rest comes from the run; start a new one to change it."
            )
        if OmegaConf.select(cfg, key, default=MISSING) == MISSING:
            raise ConfigError(
                f"ckpt: expected a setting that the run's method has, got {override.input_line}. "
                f"'{cfg.ckpt}' is a run of {cfg.method._target_.rpartition('.')[2]}."
            )
        OmegaConf.update(cfg, key, override.value())


def _untrained(cfg: DictConfig) -> list[str]:
    """Name the method's settings that change scores or maps, and nothing that is trained."""
    from fsad.engine.assemble import build_method, unwrap_hydra_errors  # torch, unless for --help
    from fsad.engine.settings import MAPS, SCORES, declared

    with blaming(cfg.ckpt), unwrap_hydra_errors():
        method = build_method(cfg)
    return [
        f"method.{name}"
        for name, _, affects in declared(method)
        if affects is not None and affects.steps and affects.steps <= {SCORES, MAPS}
    ]


def _output_folder(cfg: DictConfig, job_folder: str, job: int | None) -> Path:
    """Tell where a job writes: a ``paths.output_dir`` shared by a multirun gets sub-folders."""
    if cfg.resume:
        return Path(cfg.resume)
    folder = Path(cfg.paths.output_dir)
    if job is not None and folder.resolve() != Path(job_folder).resolve():
        return folder / str(job)
    return folder
