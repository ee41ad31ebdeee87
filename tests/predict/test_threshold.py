"""The threshold that a run sets from its shots alone."""

import json
from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fsad.engine.artifacts import trained_plan
from fsad.engine.held_out_shots import groups_of, held_out_scores
from fsad.engine.trained import load_trained
from fsad.errors import DataError
from fsad.scores.threshold import HeldOut, Threshold, read_threshold

CATEGORY = "categories/tile"
ROWS = [HeldOut("a", 1.0, {"target": 1.0}, 0.5), HeldOut("b", 3.0, {"target": 3.0}, 0.75)]


def entry_of(folder):
    return json.loads((folder / "result.json").read_text())["categories"]["tile"]


def test_the_largest_score_and_map_are_the_thresholds_and_the_rate_is_1_in_k_plus_1():
    found = Threshold.of(ROWS)
    assert (found.image, found.map, found.false_alarm_rate) == (3.0, 0.75, 1 / 3)
    rule, rate = found.note.splitlines()
    assert rule == "threshold 3: the largest score of 2 shots, held out of the bank"
    assert "expect about 1 in 3 good parts like the shots to be flagged by mistake" in rate
    assert "a little more" in rate
    assert max(map(len, (rule, rate))) <= 100  # characters of a terminal, with room to spare


def test_of_exchangeable_scores_a_new_one_lies_above_the_largest_once_in_k_plus_1():
    draws = torch.randn(100_000, 6, generator=torch.Generator().manual_seed(0))
    above = (draws[:, 5] > draws[:, :5].amax(dim=1)).float().mean()
    assert float(above) == pytest.approx(1 / 6, abs=0.005)


def test_a_threshold_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "threshold.json"
    for found in (Threshold.of(ROWS, 1.5), Threshold.none("why")):
        found.write(path)
        assert read_threshold(path) == found


def test_a_run_without_one_has_none_and_a_spoiled_one_is_named(tmp_path):
    path = tmp_path / "threshold.json"
    assert read_threshold(path).image is None
    assert "the run has none" in read_threshold(path).note
    other = json.dumps(Threshold.of(ROWS).to_json() | {"schema": 2, "seconds": 0})
    for text in ("{", "[]", "{}", "[" * 100_000, other):
        path.write_text(text)
        with pytest.raises(DataError, match=r"threshold\.json: expected a run's threshold, got"):
            read_threshold(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image", float("nan")),
        ("image", float("inf")),
        ("image", 10**400),
        ("image", "3"),
        ("image", True),
        ("map", float("-inf")),
        ("false_alarm_rate", 1.5),
        ("held_out", [{**ROWS[0].to_json(), "score": float("nan")}]),
        ("held_out", [{**ROWS[0].to_json(), "score_target": "one"}]),
        ("held_out", [{"image": "a"}]),
    ],
)
def test_a_threshold_that_decides_nothing_is_refused(tmp_path, key, value):
    path = tmp_path / "threshold.json"
    path.write_text(json.dumps(Threshold.of(ROWS).to_json() | {"seconds": 0, key: value}))
    with pytest.raises(
        DataError,
        match=r"threshold\.json: expected a run's threshold, got .* Copy the whole folder",
    ):
        read_threshold(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_of_shots_whose_scores_are_no_numbers_there_is_no_threshold(value):
    for row in (replace(ROWS[0], score=value), replace(ROWS[0], map_highest=value)):
        found = Threshold.of([*ROWS, row])
        assert found.image is found.map is None
        assert found.note == "no threshold: the score of a held-out shot is NaN or infinite"


@pytest.mark.parametrize("method", ["hypertrans", "raw", "anomalydino", "source_bank"])
def test_a_run_writes_it_beside_its_banks_and_into_its_result(run_of, method):
    folder = run_of(method)
    found = read_threshold(folder / CATEGORY / "threshold.json")
    entry = entry_of(folder)
    assert entry["threshold"] == found.to_json()
    assert [each.image for each in found.held_out] == entry["shots"]
    assert found.image == max(each.score for each in found.held_out)
    assert found.map == max(each.map_highest for each in found.held_out)
    assert found.false_alarm_rate == 1 / 3


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("part_mask", "no threshold: the method cannot score a new image"),
        ("ast", "no threshold: the method trains on the shots and keeps no bank"),
    ],
)
def test_a_method_whose_shots_cannot_be_held_out_says_so(run_of, method, why):
    found = read_threshold(run_of(method) / CATEGORY / "threshold.json")
    assert found.image is found.map is found.false_alarm_rate is None
    assert found.note.startswith(why)


def test_a_single_shot_has_no_estimate(run, tmp_path):
    words = ("method=raw", "maps=false", "data.shots=1")
    folder = run(tmp_path, *words, without="method.")
    found = read_threshold(folder / CATEGORY / "threshold.json")
    assert found.image is None
    assert "a single shot cannot be held out" in found.note


def test_where_one_shot_fewer_is_too_few_it_says_why(run, tmp_path):
    words = ("method=padim", "method.window=1", "maps=false")
    folder = run(tmp_path, *words, without="method.")
    found = read_threshold(folder / CATEGORY / "threshold.json")
    assert "the shots cannot be held out (method.window: expected 3 or more" in found.note


def test_raw_depth_is_held_out_as_the_formula_says(run_of):
    folder = run_of("raw")
    config = OmegaConf.load(folder / "config.yaml")
    data = instantiate(config.data, _convert_="all").for_category("tile")
    one, other = torch.cat([batch.image for batch in data.loader("shots")])[:, 0]
    # The bank is z-scored by its own shot's deviation, and the query with it.
    expected = [
        float((one - other).abs().max() / other.std()),
        float((one - other).abs().max() / one.std()),
    ]
    found = read_threshold(folder / CATEGORY / "threshold.json")
    assert [each.score for each in found.held_out] == pytest.approx(expected, rel=1e-4)


def test_turned_shots_are_held_out_with_all_their_turns(run, tmp_path, caplog):
    plain = ("method.stages.perturb=false", "method.stages.rectify=false")
    turns = "method.plus.rotations=4"
    with caplog.at_level("INFO", logger="fsad"):
        folder = run(tmp_path, "method=hypertrans_plus", *plain, turns, "maps=false")
    assert "views of each target image" not in caplog.text  # told of banks taken, not of each shot
    config = OmegaConf.load(folder / "config.yaml")
    data = instantiate(config.data, _convert_="all").for_category("tile")
    shots = torch.cat([batch.image for batch in data.loader("shots")])
    encode = load_trained(folder).scorer.encode

    def rows(image):
        return encode(image, "target").double().permute(0, 2, 3, 1).flatten(0, 2)

    expected = []
    for mine, other in ((0, 1), (1, 0)):
        turns = [torch.rot90(shots[[other]], k, (2, 3)) for k in range(4)]
        bank = torch.cat([rows(each) for each in turns])
        nearest = torch.cdist(rows(shots[[mine]]), bank).amin(dim=1)
        expected.append(float(nearest.max() / bank.std(correction=0)))
    found = read_threshold(folder / CATEGORY / "threshold.json")
    assert [each.parts["target"] for each in found.held_out] == pytest.approx(expected, rel=1e-4)


def test_a_shot_that_is_not_held_out_scores_0_by_its_own_patches(run_of):
    trained = load_trained(run_of("patchcore"))
    config = trained.config
    data = instantiate(config.data, _convert_="all").for_category("tile")
    images = torch.cat([batch.image for batch in data.loader("shots")])
    assert float(trained.score(images)["target"].images.max()) == pytest.approx(0, abs=1e-2)
    held = held_out_scores(lambda: load_trained(run_of("patchcore")).plan, images)
    assert float(held["target"].images.min()) > 0.1


@pytest.mark.parametrize("shots", [2, 10, 11, 64])
def test_each_shot_is_held_out_once_and_few_of_them_alone(shots):
    groups = groups_of(shots)
    assert sorted(place for group in groups for place in group) == list(range(shots))
    assert len(groups) == (shots if shots <= 10 else 5)
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


@pytest.mark.parametrize(("twin", "is_known"), [(5, False), (1, True)])
def test_of_many_shots_a_group_is_scored_against_the_others(run_of, twin, is_known):
    folder = run_of("patchcore")
    size = load_trained(folder).image_size
    images = torch.rand(11, 3, size, size, generator=torch.manual_seed(0))
    images[twin] = images[0]  # in its own group, or in another
    held = held_out_scores(lambda: load_trained(folder).plan, images)
    scores = held["target"].images
    assert len(scores) == 11
    assert (float(scores[0]) < 0.01) == is_known
    assert float(scores[2:5].min()) > 0.1


def test_it_changes_no_other_number_of_the_run(run, finished, tmp_path):
    without = run(tmp_path, "threshold=false")
    assert (without / "scores.csv").read_bytes() == (finished / "scores.csv").read_bytes()
    ours, theirs = entry_of(without), entry_of(finished)
    assert ours.pop("threshold") is None
    assert theirs.pop("threshold") is not None
    for name in ("seconds", "backbone_seconds", "peak_rss_mb"):
        ours.pop(name), theirs.pop(name)
    assert ours == theirs
    for name in ("perturb", "rectify"):
        path = f"{CATEGORY}/{name}.safetensors"
        states = [
            torch.cat([value.flatten() for value in stage.network.state_dict().values()])
            for folder in (without, finished)
            for stage in load_trained(folder).plan.stages
            if stage.name == name
        ]
        assert torch.equal(*states), path
    assert not (without / CATEGORY / "threshold.json").exists()


def test_a_second_run_takes_the_scores_from_the_cache(run, tmp_path, monkeypatch):
    words = ("method=patchcore", "maps=false", "cache=default", f"paths.cache_dir={tmp_path / 'c'}")
    one = run(tmp_path / "one", *words, without="method.")
    monkeypatch.setattr(
        "fsad.engine.held_out_shots.held_out_scores", lambda *_: pytest.fail("computed")
    )
    two = run(tmp_path / "two", *words, without="method.")
    assert entry_of(one)["threshold"] == entry_of(two)["threshold"]


def test_a_result_of_an_earlier_version_is_still_read(finished):
    from fsad.results.result import CategoryResult

    entry = entry_of(finished)
    del entry["threshold"], entry["prepared"]
    assert CategoryResult.from_json(entry).threshold is None


def test_a_plan_laid_out_again_lacks_no_file(finished):
    trained = load_trained(finished)
    again = trained_plan(
        instantiate(trained.config.method, _convert_="all"),
        trained.extractor,
        finished / CATEGORY,
        "cpu",
    )
    assert torch.equal(again.scorer.banks["target"].rows, trained.scorer.banks["target"].rows)
