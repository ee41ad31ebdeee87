"""The generated images: exact masks, true geometry, no statistic that gives good and bad away."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from fsad.data.synthetic.defects import DEFECTS, DEPTH_DEFECTS, THRESHOLD, no_defect
from fsad.data.synthetic.parts import PARTS
from fsad.data.synthetic.render import render_rgb, render_xyz
from fsad.data.synthetic.scene import DISTANCE, FIELD, MM, hidden_by
from fsad.data.synthetic.write import Draw


def draw(category, kind, index, size=64):
    sample = Draw(size, 7, category, "test", kind, index)
    scene = sample.scene()
    return scene, sample.defect(scene)


# --- masks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("category", PARTS)
@pytest.mark.parametrize("kind", DEPTH_DEFECTS)
def test_mask_is_exactly_where_good_and_damaged_height_differ(category, kind):
    for index in range(3):
        scene, defect = draw(category, kind, index)
        good = render_xyz(scene, no_defect(64))
        damaged = render_xyz(scene, defect)
        differs = (good != damaged).any(axis=-1)
        np.testing.assert_array_equal(differs, defect.mask & scene.valid)
        moved = np.abs(good[..., 2] - damaged[..., 2])[differs]
        assert moved.size > 0
        assert moved.min() > THRESHOLD - 1e-7  # float32 metres at 0.4 resolve 3e-8


@pytest.mark.parametrize("category", PARTS)
def test_stain_leaves_depth_byte_identical_and_colours_only_its_mask(category):
    for index in range(3):
        scene, defect = draw(category, "stain", index)
        good = no_defect(64)
        assert render_xyz(scene, defect).tobytes() == render_xyz(scene, good).tobytes()
        differs = (render_rgb(scene, defect) != render_rgb(scene, good)).any(axis=-1)
        assert not (differs & ~defect.mask).any()
        assert differs[defect.mask].mean() > 0.9  # in deep shadow, two colours may look the same


@pytest.mark.parametrize("category", PARTS)
@pytest.mark.parametrize("kind", DEPTH_DEFECTS)
def test_depth_defect_shows_in_rgb_through_shading(category, kind):
    scene, defect = draw(category, kind, 0)
    good, damaged = (render_rgb(scene, d).astype(float) for d in (no_defect(64), defect))
    change = np.abs(good - damaged).mean(axis=-1)
    assert change[defect.mask].mean() > 10 * change[~defect.mask].mean()
    assert change[defect.mask].mean() > 3


@pytest.mark.parametrize("category", PARTS)
@pytest.mark.parametrize("kind", DEFECTS)
def test_defect_lies_on_the_part_and_has_the_documented_size(category, kind):
    for index in range(5):
        scene, defect = draw(category, kind, index, size=128)
        part = scene.height > 0.3 * MM
        share = (defect.mask & part).sum() / part.sum()
        assert 0.002 < share < 0.12
        assert (defect.mask & ~part).sum() < 0.05 * defect.mask.sum()
        # A change fades out at the part's rim, so the largest one may miss its amplitude a little.
        largest = np.abs(defect.change).max() / MM
        assert largest == 0 if kind == "stain" else 1 < largest < 6.001
        assert ((scene.height + defect.change) >= -1e-12)[part].all()  # never below the table


@pytest.mark.parametrize("kind", DEFECTS)
def test_defect_is_never_lost_between_the_pixels_of_a_small_image(kind):
    for category in PARTS:
        assert all(draw(category, kind, index, size=32)[1].mask.any() for index in range(10))


def test_amplitude_and_place_of_defects_vary():
    drawn = [draw("tile", "bump", index) for index in range(12)]
    amplitudes = [defect.change.max() / MM for _, defect in drawn]
    centres = [np.argwhere(defect.mask).mean(axis=0) for _, defect in drawn]
    assert np.ptp(amplitudes) > 1
    assert (np.ptp(centres, axis=0) > 10).all()


# --- geometry --------------------------------------------------------------------------------


@pytest.mark.parametrize("category", PARTS)
def test_points_lie_on_the_rays_of_one_pinhole_camera(category):
    scene, defect = draw(category, "dent", 0)
    xyz = render_xyz(scene, defect).astype(np.float64)
    seen = xyz[..., 2] > 0
    centred = (np.arange(64) - 31.5) * FIELD / 64 / DISTANCE
    x, y = np.meshgrid(centred, centred)
    points = xyz[seen]
    np.testing.assert_allclose(points[:, 0] / points[:, 2], x[seen], atol=1e-7)
    np.testing.assert_allclose(points[:, 1] / points[:, 2], y[seen], atol=1e-7)
    assert (xyz[~seen] == 0).all()
    assert 0.37 < points[:, 2].min() < points[:, 2].max() < 0.42


@pytest.mark.parametrize("category", PARTS)
def test_part_is_gentle_enough_for_the_camera_to_see_all_of_it(category):
    axis = np.linspace(-45, 45, 901)
    u, v = np.meshgrid(axis, axis)
    height = PARTS[category].height(u, v)
    down, right = np.gradient(height, axis[1] - axis[0])
    assert np.hypot(down, right).max() < 4
    assert height.min() > -1e-9
    assert 4 < height.max() < 20
    assert (height[np.hypot(u, v) > 44] == 0).all()


@pytest.mark.parametrize("category", PARTS)
def test_whole_part_is_in_the_image(category):
    for index in range(20):
        height = draw(category, "good", index)[0].height
        border = np.concatenate([height[0], height[-1], height[:, 0], height[:, -1]])
        assert border.max() < 0.2 * MM


def turned_by(height, order):
    """Rotation of a shape with ``order``-fold symmetry, degrees, from its gradients alone.

    Differences of neighbours would favour the axes and miss by up to 1.7 degrees; Gaussian
    derivatives do not.
    """
    down, right = (ndimage.gaussian_filter(height, 2, order=axes) for axes in ((1, 0), (0, 1)))
    moment = np.sum(np.hypot(down, right) ** 2 * np.exp(1j * order * np.arctan2(down, right)))
    return np.rad2deg(np.angle(moment)) / order


def test_samples_differ_in_position():
    for category in PARTS:
        heights = [draw(category, "good", index)[0].height for index in range(20)]
        centres = np.array([np.argwhere(height > MM).mean(axis=0) for height in heights])
        spread = centres.std(axis=0) * FIELD / 64 / MM
        assert (spread > 3).all()  # uniform within 8 mm to either side: 4.6


def test_tiles_turn_within_fifteen_degrees_and_bolts_turn_freely():
    tiles = [turned_by(draw("tile", "good", index, 128)[0].height, 4) for index in range(30)]
    assert 5 < np.std(tiles) < 12  # uniform: 8.7
    assert np.abs(tiles).max() < 15.2  # perspective shears a shifted plate a little
    bolts = [turned_by(draw("bolt", "good", index, 128)[0].height, 6) for index in range(30)]
    # Mean of 30 random unit vectors: longer than 0.45 with probability exp(-30 * 0.45**2) = 0.002.
    assert np.abs(np.exp(6j * np.deg2rad(bolts)).mean()) < 0.45


def test_shadow_of_a_wall_has_the_length_its_height_and_the_lamp_give():
    wall = np.zeros((40, 40))
    wall[:, 20] = 5.0
    light = np.array([-1.0, 0.0, -1.0]) / np.sqrt(2)  # from the left, 45 degrees high
    hidden = hidden_by(wall, light, pitch=1.0)
    expected = np.zeros(40)
    expected[21:25] = [4, 3, 2, 1]
    np.testing.assert_allclose(hidden, np.tile(expected, (40, 1)), atol=1e-12)


# --- no trivial statistic tells good from bad ---------------------------------------------------


def test_a_defect_takes_no_point_from_the_depth_sensor():
    for category in PARTS:
        for kind in DEFECTS:
            scene, defect = draw(category, kind, 0)
            np.testing.assert_array_equal(render_xyz(scene, defect)[..., 2] > 0, scene.valid)
            assert 0.95 < scene.valid.mean() < 1


@pytest.mark.parametrize("category", PARTS)
def test_no_trivial_statistic_separates_good_from_defective(category):
    def statistics(kind, index):
        scene, defect = draw(category, kind, index)
        xyz, rgb = render_xyz(scene, defect), render_rgb(scene, defect)
        seen = xyz[..., 2] > 0
        return xyz[seen][:, 2].mean(), seen.mean(), rgb.mean()

    each = 20
    n = each * len(DEFECTS)
    good = [statistics("good", index) for index in range(n)]
    bad = [statistics(kind, index) for kind in DEFECTS for index in range(each)]
    label = [0] * n + [1] * n
    # Without separation the AUROC of n against n draws has mean 1/2 and this standard error
    # (Mann-Whitney). Beyond three of them, chance alone comes once in 370; seeds are fixed.
    error = np.sqrt((2 * n + 1) / (12 * n * n))
    for name, values in zip(
        ("mean depth", "valid share", "brightness"), np.transpose(good + bad), strict=True
    ):
        assert abs(roc_auc_score(label, values) - 0.5) < 3 * error, name
