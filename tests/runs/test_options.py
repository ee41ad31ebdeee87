"""Precision and the way of measuring, in whole runs."""

import pytest
import torch
from outcome import numbers
from safetensors.torch import load_file

from fsad.errors import ConfigError

FILES = ("perturb", "banks", "rectify", "patch_scores")


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_runs_end_to_end_and_keeps_everything_after_the_backbone_in_float32(
    finished, run, tmp_path, precision
):
    folder = run(tmp_path, f"trainer.precision={precision}", "maps=false")
    for name in FILES:
        stored = load_file(folder / f"categories/tile/{name}.safetensors")
        assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    ours, theirs = (
        load_file(it / "categories/tile/patch_scores.safetensors") for it in (folder, finished)
    )
    for name in ours:
        assert not torch.equal(ours[name], theirs[name])
        # bfloat16 keeps 8 bits: 0.4 % in each of some dozen products.
        assert (ours[name] - theirs[name]).norm() / theirs[name].norm() < 0.1


def test_an_unknown_precision_is_refused(run, tmp_path):
    message = r"trainer\.precision: expected one of 32-true, bf16-mixed, 16-mixed, got '64-true'"
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, "trainer.precision=64-true")


def test_histogram_metrics_lie_within_what_the_result_says_of_the_exact_ones(
    finished, run, tmp_path
):
    exact = run(tmp_path, f"ckpt={finished}", "metrics=exact")
    (ours,), (theirs,) = (numbers(folder)[0].values() for folder in (finished, exact))
    assert theirs["metrics_within"] == 0
    within = ours["metrics_within"]
    assert within < 1e-3  # six images of 64 x 64: a pixel is a large step
    for scored in ("source_only", "target_only", "part_mask"):
        assert ours[scored] == pytest.approx(theirs[scored], abs=within)
    for metric in ours["source_only"]:
        assert ours[metric] == pytest.approx(theirs[metric], abs=within)


def test_an_unknown_way_of_measuring_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match=r"metrics: expected one of histogram, exact, got 'fast'"):
        run(tmp_path, "metrics=fast")


def test_a_capped_bank_keeps_no_more_rows_than_asked(run, tmp_path):
    folder = run(tmp_path, "method.bank_max_rows=20", "method.stages.perturb=false", "maps=false")
    assert numbers(folder)[0]["tile"]["bank_rows"] == {"source": 20, "target": 20}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_gpu_runs_end_to_end_near_the_cpu(finished, run, tmp_path, precision):
    folder = run(tmp_path, "trainer=gpu", f"trainer.precision={precision}", "maps=false")
    ours, theirs = (numbers(it)[0]["tile"] for it in (folder, finished))
    assert ours["shots"] == theirs["shots"]
    assert ours["pixel_auroc"] == pytest.approx(theirs["pixel_auroc"], abs=0.05)
