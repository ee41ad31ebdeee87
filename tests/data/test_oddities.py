"""Files that can be read and would mislead a run, and sound ones that look like them."""

import numpy as np
import pytest
from box_scene import box_points

from fsad.data.depth_rules import DepthRules
from fsad.data.oddities import foreign_unit, oddities
from fsad.data.profile import InputProfile
from fsad.errors import DataError

SHAPE = (96, 96)
ROWS, COLUMNS = np.mgrid[:96, :96]
DISC = np.hypot(ROWS - 48, COLUMNS - 48) < 30


def scene(seed=0, unit=1.0, noise=2e-4):
    """A disc on a tilted plane, half a metre off, as points."""
    rng = np.random.default_rng(seed)
    z = 0.5 + 1e-4 * ROWS - 0.02 * DISC + rng.normal(0, noise, SHAPE)
    xyz = np.stack([(COLUMNS - 48) * z / 100, (ROWS - 48) * z / 100, z], -1)
    return (xyz * unit).astype(np.float32)


def look(array, rules=None):
    rules = rules or DepthRules()
    return oddities(array, rules.depth(array, "a"), rules)


def spoilt(where, value):
    array = scene()
    array[where] = value
    return array


def scattered(share, seed=1):
    return np.random.default_rng(seed).random(SHAPE) < share


def random_strays(share=0.04, low=0.1, high=60):
    array, where = scene(), scattered(share)
    array[where, 2] = np.random.default_rng(2).uniform(low, high, where.sum())
    return array


COLLAPSED = {
    "3 % at 65535": (spoilt(scattered(0.03), 65535), "data.invalid=[65535]"),
    "a shadow at 65535": (spoilt((ROWS > 60) & ~DISC, 65535), "data.invalid=[65535]"),
    "a shadow at -1": (spoilt((ROWS > 60) & ~DISC, -1), "data.invalid=[-1]"),
    "z alone is 0": (spoilt((scattered(0.03), 2), 0), "data.invalid=[0]"),
    "one flying pixel": (spoilt((3, 4), 9.0), "data.z_range=[0.4"),
    "one pixel in the lens": (spoilt((3, 4, 2), -70.0), "data.z_range=[0.4"),
    "4 % anywhere": (random_strays(), "data.z_range=["),
    "20 % behind": (random_strays(0.2, 5, 6.5), "data.z_range=["),
}


@pytest.mark.parametrize("name", COLLAPSED)
def test_a_range_that_leaves_nearly_all_readings_in_a_sliver_is_named_with_its_remedy(name):
    array, remedy = COLLAPSED[name]
    (oddity,) = look(array)
    assert oddity.kind == "range"
    assert "expected depths that fill their range" in oddity.problem
    assert remedy in oddity.problem


@pytest.mark.parametrize("name", COLLAPSED)
def test_the_remedy_that_is_named_mends_it(name):
    array, _ = COLLAPSED[name]
    setting, value = look(array)[0].problem.rsplit("data.", 1)[1].split("=")
    numbers = tuple(float(number) for number in value[1 : value.index("]")].split(","))
    assert look(array, DepthRules(**{setting: numbers})) == []


def test_the_value_and_its_share_are_those_of_the_file_whatever_the_unit():
    array = scene(unit=1000)
    where = scattered(0.03)
    array[where] = 65535
    oddity = look(array, DepthRules(unit="mm"))[0]
    assert (
        f"got {where.mean():.1%} of the readings at 65535 and the others from 48" in oddity.problem
    )


def flat_top(low, height, step):
    """A box whose top is one value of a coarsely quantised map."""
    z = low + height * DISC + np.random.default_rng(0).normal(0, 0.6 * step, SHAPE) * ~DISC
    return np.round(z / step) * step


SOUND = {
    "a disc on a plane": scene(),
    "without noise": scene(noise=0),
    "millimetres in 16 bits": (scene(unit=1e4)[..., 2]).astype(np.uint16),
    "a flat top of few values": flat_top(500, -20, 1.0),
    "a small part on a flat ground": np.where(np.hypot(ROWS, COLUMNS) < 20, 0.48, scene()[..., 2]),
    "heights about a plane": 20 * DISC - 10 + np.random.default_rng(0).normal(0, 0.2, SHAPE),
    "a flat map": np.full(SHAPE, 0.5),
    "a camera along -z": -scene()[..., 2],
    "a sheet with a burr": np.where((ROWS // 6 == 7) & (COLUMNS // 6 == 8), -0.006, 0)
    + (0.5 + np.random.default_rng(0).normal(0, 1e-4, SHAPE)),
    "a burr of three pixels": np.where((ROWS == 7) & (COLUMNS // 3 == 8), -0.006, 0)
    + (0.5 + np.random.default_rng(0).normal(0, 1e-4, SHAPE)),
    "heights with a burr": np.where((ROWS // 6 == 7) & (COLUMNS // 6 == 8), 6.0, 0)
    + (np.random.default_rng(0).normal(0, 0.1, SHAPE)),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_is_not_odd(name):
    assert look(SOUND[name]) == []


@pytest.mark.parametrize("seed", range(3))
def test_points_in_the_order_in_which_opencv_writes_them_are_named(seed):
    xyz, _ = box_points(seed, noise=1e-4)
    assert look(xyz) == []
    (oddity,) = look(np.ascontiguousarray(xyz[..., ::-1]))
    assert oddity.kind == "order"
    assert "got the third number growing there: z, y, x, as OpenCV writes them" in oddity.problem
    assert "Reverse the last axis: xyz[..., ::-1]" in oddity.problem


def test_points_whose_x_grows_along_the_rows_are_named_and_mirrored_ones_are_not():
    xyz = scene()
    (oddity,) = look(np.ascontiguousarray(xyz.transpose(1, 0, 2)))
    assert not oddity.misleads  # only z is looked at
    assert "expected x to grow along the columns and y along the rows, got" in oddity.problem
    assert look(np.ascontiguousarray(xyz[::-1, ::-1])) == []


@pytest.mark.parametrize("tilt", [(0.5, 0.0), (0.0, 0.5), (1.0, 0.3), (-0.4, 0.9)])
def test_the_order_is_told_on_planes_however_they_tilt(tilt):
    x, y = (COLUMNS - 47.5) / 130, (ROWS - 47.5) / 130
    z = 0.6 / (1 + tilt[0] * x + tilt[1] * y)
    xyz = np.stack([x * z, y * z, z], axis=-1).astype(np.float32)
    assert look(xyz) == []
    (oddity,) = look(np.ascontiguousarray(xyz[..., ::-1]))
    assert oddity.kind == "order"


def test_a_floor_far_behind_a_hole_is_told_of_and_misleads_nobody():
    z = scene()[..., 2]
    z[40:60, 40:60] = 3 + np.random.default_rng(0).normal(0, 1e-3, (20, 20))
    (oddity,) = look(z)
    assert (oddity.kind, oddity.misleads) == ("far", False)
    assert "and a distant surface, which flattens the relief" in oddity.problem


def test_points_without_x_and_y_have_no_order():
    xyz = scene()
    xyz[..., :2] = 0
    assert look(xyz) == []


@pytest.mark.parametrize(
    ("stored", "named", "remedy"),
    [(1000.0, None, "millimetres, say data.unit=mm"), (1.0, "mm", "metres, say data.unit=m")],
)
def test_points_that_cannot_be_in_the_unit_are_named_and_the_right_unit_mends_it(
    stored, named, remedy
):
    array = scene(unit=stored)
    (oddity,) = look(array, DepthRules(unit=named))
    assert oddity.kind == "unit"
    assert remedy in oddity.problem
    assert look(array, DepthRules(unit=remedy.split("=")[1])) == []


def test_a_unit_that_was_named_is_believed_and_heights_have_none():
    far = np.float32([30.0, 31.0])
    assert foreign_unit(far, DepthRules()) is not None
    assert foreign_unit(far, DepthRules(unit="m")) is None
    assert foreign_unit(np.float32([-30.0, 31.0]), DepthRules()) is None


def profile(array, rules):
    return InputProfile.of([array], rules)


PROFILE = InputProfile.of([scene(seed) for seed in range(3)], DepthRules())


def test_an_image_like_the_training_images_is_told_nothing():
    assert PROFILE.compare(profile(scene(7), DepthRules()), "a") == []
    assert InputProfile.from_json(PROFILE.to_json()) == PROFILE
    assert InputProfile.from_json(None) is None


def test_an_image_of_another_aspect_is_told_so():
    (note,) = PROFILE.compare(profile(scene()[:72], DepthRules()), "a.tiff")
    assert note.startswith("a.tiff: expected width : height 1 : 1 as in training, got 1.33 : 1")


def test_a_scene_of_another_size_is_told_so_and_one_that_cannot_be_the_same_is_refused():
    (note,) = PROFILE.compare(profile(scene() * np.float32(3), DepthRules()), "a.tiff")
    assert "a.tiff: expected points that reach about 0.479" in note
    assert "probably another part, or another viewpoint" in note
    with pytest.raises(DataError, match=r"a\.tiff: .* about 0\.479 .*it cannot be the same part"):
        PROFILE.compare(profile(scene(unit=40), DepthRules()), "a.tiff")
    for unit, named, option in ((1000, "millimetres", "mm"), (0.001, "metres", "m")):
        message = rf"a\.tiff: .* about 0\.479 .*: probably {named}, .*Say --unit {option}$"
        with pytest.raises(DataError, match=message):
            PROFILE.compare(profile(scene(unit=unit), DepthRules()), "a.tiff", unit_matters=True)
        (note,) = PROFILE.compare(profile(scene(unit=unit), DepthRules()), "a.tiff")
        assert "probably another unit of length; scores are not affected" in note
    assert PROFILE.compare(profile(scene(unit=1000), DepthRules(unit="mm")), "a.tiff") == []


def test_depth_alone_has_no_size():
    depth = scene()[..., 2]
    assert PROFILE.compare(profile(1000 * depth, DepthRules()), "a") == []
    assert InputProfile.of([depth], DepthRules()).extent is None
