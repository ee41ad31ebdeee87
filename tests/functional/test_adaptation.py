"""Tasks adapted together: equal to a loop over them, by autograd."""

import weakref

import pytest
import torch
from torch.func import functional_call

from fsad.functional.adaptation import adapted, outer_gradient
from fsad.methods.shared.open_set.losses import heads_loss
from fsad.nn.anomaly_heads import DisentangledHeads

TASKS, SIZE, CHANNELS, RATE, STEPS = 3, 6, 4, 0.05, 3


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(TASKS, SIZE, CHANNELS, side, side) for side in (6, 3)]
    maps = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return maps, torch.tensor([0, 0, 1, 1, 2, 2]).expand(TASKS, -1)


def reference():
    return [torch.full((1, CHANNELS, side, side), 0.3, dtype=torch.float64) for side in (6, 3)]


@pytest.fixture
def heads():
    return DisentangledHeads(CHANNELS, seed=0).double().eval()


@pytest.fixture
def loss(heads):
    def loss(weights, batch):
        said = functional_call(heads, dict(weights), (batch[0], reference()))
        return heads_loss(said, batch[1], 5.0)

    return loss


def of_task(batch, task):
    return [scale[task] for scale in batch[0]], batch[1][task]


def weights_of(heads):
    return {name: it.detach().clone().requires_grad_() for name, it in heads.named_parameters()}


def loop(loss, heads, support, query, importance, second_order):
    """The same, task by task, as one would write it first."""
    start = weights_of(heads)
    total, losses = torch.zeros((), dtype=torch.float64), []
    for task in range(TASKS):
        copy = dict(start) if second_order else {n: it.detach() for n, it in start.items()}
        for step in support:
            copy = {n: it if it.requires_grad else it.requires_grad_() for n, it in copy.items()}
            value = loss(copy, of_task(step, task))
            gradients = torch.autograd.grad(value, list(copy.values()), create_graph=second_order)
            pairs = zip(copy.items(), gradients, strict=True)
            copy = {name: it - RATE * slope for (name, it), slope in pairs}
            if not second_order:
                copy = {name: it.detach() for name, it in copy.items()}
        if not second_order:  # the identity takes the place of the inner steps' derivative
            copy = {name: it + start[name] - start[name].detach() for name, it in copy.items()}
        losses.append(loss(copy, of_task(query, task)))
        total = total + importance[task] * losses[-1]
    gradients = torch.autograd.grad(total, list(start.values()))
    return dict(zip(start, gradients, strict=True)), torch.stack(losses)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_all_tasks_together_equal_a_loop_over_the_tasks(loss, heads, seed, second_order):
    support, query = [batch(10 * seed + step) for step in range(STEPS)], batch(99 + seed)
    importance = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    plain = {name: it.detach() for name, it in heads.named_parameters()}
    found, losses, copies = outer_gradient(
        loss, plain, support, query, RATE, importance, second_order
    )
    expected, known = loop(loss, heads, support, query, importance, second_order)
    torch.testing.assert_close(losses, known)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)
        assert copies[name].shape == (TASKS, *gradient.shape)


def test_without_steps_the_copies_are_the_model_itself(loss, heads):
    weights = {name: it.detach() for name, it in heads.named_parameters()}
    copies = adapted(loss, weights, [], RATE, TASKS)
    assert all(torch.equal(copies[name][1], it) for name, it in weights.items())


def test_batches_need_not_lie_in_memory_together(loss, heads):
    weights = {name: it.detach() for name, it in heads.named_parameters()}
    held = []

    def drawn():
        for step in range(4):
            if step >= 2:  # the one before is in use until this one is there
                assert held[step - 2]() is None
            maps, kinds = batch(step)
            held.append(weakref.ref(maps[0]))
            yield maps, kinds
            del maps, kinds

    adapted(loss, weights, drawn(), RATE, TASKS)
    assert len(held) == 4


def test_the_residual_head_is_alive_in_every_task(loss, heads):
    weights = {name: it.detach() for name, it in heads.named_parameters()}
    found, _, _ = outer_gradient(loss, weights, [batch(0)], batch(1), RATE, torch.ones(TASKS))
    residual = {name: it for name, it in found.items() if name.startswith("residual")}
    assert len(residual) == 6
    assert all(it.abs().sum() > 1e-12 for it in residual.values())
