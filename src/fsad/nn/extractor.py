"""What every frozen backbone does: check, normalise, split at the first perturbable layer, time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from fsad.errors import ConfigError, RunError, check_shape
from fsad.nn.settings import Size, both
from fsad.nn.state_dict import fingerprint
from fsad.storage.tensor_store import TensorStore

After = Callable[[str, Tensor], Tensor]
State = tuple[Tensor, ...]
PAIRED = {"source": "rgb", "target": "depth"}
"""What the images of each domain show, where nothing else is said."""


class PatchExtractor(nn.Module, ABC):
    """Turn images into a patch feature map, with parameters that never change.

    Laws (``tests/nn/test_backbone.py``):

    * ``forward(x, domain, after) == suffix(prefix(x, domain), after)``, bit for bit.
    * An ``after`` that returns what it was given changes nothing.
    * The extractor stays in evaluation mode, whatever mode its parent is put into.

    Args:
        net: The network, with its weights loaded; frozen here.
        name: What the user calls the backbone.
        image_size: Height and width of the images, pixels.
        grid: Height and width of the patch grid.
        channels: Channels of the patch features.
        layers: Channels of each perturbable layer by its name, in the order they run.
        mean: What normalisation subtracts, one value per colour.
        std: What normalisation divides by, one value per colour.
        normalize_depth: Whether depth is normalised as photographs always are.
        weights: Where the weights come from: ``pretrained``, ``shipped``, ``file`` or
            ``random weights``.
        architecture: What else decides the features: the network's name in timm, its arguments.
        cell: What the sides of images are multiples of, pixels; omitted, a patch of the grid.

    Attributes:
        sha256: Fingerprint of the weights, 64 hexadecimal digits.
        autocast: Precision of matrix products and convolutions, ``torch.bfloat16`` or
            ``torch.float16``; None is the precision of the weights. Features are float32 anyhow.
        skips: Whether images may hold pixels below 0, which are none of the image: the network
            sees the mean colour there.
        modalities: What the images of the domains ``source`` and ``target`` show, ``rgb`` and
            ``depth`` to begin with; normalisation goes by it.
        store: Where :class:`~fsad.nn.feature_cache.FeatureCache` keeps features; None keeps none.
        seconds: Time spent in :meth:`forward`, :meth:`prefix` and :meth:`suffix` so far, with what
            ``after`` took; the GPU is waited for.
    """

    mean: Tensor
    std: Tensor
    any_size: ClassVar[bool] = False
    """Whether the network takes images of any size; the grid goes with it."""

    def __init__(
        self,
        net: nn.Module,
        *,
        name: str,
        image_size: Size,
        grid: tuple[int, int],
        channels: int,
        layers: Mapping[str, int],
        mean: Sequence[float],
        std: Sequence[float],
        normalize_depth: bool,
        weights: str,
        architecture: Mapping[str, Any],
        cell: int | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.name, self.grid, self.channels = name, grid, channels
        self.image_size = both(image_size)
        self.cell = cell or self.image_size[0] // grid[0]
        self.skips = False
        self.layers = dict(layers)
        self.normalize_depth = normalize_depth
        self.weights = weights
        self.architecture = dict(architecture)
        self.autocast: torch.dtype | None = None
        self.modalities = dict(PAIRED)
        self.store: TensorStore | None = None
        self.sha256 = fingerprint(net.state_dict())
        self.seconds = 0.0
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stay in evaluation mode: a parent's ``train()`` must not wake batch norm or dropout."""
        return super().train(False)

    def refuse_training(self) -> None:
        """Refuse weights that train: :attr:`sha256` is of those that were loaded.

        Features under that name would be served to a run with other weights, and a checkpoint
        would leave out what was learnt.

        Raises:
            RunError: A parameter asks for a gradient.
        """
        training = [name for name, weight in self.net.named_parameters() if weight.requires_grad]
        if training:
            raise RunError(
                f"backbone '{self.name}': expected frozen weights, got {len(training)} that train, "
                f"{training[0]} first. A network that a method trains belongs to the method."
            )

    def identity(self) -> dict[str, Any]:
        """Return all that the features of an image depend on besides the image.

        Raises:
            RunError: The weights are not frozen.
        """
        self.refuse_training()
        return {
            "weights": self.sha256,
            "architecture": self.architecture,
            "image_size": self.image_size,
            "normalize_depth": self.normalize_depth,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "precision": str(self.autocast),
        }

    @contextmanager
    def in_precision(self, autocast: torch.dtype | None) -> Iterator[None]:
        """Compute in another precision within the block."""
        before, self.autocast = self.autocast, autocast
        try:
            yield
        finally:
            self.autocast = before

    def forward(self, images: Tensor, domain: str = "source", after: After | None = None) -> Tensor:
        """Compute the patch feature map.

        Args:
            images: ``(n, 3, H, W)`` in [0, 1], of :attr:`image_size`; below 0 beside an image.
            domain: ``"source"`` or ``"target"``; only normalisation depends on it, by the
                modality of its images.
            after: Called with the name and the patch feature map ``(n, c_l, h_l, w_l)`` of each
                perturbable layer; what it returns, of the same shape, takes the map's place.

        Returns:
            Patch features, ``(n, c, h, w)``. Not checked for NaN.

        Raises:
            ConfigError: ``domain`` is unknown.
            ShapeError: ``images``, or what ``after`` returned, has the wrong shape.

        Note:
            Gradients flow to whatever ``after`` puts in. Without ``after`` nothing asks for a
            gradient, so none is recorded.
        """
        return self.suffix(self.prefix(images, domain), after)

    def prefix(self, images: Tensor, domain: str = "source") -> State:
        """Run up to the first perturbable layer's own output, which no perturbation changes.

        Args:
            images: ``(n, 3, H, W)`` in [0, 1].
            domain: ``"source"`` or ``"target"``.

        Returns:
            Tensors of ``n`` rows each, for :meth:`suffix`.

        Raises:
            ConfigError: ``domain`` is unknown.
            ShapeError: ``images`` has the wrong shape.
        """
        height, width = self.image_size
        check_shape("images", images, "n rgb H W", rgb=3, H=height, W=width)
        normalized = self.is_normalized(domain)
        beside = images < 0 if self.skips else None
        with self._stopwatch(images.device):
            if normalized:
                images = (images - self.mean) / self.std
            if beside is not None:
                images = images.masked_fill(beside, 0.0)
            with self._precision(images.device):
                return self._prefix(images)

    def inside(self, images: Tensor) -> Tensor | None:
        """Tell which patches show an image, and not what is beside it.

        Args:
            images: ``(n, 3, H, W)``, below 0 beside an image.

        Returns:
            ``(n, h, w)``, bool; None where images are never smaller than their canvas.
        """
        if not self.skips:
            return None
        rows, columns = (
            side // cells for side, cells in zip(self.image_size, self.grid, strict=True)
        )
        return images[:, 0, ::rows, ::columns] >= 0

    def at_scale(self, images: Tensor, domain: str, scale: int) -> Tensor:
        """Compute the patch feature map of images made smaller, by leaving pixels out.

        Args:
            images: ``(n, 3, H, W)`` in [0, 1], of :attr:`image_size`.
            domain: As for :meth:`forward`.
            scale: How often they are halved, 0 or more. A network of one size alone sees the small
                image enlarged again, each pixel repeated.

        Returns:
            Patch features, ``(n, c, h, w)``: of a network of :attr:`any_size` on the grid that the
            small image has, of another on its own.

        Raises:
            ConfigError: ``domain`` is unknown.
            ShapeError: ``images`` has the wrong shape.
        """
        height, width = self.image_size
        check_shape("images", images, "n rgb H W", rgb=3, H=height, W=width)
        step = 2**scale
        small = images[..., ::step, ::step]
        if not self.any_size:
            enlarged = small.repeat_interleave(step, dim=2).repeat_interleave(step, dim=3)
            small = enlarged[..., :height, :width]
        if self.is_normalized(domain):
            small = (small - self.mean) / self.std
        with self._stopwatch(images.device), self._precision(images.device):
            return self._widened(self._suffix(self._prefix(small), None))

    def is_normalized(self, domain: str) -> bool:
        """Tell whether the images of a domain are normalised by :attr:`mean` and :attr:`std`.

        Raises:
            ConfigError: ``domain`` is unknown.
        """
        if domain not in self.modalities:
            raise ConfigError(f"domain: expected 'source' or 'target', got {domain!r}")
        return self.normalize_depth or self.modalities[domain] != "depth"

    def suffix(self, state: State, after: After | None = None) -> Tensor:
        """Run from the first perturbable layer's output to the patch feature map.

        Args:
            state: What :meth:`prefix` gave.
            after: As for :meth:`forward`.

        Returns:
            Patch features, ``(n, c, h, w)``.

        Raises:
            ShapeError: What ``after`` returned has the wrong shape.
        """
        device = state[0].device
        with self._stopwatch(device), self._precision(device):
            return self._widened(self._suffix(state, after))

    @abstractmethod
    def _prefix(self, images: Tensor) -> State: ...

    @abstractmethod
    def _suffix(self, state: State, after: After | None) -> Tensor: ...

    def _changed(self, layer: str, features: Tensor, after: After | None) -> Tensor:
        if after is None or layer not in self.layers:
            return features
        n, c, h, w = features.shape
        changed = after(layer, self._widened(features))  # a style has means and deviations
        check_shape(f"what after('{layer}', ...) returned", changed, "n c h w", n=n, c=c, h=h, w=w)
        return changed

    def _widened(self, features: Tensor) -> Tensor:
        return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        if torch.compiler.is_exporting():  # a graph has the precision of its weights
            return nullcontext()
        return torch.autocast(device.type, self.autocast, enabled=self.autocast is not None)

    @contextmanager
    def _stopwatch(self, device: torch.device) -> Iterator[None]:
        _wait_for(device)
        start = perf_counter()
        try:
            yield
        finally:
            _wait_for(device)
            self.seconds += perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":  # kernels run on after the call that started them returned
        torch.cuda.synchronize(device)
