"""What checkpoints say of the backbone, and losses that are no numbers."""

from types import SimpleNamespace

import pytest
import torch

from fsad.engine.checkpoint import check_loss, refuse_other_backbone, take_network
from fsad.errors import DataError, NonFiniteError, RunError

EXTRACTOR = SimpleNamespace(name="tiny", sha256="ab12", refuse_training=lambda: None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_the_stage_and_the_step(value):
    message = rf"rectify loss: expected a finite number, got {value} at step 7\. Lower"
    with pytest.raises(NonFiniteError, match=message):
        check_loss("rectify loss", torch.tensor(value, requires_grad=True), 7)


def test_a_finite_loss_passes():
    loss = torch.tensor(1.5)
    assert check_loss("loss", loss, 0) is loss


def test_a_checkpoint_gives_back_the_network():
    assert take_network({"network.up.weight": 1, "network.down.weight": 2}, ["down.weight"]) == {
        "down.weight": 2
    }


def test_a_checkpoint_of_an_earlier_version_gives_it_too():
    stored = {
        "extractor.extractor.net.up.weight": 0,  # the backbone's
        "extractor.adapters.block3.up.weight": 1,
        "source_bank.features": 0,
        "rectifier.conv_in.theta.weight": 2,
    }
    assert take_network(stored, ["block3.up.weight"]) == {"block3.up.weight": 1}
    assert take_network(stored, ["conv_in.theta.weight"]) == {"conv_in.theta.weight": 2}


@pytest.mark.parametrize("stored", [{}, {"teacher.enter": 0, "student.enter": 1}])
def test_a_checkpoint_of_another_network_is_refused(stored):
    message = r"checkpoint: expected 'enter' of the network .*, got [02] of that name\. Delete"
    with pytest.raises(DataError, match=message):
        take_network(stored, ["enter"])


@pytest.mark.parametrize("stored", [{"name": "resnet18", "sha256": "ab12"}, {"name": "tiny"}, {}])
def test_another_backbones_checkpoint_is_refused(stored):
    with pytest.raises(
        RunError, match=r"backbone: expected the run's own, .* Pass the same backbone"
    ):
        refuse_other_backbone(stored, EXTRACTOR)
