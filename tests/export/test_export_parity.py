"""What an exported file says is what PyTorch says."""

import pytest
import torch
from exported_runs import LIMITS, SETTINGS
from torch.testing import assert_close

from fsad.data.input import DepthInput, channels_of
from fsad.engine.trained import load_trained
from fsad.export.about import about
from fsad.export.module import traced
from fsad.export.pt2 import write_pt2
from fsad.predict.onnx import OnnxScorer

NEVER = {"part_mask": "no function of an image", "masked": "ONNX has no singular values"}
ALIKE = ("hypertrans_plus", "raw banks", "source_bank", "depth_inet")  # the rest shows most of it
PARITY = [
    pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ())
    for name in SETTINGS
    if name not in NEVER
]


def images(channels):
    """Eight images of 64 pixels; of one channel three equal ones, as a scorer takes depth."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, channels, 9, 9, generator=generator) * 0.8 + 0.1
    smooth = torch.nn.functional.interpolate(coarse, 64, mode="bilinear")
    return smooth.expand(-1, 3, -1, -1).contiguous()


@pytest.fixture(scope="session")
def depth():
    return images(1)


@pytest.mark.parametrize("name", PARITY)
def test_onnxruntime_scores_as_pytorch_does_however_many_images(onnx_of, name):
    trained, path = onnx_of(name)
    channels = channels_of(trained.modality)
    seen = images(channels)
    scores = trained.score(seen)
    score, maps = trained.combined(scores)
    exported = OnnxScorer(path)
    for count in (1, 3, 8):
        said = exported.score(seen[:count, :channels].numpy())
        assert_close(torch.from_numpy(said.score), score[:count], rtol=1e-4, atol=0)
        # An exported map must be the run's within 1e-3, in the scores' own unit, whatever their
        # scale: the highest value is 0.4 to 5 here, and 327 with padim (where they differ by 9e-5).
        assert_close(torch.from_numpy(said.maps), maps[:count], rtol=0, atol=1e-3)
        assert said.parts.keys() == scores.keys()
        for name, ours in said.parts.items():
            theirs = scores[name].images[:count]
            assert_close(torch.from_numpy(ours), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["hypertrans", "masked"])
def test_pytorchs_own_format_scores_as_the_run_does(run_of, depth, tmp_path, name):
    trained = load_trained(run_of(name))
    record = about(trained, LIMITS, DepthInput(64))
    write_pt2(traced(trained), record, tmp_path / "model.pt2")
    extra = {"fsad": ""}
    loaded = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    assert extra["fsad"] == record.to_json()
    score, maps = trained.combined(trained.score(depth))
    for count in (1, 3, 8):
        said = loaded(depth[:count, :1])
        assert_close(said["score"], score[:count], rtol=1e-4, atol=0)
        assert_close(said["map"], maps[:count], rtol=0, atol=1e-4 * float(maps.max()))
