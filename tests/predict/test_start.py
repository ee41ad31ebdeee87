"""What a prediction waits for: of what training needs, nothing is imported."""

import subprocess
import sys

import pytest
from small_runs import ROOT

UNNEEDED = {
    "dhg",
    "huggingface_hub",
    "kornia",
    "lightning",
    "matplotlib",
    "pandas",
    "plotly",
    "sklearn",
    "sympy",
    "timm",
    "torch._dynamo",
    "torchmetrics",
    "torchvision",
    "wandb",
}


@pytest.fixture(scope="module", params=["hypertrans", "patchcore", "anomalydino"])
def embedded(request, run, tmp_path_factory):
    """A finished run of a method with the embedded backbone and its shipped weights."""
    words = [f"method={request.param}", "maps=false"]
    without = ("backbone.",) if request.param == "hypertrans" else ("backbone.", "method.")
    return run(tmp_path_factory.mktemp(request.param), *words, without=without)


def test_predicting_with_the_embedded_backbone_imports_only_what_scores(embedded, cache, tmp_path):
    image = next(cache.glob("synthetic/*/tile/test/good/xyz/*.tiff"))
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('imported', *({UNNEEDED!r} & set(sys.modules))))\n"
        "from fsad.cli import main\n"
        f"sys.argv = ['fsad', 'predict', {str(embedded)!r}, {str(image)!r}, "
        f"'--out', {str(tmp_path / 'out')!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "1 image predicted" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["imported"]
