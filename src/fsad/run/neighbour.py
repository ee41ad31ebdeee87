"""Composing the jobs of a multirun: one that differs from the last in values is made from it."""

import pickle
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fsad.run.overrides import key_of


def compose_from_neighbours() -> None:
    """Let the jobs of the multirun that is starting be composed by :class:`NeighbourLoader`.

    Hydra asks the same object for a job's configuration before it launches any, to see whether all
    can be composed, and again when the job starts, here or in a launcher's process.
    """
    hydra = GlobalHydra.instance().hydra
    if hydra is not None and not isinstance(hydra.config_loader, NeighbourLoader):
        hydra.config_loader = NeighbourLoader(hydra.config_loader)


class NeighbourLoader(ConfigLoader):
    """Hydra's loader, which need not read all files again for each job of a multirun.

    Hydra composes every job from its files, twice; at a job that only measures what others have
    computed, that takes longer than the job. Here one is read and the next made from it by setting
    the values that differ. That is what Hydra does last of all, so the result is the same
    (``tests/run/test_neighbour.py``). Whatever may decide which files are read is left to Hydra.

    Args:
        loader: Hydra's own.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._last: tuple[object, list[str], bytes] | None = None
        """Of the job composed last: what the multirun is, its overrides, its configuration."""

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Compose one job.

        Args:
            master_config: The multirun's configuration.
            sweep_overrides: The job's overrides.
        """
        hydra = master_config.hydra
        multirun = hydra.job.config_name, OmegaConf.to_container(hydra.overrides.hydra)
        cfg = None
        if self._last and self._last[0] == multirun:
            cfg = _changed(pickle.loads(self._last[2]), self._last[1], sweep_overrides)
        if cfg is None:
            cfg = self._loader.load_sweep_config(master_config, sweep_overrides)
        else:  # as Hydra does: what it looked up for the multirun, the time say, holds for its jobs
            OmegaConf.copy_cache(from_config=master_config, to_config=cfg)
        # A copy, since the job gets a number and a folder, and quicker to make than a deepcopy.
        self._last = multirun, list(sweep_overrides), pickle.dumps(cfg)
        return cfg

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """See Hydra's."""
        return self._loader.load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )

    def get_search_path(self) -> ConfigSearchPath:
        """See Hydra's."""
        return self._loader.get_search_path()

    def get_sources(self) -> list[ConfigSource]:
        """See Hydra's."""
        return self._loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        """See Hydra's."""
        return self._loader.list_groups(parent_name)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """See Hydra's."""
        return self._loader.get_group_options(group_name, results_filter, config_name, overrides)

    def compute_defaults_list(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode
    ) -> Any:
        """See Hydra's."""
        return self._loader.compute_defaults_list(config_name, overrides, run_mode)


def _changed(cfg: DictConfig, before: Sequence[str], now: Sequence[str]) -> DictConfig | None:
    """Make a job's configuration from another's.

    Args:
        cfg: The other's; changed in place.
        before: Its overrides.
        now: Those of the job.

    Returns:
        The job's; None if more differs than values that can be set by themselves.
    """
    if len(before) != len(now) or any(key_of(word).startswith("hydra") for word in now):
        return None  # Hydra's own settings are noted elsewhere
    places = [place for place, word in enumerate(now) if word != before[place]]
    if any(key_of(now[place]) != key_of(before[place]) for place in places):
        return None
    if not all(_is_a_value_of_its_own(cfg, now, place) for place in places):
        return None
    for override in OverridesParser.create().parse_overrides([now[place] for place in places]):
        value = override.value()
        if override.type is not OverrideType.CHANGE or not _is_plain(value):
            return None
        try:
            OmegaConf.update(cfg, override.key_or_group, value, merge=True)
        except OmegaConfBaseException:  # of a wrong kind, of which Hydra says more
            return None
    job = cfg.hydra.job
    naming = job.config.override_dirname
    named = sorted(word for word in now if key_of(word) not in naming.exclude_keys)
    with open_dict(cfg.hydra):
        cfg.hydra.overrides.task = list(now)
        job.override_dirname = naming.item_sep.join(named).replace("=", naming.kv_sep)
    return cfg


def _is_a_value_of_its_own(cfg: DictConfig, words: Sequence[str], place: int) -> bool:
    """Tell whether an override sets a plain value, and no other touches the same."""
    key = key_of(words[place])
    if key in cfg.hydra.runtime.choices:  # a group, whose files are others
        return False
    others = (key_of(word) for each, word in enumerate(words) if each != place)
    if any(f"{it}.".startswith(f"{key}.") or key.startswith(f"{it}.") for it in others):
        return False
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    if not OmegaConf.is_dict(node) or name not in node:  # also where a value is missing
        return False
    return not OmegaConf.is_interpolation(node, name) and _is_plain(node[name])


def _is_plain(value: object) -> bool:
    return value is None or (isinstance(value, bool | int | float | str) and "${" not in str(value))
