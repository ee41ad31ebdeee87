"""Models that are adapted to several tasks at once, and what their losses tell the one before."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

Weights = Mapping[str, Tensor]
Loss = Callable[[Weights, Any], Tensor]
"""``(weights, batch)`` to a scalar; a pure function."""


def adapted(
    loss: Loss, weights: Weights, batches: Iterable[Any], rate: float, tasks: int
) -> dict[str, Tensor]:
    r"""Adapt one model to each of several tasks by gradient steps.

    .. math:: \phi_i \leftarrow \phi_i - \alpha \nabla L_i(\phi_i), \qquad \phi_i^0 = \theta

    Law (``tests/functional/test_adaptation.py``): it equals a loop over the tasks.

    Args:
        loss: Of one task.
        weights: θ, by name.
        batches: One for each step: whatever ``loss`` takes, each tensor with a leading axis of the
            tasks. Taken one at a time: a generator's batches need not lie in memory together.
        rate: α.
        tasks: How many, t.

    Returns:
        φ, each tensor with a leading axis of the tasks, ``(t, ...)``.

    Note:
        On a GPU, what a loop does in t small steps is one step on t times as much: convolutions
        become grouped ones. For a CPU see :func:`chunk`.

    Source:
        AHL (CVPR 2024), eq. (1).
    """
    found = {name: weight.expand(tasks, *weight.shape) for name, weight in weights.items()}
    step = vmap(grad(loss), chunk_size=chunk(found))
    for batch in batches:
        gradients = step(found, batch)
        found = {name: weight - rate * gradients[name] for name, weight in found.items()}
    return found


def outer_gradient(
    loss: Loss,
    weights: Weights,
    support: Iterable[Any],
    query: Any,
    rate: float,
    importance: Tensor,
    second_order: bool = False,
) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    r"""Return how the one model shall move so that its adapted copies do well on other data.

    .. math:: \nabla_\theta \sum_i w_i L_i^q(\phi_i(\theta))

    Of first order, φ is taken for θ plus a constant, as the published code does in all inner steps
    but its first.

    Args:
        loss: Of one task.
        weights: θ, by name.
        support: As ``batches`` of :func:`adapted`.
        query: One batch, with a leading axis of the tasks.
        rate: Of the inner steps.
        importance: w, ``(t,)``.
        second_order: Whether the gradient goes through the inner steps. Then all of their batches
            stay in memory.

    Returns:
        The gradient by name, the losses of the tasks, ``(t,)``, and the adapted weights.

    Source:
        AHL (CVPR 2024), eqs. (2) and (4).
    """
    tasks = len(importance)
    if not second_order:
        copies = adapted(loss, weights, support, rate, tasks)
        gradients, losses = vmap(grad_and_value(loss), chunk_size=chunk(copies))(copies, query)
        whole = {
            name: torch.tensordot(importance.to(each), each, dims=1)
            for name, each in gradients.items()
        }
        return whole, losses, copies

    def total(model: Weights) -> tuple[Tensor, tuple[Tensor, dict[str, Tensor]]]:
        copies = adapted(loss, model, support, rate, tasks)
        losses = vmap(loss)(copies, query)
        return (importance.to(losses) * losses).sum(), (losses, copies)

    whole, (losses, copies) = grad(total, has_aux=True)(dict(weights))
    return whole, losses, copies


def chunk(copies: Weights) -> int | None:
    """Return how many tasks are computed in one go: all, and on a CPU one after another.

    A CPU is busy with one task's convolutions. As grouped ones of all tasks they take as long, and
    their maps must be laid out anew.
    """
    return 1 if next(iter(copies.values())).device.type == "cpu" else None
