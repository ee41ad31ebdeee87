"""Stages ``teacher`` and ``student``: a flow learns normal depth, a student learns the flow."""

import torch
from torch import Tensor

from fsad.data.batch import ImageBatch
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import StageModule
from fsad.methods.ast.scorer import AstScorer, cells_of


class TeacherModule(StageModule):
    r"""Train the flow to make normal depth a standard normal distribution.

    .. math:: L = \frac{m}{c} \Big( \tfrac{1}{2} \|z\|^2 - \log |\det J| \Big)

    averaged over positions, with c the channels and m whether a cell counts: the negative
    log-likelihood but for a constant.

    Args:
        scorer: Whose teacher is trained.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.

    Source:
        Rudolph et al., AST (WACV 2023), eq. (3).
    """

    def __init__(self, scorer: AstScorer, lr: float, weight_decay: float) -> None:
        super().__init__(scorer.teacher, scorer.extractor.extractor)
        self.scorer, self.flow = scorer, scorer.teacher
        self.lr, self.weight_decay = lr, weight_decay

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the flow."""
        parameters = self.flow.parameters()
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def training_step(self, batch: ImageBatch) -> Tensor:
        """Return the loss of some shots."""
        cells = cells_of(self.scorer.extractor, batch.image, self.scorer.threshold)
        z, volume = self.flow(cells.depth)
        likelihood = cells.counts * (0.5 * z.square().sum(dim=1) - volume)
        loss = check_loss("teacher loss", likelihood.mean() / z.shape[1], self.global_step)
        self.log(f"{self.prefix}teacher/loss", loss, prog_bar=True)
        return loss


class StudentModule(StageModule):
    """Train the student to say what the teacher says.

    Args:
        scorer: Whose student is trained; its teacher is trained by then.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.

    Source:
        Rudolph et al., AST (WACV 2023), eqs. (4)-(6).
    """

    def __init__(self, scorer: AstScorer, lr: float, weight_decay: float) -> None:
        super().__init__(scorer.student, scorer.extractor.extractor)
        self.scorer, self.student = scorer, scorer.student
        self.lr, self.weight_decay = lr, weight_decay

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the student."""
        parameters = self.student.parameters()
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def training_step(self, batch: ImageBatch) -> Tensor:
        """Return how far the student is from the teacher on some shots."""
        distance = self.scorer.disagreement(batch.image).mean()
        loss = check_loss("student loss", distance, self.global_step)
        self.log(f"{self.prefix}student/loss", loss, prog_bar=True)
        return loss
