"""A run killed anywhere goes on and ends as an unbroken one would have."""

from functools import wraps

import pytest
from lightning import LightningModule
from outcome import numbers

from fsad.callbacks.bank_builder import MemoryBankBuilder
from fsad.methods.hypertrans.perturbation import DomainPerturbationModule
from fsad.methods.hypertrans.rectification import HypergraphRectificationModule


class Killed(BaseException):
    """Not an Exception, so that nothing on the way handles it."""


def kill_at(monkeypatch, owner, hook, when):
    """Make ``hook`` of ``owner`` raise once ``when(self)`` is true."""
    original = getattr(owner, hook)

    @wraps(original)  # Lightning reads the signature
    def dying(self, *args, **kwargs):
        if when(self):
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(owner, hook, dying)


def at_step(step):
    return lambda module: isinstance(module, LightningModule) and module.global_step == step


@pytest.mark.parametrize(
    ("owner", "hook", "when"),
    [
        pytest.param(DomainPerturbationModule, "training_step", at_step(3), id="inside perturb"),
        pytest.param(MemoryBankBuilder, "on_fit_start", lambda _: True, id="before the banks"),
        pytest.param(HypergraphRectificationModule, "training_step", at_step(0), id="after banks"),
        pytest.param(
            HypergraphRectificationModule, "training_step", at_step(11), id="inside rectify"
        ),
        pytest.param(HypergraphRectificationModule, "test_step", lambda _: True, id="in the test"),
    ],
)
def test_a_killed_run_resumes_to_the_same_result(
    finished, run, tmp_path, monkeypatch, owner, hook, when
):
    with monkeypatch.context() as patch:
        kill_at(patch, owner, hook, when)
        with pytest.raises(Killed):
            run(tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert numbers(run(tmp_path, f"resume={tmp_path}")) == numbers(finished)
