"""The domain adapter: what the perturbation stage trains (eq. 7)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fsad.errors import NonFiniteError, check_at_least
from fsad.nn.extractor import PatchExtractor
from fsad.randomness import seeded

Perturbation = Callable[[str, Tensor], Tensor]  # (layer name, map (n, c, h, w)) -> its replacement


class DomainAdapter(nn.Module):
    """A residual bottleneck on every cell: c to ``hidden``, GELU, back to c, added to the input.

    The up-projection starts at zero, so a new adapter changes nothing.

    Args:
        channels: Channels of the map it acts on, c.
        hidden: Channels of the bottleneck.

    Source:
        HyperTrans names "a learnable adapter of the deep layers" and gives no form; this is ours.
    """

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        check_at_least("adapter hidden", hidden, 1)
        self.down = nn.Conv2d(channels, hidden, kernel_size=1)
        self.up = nn.Conv2d(hidden, channels, kernel_size=1)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Adapt a map ``(n, c, h, w)``."""
        out: Tensor = features + self.up(nn.functional.gelu(self.down(features)))
        return out


class AdaptedExtractor(nn.Module):
    """A frozen extractor with one adapter after each of its perturbable layers.

    Args:
        extractor: The frozen backbone.
        hidden: Bottleneck of each adapter.
        seed: Seed of the down-projections.
    """

    def __init__(self, extractor: PatchExtractor, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.extractor = extractor
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
        after = self._after(perturb) if perturb is not None or self.enabled else None
        return check_finite(self.extractor(images, domain, after), domain)

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
            state = self.extractor.prefix(images, domain)
            clean = self.extractor.suffix(state)
        perturbed = self.extractor.suffix(state, self._after(perturb))
        return check_finite(clean, domain), check_finite(perturbed, domain)

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
