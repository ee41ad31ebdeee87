"""Finished runs to predict with, made as ``tests/runs`` makes them."""

import pytest
from small_runs import cache, finished, run

__all__ = ["cache", "finished", "run"]  # fixtures

ONE_OF_A_KIND = {
    "patchcore": (),
    "padim": (),
    "raw": (),
    "source_bank": (),
    "anomalydino": ("method.rotations=2", "method.threshold=0.1"),
    "ast": (
        "method.teacher.epochs=2",
        "method.student.epochs=2",
        "method.student.hidden=8",
        "method.student.blocks=1",
    ),
    "part_mask": (),
}


@pytest.fixture(scope="session")
def run_of(run, finished, tmp_path_factory):
    """``run_of("raw")``: a finished run of a method, the same one every time."""
    made = {"hypertrans": finished}

    def get(method):
        if method not in made:
            folder = tmp_path_factory.mktemp(method)
            words = (f"method={method}", "maps=false", *ONE_OF_A_KIND[method])
            made[method] = run(folder, *words, without="method.")
        return made[method]

    return get
