"""Stages ``scale0`` and on: a scale's generator and discriminator, on the shots."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from fsad.data.datamodule import DataModule
from fsad.data.datasets import RoleImages
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import StageModule
from fsad.errors import ConfigError
from fsad.functional.warps import WarpTable
from fsad.methods.htdg.scorer import PyramidScorer
from fsad.methods.htdg.settings import Fit
from fsad.nn.patch_pyramid import resize_matrix, resized
from fsad.runtime.randomness import seeded


class ScaleModule(StageModule):
    r"""Train one scale while the coarser ones stay as they are.

    With x the shots in this size, :math:`T_i` the M transforms, D the discriminator and G the
    generator, averaged over patches, transforms and images:

    .. math::
        L_D = CE\big(D(T_i(x)), i\big) + CE\big(D(T_i(G(z))), M\big), \qquad
        L_G = CE\big(D(T_i(G(z))), i\big) + \alpha\, \lVert G(z^*) - x \rVert^2

    where z is fresh noise through all coarser generators and :math:`z^*` noise that was drawn once.
    An iteration is some steps of D, then as many of G. What is random in an iteration is a pure
    function of seed, scale and iteration, so that a resumed scale ends alike.

    Transforms of the shots are made once, all shots and transforms are one batch, and at the
    coarsest scale, where nothing comes before, the images that D sees are made once per iteration.

    Args:
        scorer: Whose networks are trained.
        scale: Which.
        fit: How.
        seed: Of what is random.

    Source:
        Sheynin et al., HTDG (ICCV 2021). Departures: ``docs/htdg.md``.
    """

    def __init__(self, scorer: PyramidScorer, scale: int, fit: Fit, seed: int) -> None:
        networks = scorer.networks(scale)
        super().__init__(networks, scorer.extractor.extractor)
        self.scorer, self.scale, self.fit, self.seed = scorer, scale, fit, seed
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.automatic_optimization = False
        self._table: WarpTable = scorer.table(scale)

    def configure_optimizers(self) -> Any:
        """Adam for each of the two."""
        rates = {"lr": self.fit.lr, "betas": (self.fit.beta, 0.999)}
        return [
            torch.optim.Adam(network.parameters(), **rates)  # type: ignore[arg-type]
            for network in (self.discriminator, self.generator)
        ]

    def on_fit_start(self) -> None:
        """Look at the shots."""
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        images = RoleImages(data.reader, [data.task.role("shots")], data.canvas)
        shots = [images[place].image for place in range(len(images))]
        self.look_at(torch.stack(shots).to(self.device))

    def on_train_start(self) -> None:
        """Begin where the scale below ended, if its networks are as wide; a resumed one goes on."""
        if self.scale > 0 and self.current_epoch == 0:
            self._begin_as(self.scorer.networks(self.scale - 1))

    @torch.no_grad()
    def look_at(self, shots: Tensor) -> None:
        """Learn from these images from now on, ``(k, 3, S, S)`` in [0, 1].

        Raises:
            ConfigError: They have no colours, and transforms are to make them grey.
        """
        if any(self._table.is_grey) and bool((shots == shots[:, :1]).all()):
            raise ConfigError(
                "method.transforms: expected rotations or gray with images without colours, got "
                "all, in which some would be alike. Choose one of the others."
            )
        self.scorer.eval()
        reals = [self.scorer.seen(shots, scale) for scale in range(self.scale + 1)]
        self._real = reals[-1]
        self._warped = self._table.apply(self._real)
        self._numbers = torch.arange(len(shots), device=shots.device)
        self._enlarge = [
            resize_matrix(small, large).to(shots)
            for small, large in zip(self.scorer.sizes, self.scorer.sizes[1:], strict=False)
        ]
        self._strengths = [shots.new_ones(len(shots))]
        for scale in range(1, self.scale + 1):
            before = self._before(scale, "kept")
            undone = (reals[scale] - before).abs().mean(dim=(1, 2, 3))
            self._strengths.append(self.fit.noise * undone)
        self._kept = self._noise(self.scale, "kept"), self._before(self.scale, "kept")
        self.diagnostics = {"noise": float(self._strengths[-1].mean())}

    def training_step(self, batch: Tensor) -> Tensor:  # noqa: ARG002 (the shots are here already)
        """Go through the iterations of an epoch; return the discriminator's mean loss."""
        self.scorer.eval()  # what coarser scales make is theirs, whatever is made beside it
        self.network.train()
        losses = [self._iteration(number) for number in self._numbers_of_epoch()]
        self.network.eval()
        found = torch.stack([torch.stack(each) for each in losses]).mean(dim=0)
        for name, value in zip(
            ("discriminator", "generator", "reconstruction"), found, strict=True
        ):
            self.log(f"{self.prefix}scale{self.scale}/{name}", value, prog_bar=True)
        return found[0]

    def _numbers_of_epoch(self) -> Iterator[int]:
        first = self.current_epoch * self.fit.iterations
        return iter(range(first, first + self.fit.iterations))

    def _iteration(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Take the steps of both networks; return the last losses."""
        fit = self.fit
        optimizers: Any = self.optimizers()
        of_discriminator, of_generator = optimizers
        _set_rate(of_discriminator, fit.lr * (0.1 if number >= fit.drop_discriminator else 1.0))
        _set_rate(of_generator, fit.lr * (0.1 if number >= fit.drop_generator else 1.0))
        noise = self._noise(self.scale, number)
        before = self._before(self.scale, number, 0)
        made = self._made(noise, before)
        with torch.enable_grad():
            for step in range(fit.steps):
                if step and self.scale:  # at the coarsest scale nothing would be drawn anew
                    before = self._before(self.scale, number, step)
                    made = self._made(noise, before)
                loss = self.discriminator_loss(made)
                check_loss(f"scale{self.scale} discriminator loss", loss, number)
                of_discriminator.zero_grad()
                self.manual_backward(loss)
                of_discriminator.step()
            for _ in range(fit.steps):
                fooled, rebuilt = self.generator_losses(noise, before)
                whole = fooled + fit.reconstruction * rebuilt
                check_loss(f"scale{self.scale} generator loss", whole, number)
                of_generator.zero_grad()
                self.manual_backward(whole, inputs=list(self.generator.parameters()))
                of_generator.step()
        return loss.detach(), fooled.detach(), rebuilt.detach()

    def discriminator_loss(self, made: Tensor) -> Tensor:
        """Return what the discriminator is to lower, of the shots and of images that were made."""
        transforms = len(self._table)
        right = self._classes(len(self._real))
        of_real = _cross_entropy(self.discriminator(self._warped), right)
        of_made = self.discriminator(self._table.apply(made))
        return of_real + _cross_entropy(of_made, torch.full_like(right, transforms))

    def generator_losses(self, noise: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the generator is to lower: that it is found out, and its error."""
        made = self.generator(noise, before, self._numbers)
        logits = self.discriminator(self._table.apply(made))
        fooled = _cross_entropy(logits, self._classes(len(made)))
        return fooled, mse_loss(self.generator(*self._kept, self._numbers), self._real)

    @torch.no_grad()
    def _made(self, noise: Tensor, before: Tensor) -> Tensor:
        made: Tensor = self.generator(noise, before, self._numbers)
        return made

    def _classes(self, count: int) -> Tensor:
        return torch.arange(len(self._table), device=self.device).repeat(count)

    def _noise(self, scale: int, *key: int | str) -> Tensor:
        """Return noise as strong as a scale has it."""
        size = self.scorer.sizes[scale]
        with seeded(self.seed, "noise", scale, *key):
            noise = torch.randn(len(self._numbers), self._real.shape[1], size, size)
        return noise.to(self._real) * self._strengths[scale][:, None, None, None]

    @torch.no_grad()
    def _before(self, scale: int, *key: int | str) -> Tensor:
        """Return what the scales below make of noise, in the size of this one."""
        size = self.scorer.sizes[0]
        made = self._real.new_zeros(len(self._numbers), self._real.shape[1], size, size)
        for below in range(scale):
            generator = self.scorer.networks(below).generator
            made = generator(self._noise(below, *key), made, self._numbers)
            made = resized(made, self._enlarge[below])
        return made

    def _begin_as(self, below: nn.Module) -> None:
        theirs, ours = below.state_dict(), self.network.state_dict()
        if all(theirs[name].shape == value.shape for name, value in ours.items()):
            self.network.load_state_dict(theirs)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the mean over all patches; each image's are of one class."""
    return cross_entropy(logits, classes[:, None, None].expand(-1, *logits.shape[2:]))


def _set_rate(optimizer: Any, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
