"""The method and the features that a configuration names."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fsad.data.canvas import Canvas
from fsad.engine.plan import Method
from fsad.errors import DataError, FsadError, check_choice, message_of
from fsad.nn.extractor import PAIRED, PatchExtractor
from fsad.nn.settings import Size
from fsad.storage.tensor_store import TensorStore

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""What the backbone computes in, by ``trainer.precision``; everything after it is float32."""


def build_method(cfg: DictConfig) -> Method:
    """Build the method that the configuration names.

    Raises:
        FsadError: A setting is out of range.
    """
    method: Method = instantiate(cfg.method, _convert_="all")
    return method


def new_backbone(settings: Mapping[str, Any]) -> PatchExtractor:
    """Build a frozen backbone from its settings, resolved.

    Raises:
        FsadError: A setting is out of range, or the weights cannot be had.
    """
    built: PatchExtractor = instantiate(dict(settings), _convert_="all")
    return built


def shared_backbone(settings: Mapping[str, Any]) -> PatchExtractor:
    """Build the frozen backbone, or take that of the process's last job if it is the same."""
    weights = settings.get("weights_path")
    stat = Path(weights).stat() if weights and Path(weights).exists() else None
    state = (stat.st_mtime_ns, stat.st_size) if stat else None
    return _backbone(json.dumps(settings, sort_keys=True), state)


@lru_cache(maxsize=1)
def _backbone(settings: str, _: tuple[int, int] | None) -> PatchExtractor:
    return new_backbone(json.loads(settings))


def build_extractor(
    cfg: DictConfig,
    method: Method,
    backbone: Callable[[Mapping[str, Any]], PatchExtractor] = new_backbone,
    canvas: Canvas | None = None,
) -> PatchExtractor:
    """Build the features that the method sees: its own, or the configured backbone's.

    Args:
        cfg: The settled configuration; ``data.image_size``, ``backbone``, ``trainer.precision`` and
            the protocol's modalities are read, the dataset is not looked at.
        method: What :func:`build_method` gave.
        backbone: Makes a backbone from its settings.
        canvas: What a category's images are brought to; omitted, squares of ``data.image_size``.

    Raises:
        FsadError: A setting is out of range, or the weights cannot be had.
    """
    size: Size = cfg.data.image_size if canvas is None else canvas.shape

    def configured(**left_open: Any) -> PatchExtractor:
        settings: Any = OmegaConf.to_container(cfg.backbone, resolve=True)
        chosen = {
            key: it for key, it in left_open.items() if key in settings and settings[key] is None
        }
        if canvas is not None:
            chosen["image_size"] = list(canvas.shape)
        return backbone({**settings, **chosen})

    extractor = method.build_extractor(size, configured)
    extractor.skips = canvas is not None and canvas.aspect is not None
    precision = check_choice("trainer.precision", cfg.trainer.precision, PRECISIONS)
    extractor.autocast = PRECISIONS[precision]
    extractor.modalities = modalities_of(cfg)
    return extractor


class ResizedExtractor:
    """Builds the features that the method sees anew, for the canvas of one category after another.

    The last is kept: of a camera's images most categories have the same height and width.

    Args:
        cfg: As for :func:`build_extractor`, like ``method``.
        method: What sees the features.
        store: Where they are kept.
    """

    def __init__(self, cfg: DictConfig, method: Method, store: TensorStore | None) -> None:
        self._cfg, self._method, self._store = cfg, method, store
        self._built: tuple[object, PatchExtractor] | None = None

    def __call__(self, canvas: Canvas) -> PatchExtractor:
        """Return the features for images that are brought to a canvas."""
        key = canvas.shape, canvas.aspect is None  # all of it that features depend on
        if self._built is None or self._built[0] != key:
            self._built = None  # not two at once
            extractor = build_extractor(self._cfg, self._method, canvas=canvas)
            extractor.store = self._store
            self._built = key, extractor
        return self._built[1]


def modalities_of(cfg: DictConfig) -> dict[str, str]:
    """Tell what the images of each domain show, by the protocol's settings.

    A protocol of one modality has it in every role, whatever a method calls their domain.
    """
    tested = OmegaConf.select(cfg, "protocol.modality", default=PAIRED["target"])
    source = OmegaConf.select(cfg, "protocol.source_modality", default=tested)
    return {"source": source, "target": tested}


def weights_setting(cfg: DictConfig) -> str:
    """Return the setting that names the file of weights: a method's with features of its own."""
    return ("method" if "weights_path" in cfg.method else "backbone") + ".weights_path"


@contextmanager
def unwrap_hydra_errors() -> Iterator[None]:
    """Let a constructor's own complaint through, without what Hydra wraps around it.

    Raises:
        FsadError: What the constructor said; a DataError where it does not know a setting.
    """
    try:
        yield
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, FsadError):
            raise cause from None
        if isinstance(cause, TypeError):
            raise DataError(
                f"config.yaml: expected settings that the class takes, got '{message_of(cause)}'. "
                "The run is of another version of the program."
            ) from error
        raise


def refuse_foreign(config: DictConfig) -> None:
    """Refuse a configuration that names anything but a method and a backbone to be built.

    Raises:
        DataError: It does.
    """
    kinds: dict[str, tuple[str, Callable[[type], bool]]] = {
        "method": ("a method", lambda it: issubclass(it, Method)),
        "backbone": ("a backbone", lambda it: issubclass(it, PatchExtractor)),
    }
    for group, (wanted, fits) in kinds.items():
        node = OmegaConf.to_container(config[group], resolve=True)
        target = node.get("_target_") if isinstance(node, dict) else None
        if not isinstance(target, str) or len(list(_targets(node))) != 1:
            raise DataError(f"config.yaml: expected {wanted} at '{group}', got something else")
        try:
            module, _, name = target.rpartition(".")
            found: Any = getattr(import_module(module), name)
        except Exception as error:
            raise DataError(
                f"config.yaml: expected {wanted} that can be imported at '{group}', got "
                f"'{target}'. Install the package it is in."
            ) from error
        if not isinstance(found, type) or not fits(found):
            raise DataError(f"config.yaml: expected {wanted} at '{group}', got '{target}'")


def _targets(node: Any) -> list[str]:
    """List every ``_target_`` in a tree of settings."""
    if isinstance(node, list):
        return [target for item in node for target in _targets(item)]
    if not isinstance(node, dict):
        return []
    own = [str(node["_target_"])] if "_target_" in node else []
    return own + [target for item in node.values() for target in _targets(item)]
