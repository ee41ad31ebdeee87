"""Nothing of the target but the shots is read before the test stage of a whole run."""

import json

from fsad.data.mvtec3d import MVTec3D
from fsad.engine.held_out_shots import set_threshold
from fsad.engine.stage_module import TestLoop


def test_before_the_test_stage_only_source_rgb_and_the_shots_depth_are_read(
    run, tmp_path, monkeypatch
):
    opened = {"before": [], "in test": [], "for the threshold": []}
    stage = ["before"]

    def watch(name):
        original = getattr(MVTec3D, name)

        def reading(self, sample, *modality):
            kind = modality[0] if modality else name.removeprefix("read_")
            opened[stage[0]].append((kind, sample))
            return original(self, sample, *modality)

        monkeypatch.setattr(MVTec3D, name, reading)

    for name in ("read", "read_mask", "read_part"):
        watch(name)
    start = TestLoop.on_test_start

    def test_starts(self):
        if stage[0] == "before":
            stage[0] = "in test"
        return start(self)

    def threshold_starts(*arguments):
        stage[0] = "for the threshold"
        return set_threshold(*arguments)

    monkeypatch.setattr(TestLoop, "on_test_start", test_starts)
    monkeypatch.setattr("fsad.engine.category_run.set_threshold", threshold_starts)
    run(tmp_path, "maps=false")

    shots = json.loads((tmp_path / "result.json").read_text())["categories"]["tile"]["shots"]
    assert len(shots) == 2
    assert {sample.split for _, sample in opened["before"]} == {"train"}
    read = {
        kind: {sample.files["depth"].name for seen, sample in opened["before"] if seen == kind}
        for kind in ("depth", "mask", "part")
    }
    assert read["depth"] == {shot.rpartition("/")[2] for shot in shots}
    assert read["part"] <= read["depth"]
    assert not read["mask"]
    assert {sample.split for _, sample in opened["in test"]} == {"test"}
    assert {kind for kind, _ in opened["in test"]} == {"depth", "mask", "part"}
    held_out = {(kind, sample.files["depth"].name) for kind, sample in opened["for the threshold"]}
    assert {name for kind, name in held_out if kind == "depth"} == read["depth"]
    assert {kind for kind, _ in held_out} <= {"depth", "part"}
    assert {sample.split for _, sample in opened["for the threshold"]} == {"train"}
