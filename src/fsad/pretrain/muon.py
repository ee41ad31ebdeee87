"""An optimiser for hidden matrices: momentum, made orthogonal before it is applied."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fsad.errors import check_at_least

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # steepest at 0 of those that keep (0, 1] near 1
STEPS = 5


def orthogonalised(matrices: Tensor) -> Tensor:
    r"""Bring all singular values near 1 and keep the singular vectors.

    With :math:`X_0 = M / \|M\|_F` and (a, b, c) the ``COEFFICIENTS``, five times

    .. math:: X_{k+1} = a X_k + b X_k X_k^\top X_k + c (X_k X_k^\top)^2 X_k

    Laws: :math:`U S V^\top \mapsto U S' V^\top` with S' in [0.6, 1.3] unless a value of S is below
    a hundredth of the norm; scaling M changes nothing; M transposed gives the result transposed.

    Args:
        matrices: ``(b, m, n)``, in any floating point type.

    Returns:
        ``(b, m, n)``.

    Source:
        Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024).
    """
    flat = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if flat else matrices  # the smaller Gram matrix
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if flat else x


class Muon(torch.optim.Optimizer):
    r"""Step along the orthogonalised momentum, as far as AdamW would.

    .. math:: M \leftarrow \mu M + (1 - \mu) G, \quad
        W \leftarrow (1 - \eta \lambda) W - 0.2 \, \eta \sqrt{\max(m, n)} \,
        \operatorname{orth}((1 - \mu) G + \mu M)

    torch has one of the same name that computes in bfloat16: on a processor without such
    instructions its step on the embedded backbone took 24 times as long (2.5 s). This one keeps the
    precision of the weights and takes matrices of one shape together.

    Args:
        params: Matrices, or groups of them. A group's ``pieces`` says how many matrices lie on top
            of each other in each: 3 in one that makes queries, keys and values.
        lr: :math:`\eta`.
        momentum: :math:`\mu`.
        weight_decay: :math:`\lambda`.

    Raises:
        ConfigError: ``pieces`` is below 1.

    Source:
        Jordan et al. (2024); the length of the step: Liu et al., Muon is Scalable for LLM Training
        (2025), eq. (4).
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "pieces": 1}
        super().__init__(params, defaults)
        for group in self.param_groups:
            check_at_least("pieces", group["pieces"], 1)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with the gradients there are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for weights in alike.values():
                self._move(weights, group)
        return loss

    def _move(self, weights: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Move matrices of one shape."""
        lr, mu, pieces = group["lr"], group["momentum"], group["pieces"]
        ways: list[Tensor] = []
        for weight in weights:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            held = state["momentum"]
            held.lerp_(weight.grad, 1 - mu)
            ways += weight.grad.lerp(held, mu).chunk(pieces)
        turned = orthogonalised(torch.stack(ways))
        length = 0.2 * lr * max(turned.shape[-2:]) ** 0.5
        for number, weight in enumerate(weights):
            way = torch.cat(list(turned[number * pieces : (number + 1) * pieces]))
            weight.mul_(1 - lr * group["weight_decay"]).sub_(length * way)
