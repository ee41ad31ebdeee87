import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fsad.errors import BankError, ShapeError
from fsad.nn.memory_bank import MemoryBank

ROWS, C = 11, 4


class Parent(nn.Module):
    """Banks as a method's module holds them: under a prefix, beside parameters."""

    def __init__(self):
        super().__init__()
        self.banks = nn.ModuleDict({name: MemoryBank(name) for name in ("source", "target")})
        self.layer = nn.Linear(2, 2)


def z_scored(features):
    return (features - features.mean()) / features.std()


@pytest.fixture
def features(normal):
    return 3 * normal(ROWS, C) + 5


@pytest.fixture
def bank(features):
    bank = MemoryBank("target")
    bank.fill(z_scored(features), features.mean(), features.std())
    return bank


def test_it_gives_back_what_it_was_filled_with(bank, features):
    assert bank.is_filled
    assert torch.equal(bank.rows, z_scored(features))


def test_normalizing_the_raw_features_gives_the_rows(bank, features):
    assert_close(bank.normalize(features), bank.rows)


def test_normalizing_is_one_shift_and_one_scale_for_features_of_any_shape(bank, features, normal):
    maps = normal(2, C, 3, 3)
    assert_close(bank.normalize(maps), (maps - features.mean()) / features.std())


def test_a_stored_bank_loads_into_an_empty_one_whatever_its_size(bank):
    loaded = MemoryBank("target")
    loaded.load_state_dict(bank.state_dict())
    for name in ("features", "mean", "std"):
        assert torch.equal(getattr(loaded, name), getattr(bank, name))
        assert getattr(loaded, name).dtype == torch.float64


def test_a_stored_bank_takes_the_place_of_a_larger_and_of_a_smaller_one(bank, normal):
    for rows in (ROWS - 3, ROWS + 3):
        loaded = MemoryBank("target")
        loaded.fill(normal(rows, C), torch.tensor(1.0), torch.tensor(2.0))
        loaded.load_state_dict(bank.state_dict())
        assert torch.equal(loaded.rows, bank.rows)
        assert torch.equal(loaded.std, bank.std)


def test_an_empty_bank_loads_as_an_empty_bank(bank):
    bank.load_state_dict(MemoryBank("target").state_dict())
    assert not bank.is_filled


def test_a_parents_checkpoint_carries_both_banks_through_a_file(features, bank, tmp_path):
    parent, restored = Parent(), Parent()
    parent.banks["target"].fill(bank.features, bank.mean, bank.std)
    parent.banks["source"].fill(z_scored(features)[:3], bank.mean, bank.std)
    torch.save(parent.state_dict(), tmp_path / "parent.pt")
    restored.load_state_dict(torch.load(tmp_path / "parent.pt", weights_only=True))
    assert torch.equal(restored.banks["target"].rows, bank.rows)
    assert len(restored.banks["source"].rows) == 3
    assert torch.equal(restored.layer.weight, parent.layer.weight)
    assert_close(restored.banks["target"].normalize(features), bank.rows)


def test_loading_later_leaves_the_stored_tensors_alone(bank, normal):
    state = bank.state_dict()
    loaded = MemoryBank("target")
    loaded.load_state_dict(state)
    loaded.fill(normal(2, C), torch.tensor(0.0), torch.tensor(1.0))
    assert len(state["features"]) == ROWS


def test_a_missing_buffer_is_still_an_error(bank):
    state = bank.state_dict()
    del state["features"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "features"'):
        MemoryBank("target").load_state_dict(state)


def test_the_rows_move_with_the_module(bank):
    assert bank.to(torch.float32).rows.dtype == torch.float32
    assert bank.to("meta").rows.device.type == "meta"


@pytest.mark.parametrize("domain", ["source", "target"])
def test_an_empty_bank_says_what_fills_it(domain):
    message = rf"^bank '{domain}': expected features, got none\. "
    message += r"Put a BankStage into the plan, before what needs it\.$"
    bank = MemoryBank(domain)
    with pytest.raises(BankError, match=message):
        _ = bank.rows
    with pytest.raises(BankError, match=message):
        bank.normalize(torch.zeros(2, C))


def test_no_rows_to_keep_are_refused():
    with pytest.raises(BankError, match=r"^bank 'source': expected features to keep, got none$"):
        MemoryBank("source").fill(torch.empty(0, C), torch.tensor(0.0), torch.tensor(1.0))


@pytest.mark.parametrize("std", [0.0, float("nan")])
def test_features_that_do_not_vary_are_refused(std):
    message = r"^bank 'source': expected features that vary, got a standard deviation of "
    message += rf"{std}\. Check the images and the backbone's weights\.$"
    with pytest.raises(BankError, match=message):
        MemoryBank("source").fill(torch.zeros(3, C), torch.tensor(0.0), torch.tensor(std))


def test_features_without_two_axes_are_refused():
    with pytest.raises(ShapeError, match=r"^features: expected \(b, c\), got \(3, 4, 5\)$"):
        MemoryBank("source").fill(torch.zeros(3, 4, 5), torch.tensor(0.0), torch.tensor(1.0))
