import pickle

import pytest
import torch
from safetensors.torch import save_file
from small_backbones import cnn, saved, vit
from torch import nn

from fsad.errors import WeightsError
from fsad.nn.state_dict import fingerprint, load_weights, read_weights

SHA = "2ba71378b7c7496e5c435609952ffd404cf27c117fa99365c2d26770f9239882"


def test_every_file_format_and_wrapper_gives_the_same_weights(tmp_path):
    state = vit().net.state_dict()
    save_file(state, tmp_path / "vit.safetensors")
    files = [tmp_path / "vit.safetensors"]
    for wrapper in (None, "state_dict", "model"):
        content = state if wrapper is None else {wrapper: state, "epoch": 3}
        files.append(tmp_path / f"{wrapper}.pth")
        torch.save(content, files[-1])
    assert {fingerprint(read_weights(file)) for file in files} == {fingerprint(state)}
    assert {vit(weights_path=str(file)).sha256 for file in files} == {fingerprint(state)}


class Crafted:
    """Touches a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_crafted_pickle_is_refused_and_does_not_run(writer, tmp_path):
    path, trace = tmp_path / "crafted.pth", tmp_path / "trace"
    content = {"state_dict": Crafted(trace)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(
        WeightsError, match=r"crafted.pth': expected a file of tensors only, got one"
    ):
        read_weights(path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04broken"])
def test_a_broken_file_is_refused_in_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name}': expected a file of tensors only") as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [torch.ones(2), {}, {"epoch": 3}, {0: torch.ones(2)}])
def test_a_file_without_a_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth': expected a state dict, got something else"):
        read_weights(tmp_path / "odd.pth")


@pytest.mark.parametrize("place", ["nowhere.pth", "."])
def test_a_missing_file_is_named_with_the_setting(place, tmp_path):
    with pytest.raises(WeightsError, match=r"expected a file, got none there\. Correct backbone\."):
        vit(weights_path=str(tmp_path / place))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state | {"norm.weight": torch.ones(47)},
            r"vit.pth': expected norm.weight of shape \(48,\) for 'vit_tiny_patch16_224', "
            r"got shape \(47,\)\. Choose the backbone that the file was made for, or another",
        ),
        (
            lambda state: {key: value for key, value in state.items() if key != "norm.weight"},
            r"vit.pth': expected norm.weight of shape \(48,\) for '.*', got no such key\.",
        ),
        (
            lambda state: state | {"extra.weight": torch.ones(2, 3)},
            r"vit.pth': expected only keys of 'vit_tiny_patch16_224', "
            r"got extra.weight of shape \(2, 3\)\.",
        ),
        (
            lambda state: state | {"patch_embed.proj.weight": torch.ones(48, 3, 16, 16)},
            r"vit.pth': expected patch_embed.proj.weight of shape \(48, 3, 8, 8\)",
        ),
        (
            lambda state: state | {"pos_embed": torch.ones(48)},
            r"vit.pth': expected those of a vision transformer, got something that timm cannot",
        ),
    ],
    ids=["shape", "missing", "unknown", "patch size", "position embeddings"],
)
def test_weights_of_another_architecture_are_refused(change, message, tmp_path):
    path = saved(change(vit().net.state_dict()), tmp_path / "vit.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        vit(weights_path=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300])
def test_values_that_are_not_finite_are_named_with_file_and_key(value, tmp_path):
    state = vit().net.state_dict()
    weight = state["norm.weight"].double()
    weight[3:5] = value  # 1e300 is infinite in the network's 32 bits
    path = saved(state | {"norm.weight": weight}, tmp_path / "vit.pth")
    message = (
        r"^weights '.*vit\.pth': expected finite numbers in norm\.weight, "
        r"got 2 NaN or infinite of 48\. Fetch the file again, or another\.$"
    )
    with pytest.raises(WeightsError, match=message):
        vit(weights_path=path)


def test_a_file_for_a_cnn_does_not_fit_a_vision_transformer_nor_the_reverse(tmp_path):
    of_vit = saved(vit().net.state_dict(), tmp_path / "vit.pth")
    of_cnn = saved(cnn().net.state_dict(), tmp_path / "cnn.pth")
    with pytest.raises(WeightsError, match=r"cnn\.pth': expected cls_token .* no such key"):
        vit(weights_path=of_cnn)
    with pytest.raises(WeightsError, match=r"vit\.pth': expected conv1.* no such key"):
        cnn(weights_path=of_vit)


def test_parts_that_are_not_used_may_be_in_the_file(tmp_path):
    ours = vit()
    more = {"head.weight": torch.ones(10, 48), "head.bias": torch.ones(10)}
    path = saved(ours.net.state_dict() | more, tmp_path / "vit.pth")
    assert vit(weights_path=path).sha256 == ours.sha256


def test_files_older_than_batch_norms_counter_load(tmp_path):
    net = nn.BatchNorm1d(3)
    state = {key: value for key, value in net.state_dict().items() if "tracked" not in key}
    load_weights(net, state | {"weight": torch.full((3,), 2.0)}, path=tmp_path, architecture="bn")
    assert torch.equal(net.weight, torch.full((3,), 2.0))


def test_the_fingerprint_is_the_sha256_of_keys_and_bytes():
    # printf 'a\x01\x02b\x03' | sha256sum
    state = {"b": torch.tensor(3, dtype=torch.uint8), "a": torch.tensor([[1], [2]]).byte()}
    assert fingerprint(state) == SHA
    assert fingerprint(dict(reversed(state.items()))) == SHA


def test_the_fingerprint_sees_every_value_and_no_memory_layout():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}
    assert fingerprint(state | {"a": state["a"].T.contiguous().T}) == fingerprint(state)
    for key in state:
        changed = state[key].clone()
        changed.view(-1)[-1] += 1
        assert fingerprint(state | {key: changed}) != fingerprint(state)
