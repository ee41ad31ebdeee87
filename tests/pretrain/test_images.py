import pickle
import random

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader

from fsad.errors import ConfigError
from fsad.pretrain.images import DEPTH, PASTED, SHARES, GeneratedImages, plan

SIZE = 48
DRAWS = 2000


@pytest.fixture(scope="module")
def images():
    return GeneratedImages(SIZE, 120, seed=3)


@pytest.fixture(scope="module")
def first_of_each_kind():
    """Return an index of each kind, plain, and one of a pasted image."""
    plans = [plan(3, index) for index in range(120)]
    plain = [next(i for i, p in enumerate(plans) if p == type(p)(kind, None)) for kind in SHARES]
    return [*plain, next(i for i, p in enumerate(plans) if p.figure)]


def test_the_same_seed_and_index_give_the_same_bytes(images, first_of_each_kind):
    again = GeneratedImages(SIZE, 10**6, seed=3)
    for index in reversed(first_of_each_kind):  # another order, another count
        assert torch.equal(images[index], again[index])


def test_another_seed_or_index_gives_another_image(images, first_of_each_kind):
    other = GeneratedImages(SIZE, 120, seed=4)
    drawn = [images[index] for index in first_of_each_kind]
    drawn += [other[index] for index in first_of_each_kind]
    assert len({image.numpy().tobytes() for image in drawn}) == len(drawn)


@pytest.mark.parametrize("size", [32, 33, 64])
def test_every_image_is_float32_within_0_and_1(size, first_of_each_kind):
    images = GeneratedImages(size, 120, seed=3)
    for index in {*range(40), *first_of_each_kind}:
        image = images[index]
        assert image.shape == (3, size, size)
        assert image.dtype == torch.float32
        assert image.is_contiguous()
        assert bool(image.isfinite().all())
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1


def test_depth_images_have_three_equal_channels_scaled_as_the_depth_images_of_a_data_set(images):
    chosen = [index for index in range(120) if plan(3, index).kind in DEPTH]
    assert {plan(3, index).kind for index in chosen} == set(DEPTH)
    for index in chosen:
        image = images[index]
        assert torch.equal(image[0], image[1])
        assert torch.equal(image[0], image[2])
        seen = image[image != 0]
        extremes = torch.stack([seen.min(), seen.max()])
        assert_close(extremes, torch.tensor([0.1, 0.9]), rtol=0, atol=1e-6)


def test_most_photographs_have_colour(images):
    chosen = [index for index in range(60) if plan(3, index).kind not in DEPTH]
    coloured = sum(not torch.equal(images[index][0], images[index][2]) for index in chosen)
    assert coloured > len(chosen) / 2


def within_binomial_bound(count: int, draws: int, share: float) -> bool:
    """Five standard deviations: with the seed fixed this is no gamble, with another hardly one."""
    return abs(count - draws * share) <= 5 * (draws * share * (1 - share)) ** 0.5


def test_every_kind_has_its_share():
    plans = [plan(0, index) for index in range(DRAWS)]
    assert sum(SHARES.values()) == pytest.approx(1, abs=1e-12)
    for kind, share in SHARES.items():
        assert within_binomial_bound(sum(p.kind == kind for p in plans), DRAWS, share)

    photographs = [p for p in plans if p.kind not in DEPTH]
    pasted = [p.figure for p in photographs if p.figure]
    assert within_binomial_bound(len(pasted), len(photographs), PASTED)
    whole = sum(share for kind, share in SHARES.items() if kind not in DEPTH)
    for kind, share in SHARES.items():
        if kind not in DEPTH:
            assert within_binomial_bound(pasted.count(kind), len(pasted), share / whole)


def test_depth_images_are_neither_ground_nor_figure():
    plans = [plan(0, index) for index in range(DRAWS)]
    assert not any(p.figure for p in plans if p.kind in DEPTH)
    assert not any(p.figure in DEPTH for p in plans)


def test_the_table_in_the_documentation_states_the_shares():
    rows = [line.split() for line in (GeneratedImages.__doc__ or "").splitlines() if "%" in line]
    assert {row[0]: float(row[1]) for row in rows} == {
        kind: pytest.approx(100 * share) for kind, share in SHARES.items()
    }


def test_global_generators_are_neither_read_nor_moved(images, first_of_each_kind):
    drawn = []
    for start in (0, 1):
        random.seed(start)
        np.random.seed(start)
        torch.manual_seed(start)
        before = random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state()
        drawn.append(torch.stack([images[index] for index in first_of_each_kind]))
        assert random.getstate() == before[0]
        assert pickle.dumps(np.random.get_state()) == before[1]
        assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.equal(*drawn)


def test_workers_draw_what_the_main_process_draws():
    images = GeneratedImages(32, 8, seed=1)
    loader = DataLoader(images, batch_size=4, num_workers=2, multiprocessing_context="spawn")
    assert torch.equal(torch.cat(list(loader)), torch.stack([images[i] for i in range(8)]))


def test_iteration_ends_after_count_images():
    images = GeneratedImages(32, 3, seed=1)
    assert len(images) == 3
    assert len(list(images)) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"^index: expected 0 to 2, got {index}$"):
            images[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((31, 1, 0), "size: expected a whole number of at least 32, got 31"),
        ((32, 0, 0), "count: expected a whole number of at least 1, got 0"),
        ((32, 1, -1), "seed: expected a whole number of at least 0, got -1"),
        ((32, 1, 2**32), "seed: expected a whole number below 2\\*\\*32, got 4294967296"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        GeneratedImages(*arguments)
