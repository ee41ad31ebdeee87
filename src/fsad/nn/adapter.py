"""Features of a frozen backbone, from the cache where it has them, with or without adapters."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fsad.errors import NonFiniteError, check_at_least
from fsad.functional.chunks import in_chunks
from fsad.nn.alone import goes_alone
from fsad.nn.extractor import PatchExtractor, State
from fsad.nn.feature_cache import Compute, FeatureCache
from fsad.nn.state_dict import fingerprint
from fsad.runtime.randomness import seeded

Perturbation = Callable[[str, Tensor], Tensor]  # (layer name, map (n, c, h, w)) -> its replacement


class DomainAdapter(nn.Module):
    """A residual bottleneck on every cell: c to ``hidden``, GELU, back to c, added to the input.

    The perturbation stage trains it (eq. 7). The up-projection starts at zero, so a new adapter
    changes nothing.

    Args:
        channels: Channels of the map it acts on, c.
        hidden: Channels of the bottleneck.

    Source:
        HyperTrans names "a learnable adapter of the deep layers" and gives no form; this is ours.
    """

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        check_at_least("adapter hidden", hidden, 1)
        # Not convolutions of 1 x 1: with those an image's last bits depend on its batch.
        self.down = nn.Linear(channels, hidden)
        self.up = nn.Linear(hidden, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Adapt a map ``(n, c, h, w)``."""
        cells = features.permute(0, 2, 3, 1)
        out: Tensor = cells + self.up(nn.functional.gelu(self.down(cells)))
        return out.permute(0, 3, 1, 2)


class CachedExtractor(nn.Module):
    """A frozen extractor, and what its store of features holds.

    Features that the store holds are not computed again, and computed ones are kept there.

    Law (``tests/nn/test_alone.py``): on a CPU an image's features do not depend on the images
    beside it, to the last bit, at any size and number of threads. So it does not matter which were
    kept, in which batch a resumed run meets them, or which process computes them.

    Args:
        extractor: The frozen backbone.
    """

    def __init__(self, extractor: PatchExtractor) -> None:
        super().__init__()
        self.extractor = extractor
        self._cache = FeatureCache(extractor)

    def forward(self, images: Tensor, domain: str = "source") -> Tensor:
        """Extract patch features.

        Args:
            images: ``(n, 3, H, W)``, values in [0, 1].
            domain: ``"source"`` or ``"target"``.

        Returns:
            Patch features, ``(n, c, h, w)``.

        Raises:
            NonFiniteError: A feature is NaN or infinite.
        """
        if torch.compiler.is_exporting():  # a graph looks nothing up, and at no number
            return self.extractor(images, domain)  # type: ignore[no-any-return]

        def compute(rows: list[int]) -> State:
            return (self.extractor(images[rows], domain),)

        (features,) = self._look_up("features", "", self._cache.keys(images, domain), compute)
        return check_finite(features, domain)

    def _look_up(self, kind: str, state: str, keys: Sequence[str], compute: Compute) -> State:
        device = self.extractor.mean.device
        if goes_alone(device):
            compute = one_by_one(compute)
        found = self._cache.look_up([kind, state], keys, in_fitting_batches(compute), device)
        return tuple(part.contiguous() for part in found)  # sums depend on the layout


class AdaptedExtractor(CachedExtractor):
    """A frozen extractor with one adapter after each of its perturbable layers.

    The layers up to the first adapter are kept once per image, the features once per image and
    state of the adapters. Features under a perturbation are never kept.

    Args:
        extractor: The frozen backbone.
        hidden: Bottleneck of each adapter.
        seed: Seed of the down-projections.
    """

    def __init__(self, extractor: PatchExtractor, hidden: int = 64, seed: int = 0) -> None:
        super().__init__(extractor)
        with seeded(seed, "adapters"):
            self.adapters = nn.ModuleDict(
                {
                    name: DomainAdapter(channels, hidden)
                    for name, channels in extractor.layers.items()
                }
            )
        self.enabled = True

    def forward(
        self, images: Tensor, domain: str = "source", perturb: Perturbation | None = None
    ) -> Tensor:
        """Extract patch features with the adapters in place.

        Args:
            images: ``(n, 3, H, W)``, values in [0, 1].
            domain: ``"source"`` or ``"target"``.
            perturb: Disturbs each adapted layer's output before its adapter sees it.

        Returns:
            Patch features, ``(n, c, h, w)``.

        Raises:
            NonFiniteError: A feature is NaN or infinite.
        """
        if torch.compiler.is_exporting():  # a graph looks nothing up, and at no number
            after = self._after(perturb) if self.enabled or perturb is not None else None
            return self.extractor(images, domain, after)  # type: ignore[no-any-return]
        keys = self._cache.keys(images, domain)
        if perturb is not None:
            prefix = self._prefix(images, domain, keys)
            return check_finite(self.extractor.suffix(prefix, self._after(perturb)), domain)
        after = self._after(None) if self.enabled else None
        state = fingerprint(self.adapters.state_dict()) if self.enabled and any(keys) else ""

        def compute(rows: list[int]) -> State:
            if after is None:
                return (self.extractor(images[rows], domain),)
            prefix = self._prefix(images[rows], domain, [keys[row] for row in rows])
            return (self.extractor.suffix(prefix, after),)

        (features,) = self._look_up("features", state, keys, compute)
        return check_finite(features, domain)

    def clean_and_perturbed(
        self, images: Tensor, domain: str, perturb: Perturbation
    ) -> tuple[Tensor, Tensor]:
        """Extract the frozen backbone's own features and the perturbed ones, sharing what they can.

        Args:
            images: ``(n, 3, H, W)``, values in [0, 1].
            domain: ``"source"`` or ``"target"``.
            perturb: Disturbs each adapted layer's output before its adapter sees it.

        Returns:
            Clean features without gradient, and perturbed features, each ``(n, c, h, w)``.
        """
        with torch.no_grad():
            keys = self._cache.keys(images, domain)
            prefix = self._prefix(images, domain, keys)

            def compute(rows: list[int]) -> State:
                return (self.extractor.suffix(tuple(part[rows] for part in prefix)),)

            (clean,) = self._look_up("features", "", keys, compute)
        # Gradients in float16 would need their loss scaled; bfloat16 has the range of float32.
        autocast = self.extractor.autocast
        if autocast == torch.float16:
            autocast, prefix = None, tuple(part.float() for part in prefix)
        with self.extractor.in_precision(autocast):
            perturbed = self.extractor.suffix(prefix, self._after(perturb))
        return check_finite(clean, domain), check_finite(perturbed, domain)

    def _prefix(self, images: Tensor, domain: str, keys: Sequence[str]) -> State:
        return self._look_up(
            "prefix", "", keys, lambda rows: self.extractor.prefix(images[rows], domain)
        )

    @contextmanager
    def without_adapters(self) -> Iterator[None]:
        """Pass the adapters by within the block."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    def _after(self, perturb: Perturbation | None) -> Perturbation:
        def after(name: str, features: Tensor) -> Tensor:
            if perturb is not None:
                features = perturb(name, features)
            return self.adapters[name](features) if self.enabled else features

        return after


def one_by_one(compute: Compute) -> Compute:
    """Return ``compute`` that is asked for one row at a time.

    Note:
        On 2 threads eight images of 224 pixels take a tenth longer than together, with ResNet-18
        as with ``tiny``; of 64 pixels, of which a thread is soon done, two to three times as long.
    """

    def alone(rows: list[int]) -> State:
        if len(rows) <= 1:
            return compute(rows)
        columns = zip(*(compute([row]) for row in rows), strict=True)
        return tuple(torch.cat(column) for column in columns)

    return alone


def in_fitting_batches(compute: Compute) -> Compute:
    """Return ``compute`` for any number of rows: fewer at a time where memory runs out."""

    def fitting(rows: list[int]) -> State:
        parts = in_chunks(len(rows), len(rows), lambda chunk: compute(rows[chunk]), "images")
        columns = list(zip(*parts, strict=True))
        return tuple(column[0] if len(column) == 1 else torch.cat(column) for column in columns)

    return fitting


def check_finite(features: Tensor, domain: str) -> Tensor:
    """Return ``features`` if every value is finite.

    Raises:
        NonFiniteError: One is not.
    """
    if not bool(features.isfinite().all()):
        bad = int((~features.isfinite()).sum())
        raise NonFiniteError(
            f"{domain} features: expected finite numbers, got {bad} of {features.numel()} NaN or "
            "infinite. Check the backbone's weights and the precision (trainer.precision=32-true)."
        )
    return features
