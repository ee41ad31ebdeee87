"""What single kinds promise: spectra, sizes, occlusion, scenes of their own."""

import numpy as np
import pytest

from fsad.data.synthetic.defects import DEFECTS
from fsad.data.synthetic.parts import PARTS
from fsad.data.synthetic.write import Recipe
from fsad.pretrain.augment import developed, flipped, pasted
from fsad.pretrain.colour import ramp
from fsad.pretrain.fields import Field
from fsad.pretrain.grid import power_law
from fsad.pretrain.leaves import dead_leaves
from fsad.pretrain.noise import fractal_noise
from fsad.pretrain.parts import SCENES, scene, scene_chance
from fsad.pretrain.shading import as_depth, photograph
from fsad.runtime.randomness import generator


@pytest.mark.parametrize("size", [96, 97])
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("stretch", [1.0, 6.0])
def test_fractal_noise_has_the_spectrum_it_promises(size, slope, stretch):
    angle = 0.6
    field = fractal_noise(generator(0, size, "slope"), size, slope, stretch, angle)
    power = np.abs(np.fft.rfft2(field.astype(np.float64))) ** 2
    down = np.fft.fftfreq(size, 1 / size)[:, None]
    right = np.fft.rfftfreq(size, 1 / size)[None]
    along = np.cos(angle) * right + np.sin(angle) * down
    across = np.cos(angle) * down - np.sin(angle) * right
    f = np.hypot(stretch * along, across)
    # One half-plane without its edges: there each value is independent of all others.
    inner = (right > 0) & (right < size / 2) & (np.abs(down) < size / 2)
    log_f, log_power = np.log(f[inner]), np.log(power[inner])
    fitted = np.polyfit(log_f, log_power, 1)[0]
    # The power of a complex Gaussian is exponential; its logarithm has deviation pi / sqrt(6).
    error = np.pi / np.sqrt(6) / np.sqrt(((log_f - log_f.mean()) ** 2).sum())
    assert abs(fitted + slope) < 5 * error
    assert error < 0.04  # sharp enough to tell the slopes from each other


def test_fractal_noise_is_standardised():
    field = fractal_noise(generator(0, "std"), 64, 2).astype(np.float64)
    assert field.mean() == pytest.approx(0, abs=1e-6)
    assert field.std() == pytest.approx(1, abs=1e-5)


def test_radii_follow_the_cube_law():
    low, high, count = 0.05, 0.8, 20_000
    radii = np.sort(power_law(generator(0, "radii"), low, high, count).astype(np.float64))
    share = (low**-2 - radii**-2) / (low**-2 - high**-2)  # the integral of r**-3
    # Kolmogorov's statistic exceeds 2.5 / sqrt(n) once in 130,000 draws.
    assert np.abs(share - (np.arange(count) + 0.5) / count).max() < 2.5 / np.sqrt(count)
    assert radii[0] >= np.float32(low) * (1 - 1e-6)
    assert radii[-1] <= np.float32(high) * (1 + 1e-6)


def test_dead_leaves_are_drawn_from_their_generator_alone():
    drawn = []
    for start in (0, 1):
        np.random.seed(start)
        drawn.append(dead_leaves(generator(5), 64))
    assert np.array_equal(*drawn)
    assert not np.array_equal(drawn[0], dead_leaves(generator(6), 64))


def test_a_colour_scale_gives_equal_values_equal_colours():
    value = np.repeat(np.linspace(-4, 4, 16, dtype=np.float32)[None], 16, axis=0)
    image = ramp(generator(0), value)
    assert np.array_equal(image, np.broadcast_to(image[:1], image.shape))
    assert len(np.unique(image[0], axis=0)) > 2


def test_a_flat_plain_surface_is_evenly_lit():
    """A flat field's shading is one number, so what is left is the albedo."""
    flat = Field(np.zeros((32, 32), np.float32), np.ones((32, 32), np.bool_))
    images = [photograph(generator(0, number), flat) for number in range(20)]
    even = [image for image in images if np.ptp(image, axis=(0, 1)).max() == 0]
    assert 0 < len(even) < len(images)  # some materials are plain, some have a texture


def test_depth_grows_away_from_the_camera_or_towards_it():
    v = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    hill = Field(np.exp(-8 * (v * v + v.T * v.T)), np.ones((64, 64), np.bool_))
    images = [as_depth(generator(0, number), hill)[..., 0] for number in range(100)]
    near = sum(image[32, 32] < image[:3, :3].mean() for image in images)
    # Four in five are seen from above; five standard deviations of 100 draws are 20.
    assert 60 <= near < 100


def test_pasting_shows_the_ground_or_the_figure():
    black, white = np.zeros((64, 64, 3), np.float32), np.ones((64, 64, 3), np.float32)
    shares = [pasted(generator(0, number), black, white).mean() for number in range(20)]
    assert all(0 <= share <= 1 for share in shares)
    assert min(shares) < 0.5 < max(shares)
    ground = pasted(generator(0, 0), white, white)
    assert ground.max() <= 1 + 1e-6  # a shadow takes light and adds none


def test_flips_are_all_eight_and_move_pixels_only():
    image = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    seen = {flipped(generator(0, number), image).tobytes() for number in range(200)}
    wanted = [np.rot90(image, turns) for turns in range(4)]
    wanted += [turned[:, ::-1] for turned in wanted]
    assert seen == {turned.tobytes() for turned in wanted}


def test_a_photograph_takes_at_most_256_values_per_channel():
    image = generator(0).random((64, 64, 3), dtype=np.float32)
    for number in range(10):
        photo = developed(generator(1, number), image)
        assert all(len(np.unique(photo[..., channel])) <= 256 for channel in range(3))


def state(rng: np.random.Generator) -> int:
    return rng.bit_generator.state["state"]["state"]


def test_scenes_are_never_drawn_from_the_data_sets_chance():
    recipes = [
        Recipe(64, 40, 10, 40, 40, tuple(PARTS), DEFECTS, seed) for seed in (0, 1, 7, 2**32 - 1)
    ]
    taken = {state(draw._rng(stream)) for recipe in recipes for draw in recipe for stream in (0, 1)}
    own = {state(scene_chance(seed, n)) for seed in (0, 1, 7, 2**32 - 1) for n in range(SCENES)}
    assert len(own) == 4 * SCENES
    assert not own & taken


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1])
def test_the_fourth_number_of_a_scenes_key_is_one_that_no_data_set_has(seed):
    """Four numbers of 32 bits are mapped one to one, so differing in one of them is enough."""
    key = scene_chance(seed, 3).bit_generator.seed_seq.entropy
    assert len(key) == 4
    assert all(0 <= number < 2**32 for number in key)
    for data_seed in (0, 2**32 - 1, 2**32, 2**64 - 1):
        draw = next(iter(Recipe(64, 1, 0, 1, 0, ("bolt",), (), data_seed)))
        theirs = [draw._rng(stream).bit_generator.seed_seq.entropy for stream in (0, 1)]
        for entropy in theirs:
            first, name, stream = entropy
            words = [first % 2**32, *([first >> 32] if first >> 32 else []), name, stream, 0]
            assert words[3] != key[3]


def test_a_scene_is_rendered_once_and_cannot_be_changed():
    rgb, field = scene(0, 0)
    assert scene(0, 0)[0] is rgb
    for array in (rgb, field.height, field.part):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0
    assert field.part.any()
    assert not field.part.all()
    assert float(field.height.max()) > 0
