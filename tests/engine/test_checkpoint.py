"""What checkpoints say of the backbone, and losses that are no numbers."""

from types import SimpleNamespace

import pytest
import torch

from fsad.engine.checkpoint import check_loss, leave_out_backbone, refuse_other_backbone
from fsad.errors import NonFiniteError, RunError

EXTRACTOR = SimpleNamespace(name="tiny", sha256="ab12", refuse_training=lambda: None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_the_stage_and_the_step(value):
    message = rf"rectify loss: expected a finite number, got {value} at step 7\. Lower"
    with pytest.raises(NonFiniteError, match=message):
        check_loss("rectify loss", torch.tensor(value, requires_grad=True), 7)


def test_a_finite_loss_passes():
    loss = torch.tensor(1.5)
    assert check_loss("loss", loss, 0) is loss


def test_checkpoints_keep_what_trains_and_name_the_rest():
    names = (
        "extractor.extractor.net.w",
        "extractor.adapters.block3.up.weight",
        "source_bank.features",
        "target_bank.mean",
        "rectifier.conv_in.theta.weight",
    )
    checkpoint = {"state_dict": dict.fromkeys(names, 0)}
    leave_out_backbone(checkpoint, EXTRACTOR)
    assert set(checkpoint["state_dict"]) == {names[1], names[4]}
    assert checkpoint["backbone"] == {"name": "tiny", "sha256": "ab12"}


@pytest.mark.parametrize("stored", [{"name": "resnet18", "sha256": "ab12"}, {"name": "tiny"}, {}])
def test_another_backbones_checkpoint_is_refused(stored):
    with pytest.raises(
        RunError, match=r"backbone: expected the run's own, .* Pass the same backbone"
    ):
        refuse_other_backbone(stored, EXTRACTOR)
