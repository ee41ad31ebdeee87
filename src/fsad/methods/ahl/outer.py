"""Stage ``outer``: one model out of the models of many tasks."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.functional import mse_loss

from fsad.data.datamodule import DataModule
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import StageModule
from fsad.functional.adaptation import Weights, outer_gradient
from fsad.functional.deviation import prior_moments
from fsad.functional.importance import generalisation_errors, importance
from fsad.functional.kmeans import kmeans
from fsad.methods.ahl.features import MapStore, kinds_of, map_store
from fsad.methods.ahl.settings import Outer
from fsad.methods.ahl.tasks import ClusterTask, cluster_tasks
from fsad.methods.shared.open_set.losses import heads_loss
from fsad.methods.shared.open_set.scorer import HeadsScorer
from fsad.methods.shared.open_set.settings import Loss
from fsad.nn.score_sequence import ScoreSequence
from fsad.runtime.randomness import generator

log = logging.getLogger(__name__)

LOOK_BACK = 5
"""Epochs from which the next scores are predicted, K."""
JUDGED = 64
"""Normal images by which tasks are judged, at most."""


class OuterModule(StageModule):
    """Train the unified heads: each epoch is one outer step over all tasks.

    What is random in an epoch is a pure function of seed and epoch. An epoch that was interrupted,
    in its inner steps or after, is done again from the last outer step.

    Args:
        scorer: Whose heads are trained; its network is trained by then, and stays.
        outer: How.
        loss: The deviation loss.
        weighting: How tasks are weighted: ``none``, ``uniform`` or ``lstm``.
        seed: Of what is random.

    Source:
        Zhu et al., AHL (CVPR 2024), algorithm 1.
    """

    def __init__(
        self, scorer: HeadsScorer, outer: Outer, loss: Loss, weighting: str, seed: int
    ) -> None:
        super().__init__(scorer.heads, scorer.extractor.extractor)
        self.scorer, self.outer, self.loss = scorer, outer, loss
        self.weighting, self.seed = weighting, seed
        self.automatic_optimization = False
        self.predictor: ScoreSequence | None = None
        self.tasks: list[ClusterTask] = []
        self.history: list[Tensor] = []
        self._store: MapStore | None = None
        self._stored: dict[str, Any] = {}

    @property
    def heads(self) -> Any:
        """What is trained."""
        return self.scorer.heads

    def configure_optimizers(self) -> Any:
        """Adam, whose rate falls in steps; the predictor of scores has its own."""
        adam = torch.optim.Adam(self.heads.parameters(), lr=self.outer.lr)
        falling = torch.optim.lr_scheduler.StepLR(adam, self.outer.drop_every, gamma=0.1)
        if self.predictor is None:
            return [adam], [falling]
        return [adam, torch.optim.Adam(self.predictor.parameters(), lr=self.outer.lr)], [falling]

    def setup(self, stage: str) -> None:
        """Make all maps, and the tasks of their clusters: before the optimisers, which see T."""
        super().setup(stage)
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        network = self.scorer.network.eval()
        device = self.trainer.strategy.root_device
        self.scorer.to(device)  # with the backbone: a frozen trunk's network does not hold it
        if self.outer.heads == "base":
            self.heads.load_state_dict(network.heads.state_dict())
        self._store = map_store(network, data, self.seed, device)
        means = self._store.maps[0][: self._store.normals].mean(dim=(2, 3))
        count = min(self.outer.clusters, self._store.normals)
        groups, _ = kmeans(means, count, generator(self.seed, "clusters"))
        rng = generator(self.seed, "tasks")
        self.tasks = cluster_tasks(groups.cpu().numpy(), self._store.anomalies, rng)
        log.info("%d tasks of %d normal images in %d clusters", len(self.tasks), len(means), count)
        self.diagnostics = {"tasks": float(len(self.tasks))}
        if self.weighting == "lstm":
            self.predictor = ScoreSequence(len(self.tasks), self.seed)
            self.predictor.load_state_dict(
                self._stored.get("predictor", self.predictor.state_dict())
            )
            self.history = list(self._stored.get("history", []))

    def on_train_epoch_start(self) -> None:
        """Keep batch norm still: statistics of five anomalies would be those of the batch."""
        self.scorer.eval()

    def training_step(self, batch: Tensor) -> Tensor:  # noqa: ARG002 (the images are here already)
        """Take one outer step; return the weighted loss on all queries."""
        adam = self.optimizers()
        adam = adam[0] if isinstance(adam, list) else adam
        weights = self._importance()
        support, query = self._batches()
        parameters = {name: each.detach() for name, each in self.heads.named_parameters()}
        gradient, losses, copies = outer_gradient(
            self.loss_of,
            parameters,
            support,
            query,
            self.outer.inner_lr,
            weights,
            self.outer.second_order,
        )
        total = check_loss("outer loss", (weights * losses).sum().detach(), self.current_epoch)
        for name, parameter in self.heads.named_parameters():
            parameter.grad = gradient[name].detach().clone()
        torch.nn.utils.clip_grad_norm_(self.heads.parameters(), self.outer.clip)
        adam.step()
        adam.zero_grad()
        # Here, not when the epoch has ended: a checkpoint of its end would hold the rate before.
        self.lr_schedulers().step()  # type: ignore[union-attr]
        if self.predictor is not None:
            self._judge(copies)
        self.log(f"{self.prefix}outer/loss", total, prog_bar=True)
        return total

    def loss_of(self, weights: Weights, batch: tuple[Any, ...]) -> Tensor:
        """Return the loss of heads with other weights on a batch of maps; a pure function."""
        maps, kinds, moments = batch
        said = functional_call(self.heads, dict(weights), (maps, self.scorer.network.reference))
        return heads_loss(said, kinds, self.loss.margin, moments)

    def _batches(self) -> tuple[Iterator[Any], Any]:
        """Draw the support batches of all inner steps, as they are asked for, and the query batch.

        With ``resnet18_stem`` at 448 pixels a step's are 0.6 GB, as published in number.
        """
        assert self._store is not None
        outer = self.outer
        sizes = outer.normals, outer.pseudo, outer.anomalies
        kinds = kinds_of(sizes, "pseudo" in self.heads.parts).to(self._store.maps[0].device)
        kinds = kinds.expand(len(self.tasks), -1)

        def batch(step: int) -> Any:
            rows = []
            for number, task in enumerate(self.tasks):
                rng = generator(self.seed, "outer", self.current_epoch, step, number)
                side = task.query if step == outer.inner_steps else task.support
                rows.append(self._store.rows(side, sizes, rng))  # type: ignore[union-attr]
            places = torch.from_numpy(np.stack(rows)).to(kinds.device)
            prior = generator(self.seed, "prior", self.current_epoch, step)
            moments = prior_moments(self.loss.prior, prior)
            columns = tuple(
                kinds.new_full((len(self.tasks),), value, dtype=torch.float32) for value in moments
            )
            return self._store.at(places), kinds, columns  # type: ignore[union-attr]

        return map(batch, range(outer.inner_steps)), batch(outer.inner_steps)

    # --- how much a task counts ---

    def _importance(self) -> Tensor:
        """Return the weights of the tasks in this epoch, ``(t,)``."""
        assert self._store is not None
        count, device = len(self.tasks), self._store.maps[0].device
        if self.weighting == "none":
            return torch.ones(count, device=device)
        if self.predictor is None or self.current_epoch <= LOOK_BACK:  # it has not learnt yet
            return torch.full((count,), 1 / count, device=device)
        with torch.no_grad():
            predicted = self.predictor(self._past(device))
        own, unseen = self._seen_by_tasks(device)
        return importance(generalisation_errors(predicted, self._labels(device), own, unseen))

    def _past(self, device: torch.device) -> Tensor:
        """Return the scores of the last epochs, ``(k, t, n)``; a checkpoint's lie elsewhere."""
        return torch.stack([scores.to(device) for scores in self.history[-LOOK_BACK:]])

    def _judge(self, copies: Weights) -> None:
        """Score the judged images by all tasks' heads, and learn to predict that."""
        assert self.predictor is not None
        scores = self.scores_of(copies)
        if len(self.history) >= LOOK_BACK:
            learner = self.optimizers()[1].optimizer  # type: ignore[index]  # no step of the stage's
            known = self._past(scores.device)
            with torch.enable_grad():
                error = mse_loss(self.predictor(known), scores)
                learner.zero_grad()
                self.manual_backward(error)
            learner.step()
        self.history = [*self.history, scores][-LOOK_BACK:]

    @torch.no_grad()
    def scores_of(self, copies: Weights) -> Tensor:
        """Return the scores of the judged images by all tasks' heads, ``(t, n)``, in [0, 1]."""
        assert self._store is not None
        maps = self._store.at(self._judged())

        def score(weights: Weights) -> Tensor:
            said = functional_call(self.heads, dict(weights), (maps, self.scorer.network.reference))
            parts = [each.images for each in self.heads.signed(said).values()]
            return torch.stack(parts).sum(dim=0)

        scores: Tensor = vmap(score)(dict(copies))
        margin, signs = self.loss.margin, self.heads.signs
        low = -margin * sum(sign < 0 for sign in signs)
        shares: Tensor = (scores - low) / (margin * len(signs))
        return shares.clamp(0, 1)

    def _judged(self) -> Tensor:
        """Rows of the normal images that tasks are judged by, and of all anomalies."""
        assert self._store is not None
        chosen = generator(self.seed, "judged").permutation(self._store.normals)[:JUDGED]
        rows = self._store.real_rows
        places = torch.from_numpy(np.sort(chosen)).to(rows.device)
        return torch.cat([rows[places], rows[self._store.normals :]])

    def _labels(self, device: torch.device) -> Tensor:
        assert self._store is not None
        normal = len(self._judged()) - self._store.anomalies
        return torch.tensor([False] * normal + [True] * self._store.anomalies, device=device)

    def _seen_by_tasks(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tell which judged images are a task's own normal ones, and which unseen anomalies."""
        assert self._store is not None
        rows = self._judged().cpu().numpy()
        normal = rows[: len(rows) - self._store.anomalies]
        anomalous = np.arange(self._store.anomalies)
        own, unseen = [], []
        for task in self.tasks:
            nothing = np.zeros(len(anomalous), dtype=bool)
            own.append([*np.isin(normal, task.support.normals), *nothing])
            unseen.append(
                [*np.zeros(len(normal), bool), *~np.isin(anomalous, task.support.anomalies)]
            )
        return torch.tensor(own, device=device), torch.tensor(unseen, device=device)

    # --- what a checkpoint holds besides ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the predictor and what it looks back on."""
        super().on_save_checkpoint(checkpoint)
        if self.predictor is not None:
            checkpoint["predictor"] = dict(self.predictor.state_dict())
            checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them up again."""
        super().on_load_checkpoint(checkpoint)
        self._stored = {
            key: checkpoint[key] for key in ("predictor", "history") if key in checkpoint
        }
        if self.predictor is not None and self._stored:
            self.predictor.load_state_dict(self._stored["predictor"])
            self.history = list(self._stored["history"])
