"""The cells of a grid share what their share of the domains does not change, and no more."""

import shutil

import pytest
from outcome import numbers
from PIL import Image

from fsad.engine.last_tests import LastTests
from fsad.metrics.anomaly import Evaluation
from fsad.run import job
from fsad.run.sweep import finished as finished_in
from fsad.scores.scored_images import ScoredImages

PLAIN = "method.stages={perturb:false,rectify:false,cross_domain:true}"  # trains nothing
FILES = ("scores.csv", "table.md", "table.csv", "categories/tile/scores.csv")


@pytest.fixture
def own(tmp_path, cache):
    """Overrides that turn the cache on, in a folder of the test's own."""
    return (
        "cache=default",
        f"paths.cache_dir={tmp_path / 'own'}",
        f"data.root={cache}/synthetic",
        "maps=false",
        PLAIN,
    )


@pytest.fixture
def measured(monkeypatch):
    """Which sets each test measured; nothing is known from earlier ones."""
    monkeypatch.setattr(job, "TESTS", LastTests(job.TESTS.max_bytes))
    seen = []
    original = Evaluation.__init__

    def noting(self, names, *args, **kwargs):
        seen.append(tuple(names))
        original(self, names, *args, **kwargs)

    monkeypatch.setattr(Evaluation, "__init__", noting)
    return seen


ALL = ("fused", "source_only", "target_only", "part_mask")


@pytest.mark.parametrize("more", [(), ("metrics=exact",), ("method.sigma=0", "threshold=false")])
def test_cells_are_runs_of_their_own_bit_for_bit(run, tmp_path, own, measured, more):
    betas = ("0.0", "0.3", "1.0")
    for beta in betas:
        run(tmp_path / beta, *own, *more, f"method.beta={beta}", "maps=true")
    assert measured == [ALL, ("fused",), ("fused",)]
    for beta in betas:
        words = (PLAIN, f"data.root={own[2].partition('=')[2]}", *more, f"method.beta={beta}")
        alone, cell = run(tmp_path / f"alone{beta}", *words), tmp_path / beta
        assert numbers(cell) == numbers(alone)
        for name in FILES:
            assert (cell / name).read_bytes() == (alone / name).read_bytes()
        pictures = sorted(path.relative_to(alone) for path in alone.glob("maps/**/*.png"))
        assert pictures
        for name in pictures:
            assert (cell / name).read_bytes() == (alone / name).read_bytes()
        kept = {path.relative_to(cell) for path in cell.rglob("*") if path.is_file()}
        assert {path.relative_to(alone) for path in alone.rglob("*") if path.is_file()} == kept
    assert len(measured) == 2 * len(betas)
    assert measured[len(betas) :] == [ALL] * len(betas)  # with cache=none nothing is taken over


@pytest.mark.parametrize(
    "change",
    ["method.sigma=2", "metrics=exact", "data.shots=1", "data.batch_size=3", "cache=none"],
)
def test_nothing_is_taken_over_where_anything_else_differs(run, tmp_path, own, measured, change):
    run(tmp_path / "before", *own, "method.beta=0.3")
    run(tmp_path / "changed", *own, "method.beta=0.6", change)
    assert measured == [ALL, ALL]


def test_a_changed_mask_is_measured(run, tmp_path, own, cache, measured):
    copy = tmp_path / "data"
    shutil.copytree(cache / "synthetic", copy)
    words = (*own, f"data.root={copy}")
    run(tmp_path / "before", *words, "method.beta=0.3")
    mask = next(copy.glob("**/tile/test/*/gt/*.png"))
    Image.open(mask).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mask)
    changed = run(tmp_path / "changed", *words, "method.beta=0.6")
    assert measured == [ALL, ALL]
    alone = run(tmp_path / "alone", PLAIN, f"data.root={copy}", "method.beta=0.6")
    assert numbers(changed) == numbers(alone)


def test_what_is_too_much_is_not_kept(run, tmp_path, own, measured, monkeypatch):
    run(tmp_path / "first", *own, "method.beta=0.3")
    (kept,) = job.TESTS._tests.values()
    monkeypatch.setattr(job, "TESTS", LastTests(kept.nbytes - 1))
    for beta in ("0.4", "0.5"):
        run(tmp_path / beta, *own, f"method.beta={beta}")
    assert measured == [ALL] * 3
    room = LastTests(2 * kept.nbytes)
    for key in ("oldest", "older", "newest"):
        room.keep(key, kept)
    assert [room.get(key) is kept for key in ("oldest", "older", "newest")] == [False, True, True]


@pytest.mark.usefixtures("measured")
def test_a_killed_grid_ends_as_an_unbroken_one(command, run, tmp_path, cache):
    class Killed(BaseException):
        """Not an Exception, so that nothing on the way handles it."""

    words = (
        *("hydra.mode=MULTIRUN", "sweep=alpha_beta", PLAIN),
        *("method.alpha=0.0,1.0", "method.beta=0.2,0.8"),
    )
    original, tests = ScoredImages.compute, []

    def dying(self):
        tests.append(self)
        if len(tests) == 2:
            raise Killed
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScoredImages, "compute", dying)
        with pytest.raises(Killed):
            command(*words)
    (sweep,) = (file.parent for file in (tmp_path / "multirun").glob("*/*/multirun.yaml"))
    assert [finished_in(sweep / cell) is not None for cell in "012"] == [True, False, False]

    code, said = command(*words, "resume=newest")
    assert code == 0, said
    root = f"data.root={cache}/synthetic"
    for cell, (alpha, beta) in enumerate([("0.0", "0.2"), ("0.0", "0.8"), ("1.0", "0.2")]):
        alone = run(
            tmp_path / f"alone{cell}",
            *(PLAIN, root, "threshold=false", f"method.alpha={alpha}", f"method.beta={beta}"),
        )
        assert numbers(sweep / str(cell)) == numbers(alone)
    assert finished_in(sweep / "3") is not None


def test_a_cell_that_fails_loses_no_other(command, tmp_path):
    words = ("hydra.mode=MULTIRUN", "sweep=alpha_beta", PLAIN)
    code, said = command(*words, "method.alpha=0.3", "method.beta=0.2,2,0.8")
    assert code == 1
    assert "method.beta" in said
    (sweep,) = (file.parent for file in (tmp_path / "multirun").glob("*/*/multirun.yaml"))
    assert [finished_in(sweep / cell) is not None for cell in "012"] == [True, False, True]
