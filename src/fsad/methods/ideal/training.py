"""Stage ``encoder``: the Intrinsic Deviation Encoder, trained once on the source data set."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fsad.data.datamodule import DataModule
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import StageModule
from fsad.functional.intrinsic import (
    deviation_scores,
    gathering_loss,
    image_loss,
    intrinsic_scores,
    orthogonality_loss,
    pixel_loss,
)
from fsad.methods.ideal.episodes import (
    Episode,
    Pool,
    SourceTokens,
    episodes,
    pools_of,
    source_tokens,
)
from fsad.methods.ideal.scorer import IdealScorer
from fsad.methods.ideal.settings import Fit
from fsad.runtime.randomness import generator, seeded


class EncoderModule(StageModule):
    """Train the encoder on episodes: references of a source category, and a query of it.

    The tokens of the source images are made once; an epoch is one step of the Trainer, and many of
    the optimiser, without any pass of the backbone. What is random in an epoch is a pure function
    of seed and epoch.

    Args:
        scorer: Whose encoder is trained.
        fit: How.
        seed: Of what is random.

    Attributes:
        pools: The source images by category.

    Source:
        IDEAL (arXiv 2605.23231). Departure: the query is never among its references.
    """

    def __init__(self, scorer: IdealScorer, fit: Fit, seed: int) -> None:
        super().__init__(scorer.encoder, scorer.extractor.extractor)
        self.scorer, self.fit, self.seed = scorer, fit, seed
        self.automatic_optimization = False
        self._source: SourceTokens | None = None
        self.pools: dict[str, Pool] = {}

    def configure_optimizers(self) -> Any:
        """AdamW; each step sets its rate."""
        fit = self.fit
        return torch.optim.AdamW(
            self.network.parameters(),
            lr=fit.low,
            weight_decay=fit.weight_decay,
            amsgrad=True,
            eps=1e-10,
        )

    def on_fit_start(self) -> None:
        """Make the tokens of the source images.

        Raises:
            ConfigError: A category has too few images for an episode.
        """
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        listed = data.task.role("source_data").samples
        pools_of([it.category for it in listed], [it.is_anomalous for it in listed], self.fit)
        grid = self.scorer.extractor.extractor.grid
        self.look_at(source_tokens(data, self.scorer.encode, grid, self.device))

    def look_at(self, source: SourceTokens) -> None:
        """Learn from these images from now on.

        Raises:
            ConfigError: A category has too few for an episode.
        """
        self.pools = pools_of(source.categories, source.labels, self.fit)
        self._source = source
        self.diagnostics = {"images": float(len(source.labels))}

    def training_step(self, batch: Tensor) -> Tensor:  # noqa: ARG002 (the tokens are here already)
        """Go through the episodes of an epoch; return its mean loss."""
        optimizer: Any = self.optimizers()
        drawn = episodes(self.pools, self.fit, generator(self.seed, "episodes", self.current_epoch))
        self.network.train()
        losses = []
        for step in range(self.fit.steps):
            number = self.current_epoch * self.fit.steps + step
            for group in optimizer.param_groups:
                group["lr"] = rate_at(number, self.fit)
            with seeded(self.seed, "dropout", number), torch.enable_grad():
                loss = self.loss_of(list(islice(drawn, self.fit.batch)))
                check_loss("encoder loss", loss, number)
                optimizer.zero_grad()
                self.manual_backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        self.network.eval()
        mean = torch.stack(losses).mean()
        self.log(f"{self.prefix}encoder/loss", mean, prog_bar=True)
        return mean

    def loss_of(self, drawn: Sequence[Episode]) -> Tensor:
        """Return the loss of some episodes."""
        assert self._source is not None
        source, fit = self._source, self.fit
        with torch.no_grad():
            similarity, residuals, keys, values = self._compared(drawn)
            present = _stacked([torch.ones(len(each), dtype=torch.bool) for each in keys])
        directions = self.scorer.encoder(_stacked(keys), _stacked(values), present.to(self.device))
        intrinsic = intrinsic_scores(residuals, directions)
        queries = [episode.query for episode in drawn]
        labels = torch.tensor([source.labels[query] for query in queries], device=self.device)
        masks, cells = (each[queries].to(self.device) for each in (source.masks, source.cells))
        grid = self.scorer.extractor.extractor.grid
        normal_map, defect_map = similarity.view(-1, *grid), intrinsic.view(-1, *grid)
        scores = deviation_scores(normal_map, defect_map)
        gathering = gathering_loss(residuals, directions, cells, fit.over)
        total: Tensor = (
            image_loss(scores, labels, self.scorer.top_share)
            + pixel_loss(normal_map, defect_map, masks)
            + fit.gathering * gathering
            + fit.orthogonality * orthogonality_loss(directions)
        )
        return total

    def _compared(
        self, drawn: Sequence[Episode]
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Compare queries and defective references with the normal references.

        Returns:
            Similarity ``(n, p)`` and residuals ``(n, p, c)`` of the queries; keys and residuals
            ``(l, c)`` of the anomalous patches, episode by episode.
        """
        assert self._source is not None
        source = self._source
        similarity, residuals, keys, values = [], [], [], []
        for episode in drawn:
            normal = self._tokens(episode.normal).flatten(0, 1)
            matches, residual = self.scorer.compare(self._tokens(episode.query), normal)
            similarity.append(matches.similarity)
            residuals.append(residual)
            cells = source.cells[episode.anomalous].to(self.device)
            known = self._tokens(episode.anomalous)[cells]
            seen = self.scorer.encoder_inputs(known, cells.nonzero()[:, 1], normal)
            keys.append(seen[0])
            values.append(seen[1])
        return torch.stack(similarity), torch.stack(residuals), keys, values

    def _tokens(self, places: Any) -> Tensor:
        assert self._source is not None
        return self._source.tokens[places].to(self.device).float()


def rate_at(step: int, fit: Fit) -> float:
    """Return the learning rate of a step: a rise in a line, then a fall by a cosine.

    Args:
        step: From 0, over all epochs.
        fit: How long it rises, and between which rates.
    """
    rise, whole = min(fit.warmup, fit.epochs) * fit.steps, fit.epochs * fit.steps
    if step < rise:
        return fit.low + (fit.lr - fit.low) * step / rise
    share = (step - rise) / max(1, whole - rise)
    return fit.low + (fit.lr - fit.low) * (1 + math.cos(math.pi * share)) / 2


def _stacked(rows: list[Tensor]) -> Tensor:
    """Put what is of different lengths together, with zeros, or False, behind it."""
    return pad_sequence(rows, batch_first=True)
