"""Finished runs of a shallow backbone and the files exported of them, each made once."""

import pytest
from exported_runs import LIMITS, SETTINGS, SHALLOW
from small_runs import cache, run

from fsad.data.input import input_spec
from fsad.engine.trained import load_trained
from fsad.export.about import about
from fsad.export.module import traced
from fsad.export.onnx import write_onnx

__all__ = ["cache", "run"]  # fixtures


@pytest.fixture(scope="session")
def run_of(run, tmp_path_factory):
    """``run_of("raw")``: a finished run, the same one every time."""
    made = {}

    def get(name):
        if name not in made:
            words = SETTINGS[name]
            if not any(word.startswith("method=") for word in words):
                words = (f"method={name}", *words)
            folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
            made[name] = run(folder, *SHALLOW, *words, without="method.")
        return made[name]

    return get


@pytest.fixture(scope="session")
def onnx_of(run_of, tmp_path_factory):
    """``onnx_of("raw")``: its run, read back, and the ONNX file of it."""
    made = {}

    def get(name):
        if name not in made:
            trained = load_trained(run_of(name))
            path = tmp_path_factory.mktemp("onnx") / "model.onnx"
            record = about(trained, LIMITS, input_spec(trained.modality, trained.image_size))
            write_onnx(traced(trained), record, path)
            made[name] = trained, path
        return made[name]

    return get
