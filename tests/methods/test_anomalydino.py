"""AnomalyDINO: turned shots, cosine distance, worst patches."""

import pytest
import torch
from small_backbone import small_backbone
from torch.testing import assert_close

from fsad.data.batch import ImageBatch
from fsad.engine.stage_module import TestLoop
from fsad.errors import ConfigError
from fsad.functional.scoring import top_mean
from fsad.methods.anomalydino import AnomalyDino, AnomalyDinoScorer
from fsad.nn.adapter import CachedExtractor


def images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def scored(rotations, queries, shots, **changes):
    """Scores of queries by a module whose bank holds all views of the shots."""
    settings = {"top_share": 0.1, "threshold": None} | changes
    module = AnomalyDinoScorer(CachedExtractor(small_backbone()), rotations=rotations, **settings)
    views = [module.augment(shots, "target", i) for i in range(module.augmentations("target"))]
    maps = torch.cat([module.encode(view, "target") for view in views])
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
    module.banks["target"].fill((rows - rows.mean()) / rows.std(), rows.mean(), rows.std())
    loop = TestLoop(module)
    loop.on_test_start()
    loop.test_step(ImageBatch(queries, torch.arange(len(queries))))
    return module, rows, loop.scores.gathered(len(queries), torch.device("cpu"))


def test_the_score_is_the_least_cosine_distance():
    queries, shots = images(3), images(2, seed=1)
    module, rows, found = scored(1, queries, shots)
    with torch.no_grad():
        features = module.encode(queries, "target").permute(0, 2, 3, 1).flatten(0, 2)
    cosine = 1 - (features.double() @ rows.double().T).amax(dim=1)
    assert_close(found["target"].flatten().double(), cosine, rtol=1e-3, atol=1e-5)


def test_more_turns_of_the_shots_never_raise_a_score():
    queries, shots = images(3), images(2, seed=1)
    once, often = (scored(turns, queries, shots)[2]["target"] for turns in (1, 4))
    assert bool((often <= once + 1e-5).all())
    assert float((once - often).max()) > 1e-4


def test_a_shot_turned_by_a_quarter_is_known():
    shots = images(1, seed=1)
    _, _, found = scored(4, torch.rot90(shots, 1, (2, 3)), shots)
    assert float(found["target"].max()) < 1e-4


def test_an_image_scores_the_mean_of_its_worst_patches():
    patches = torch.arange(200.0).view(1, 10, 20)
    assert float(top_mean(patches, 0.01)[0]) == pytest.approx((199 + 198) / 2)
    assert float(top_mean(patches, 1e-6)[0]) == 199
    assert float(top_mean(patches, 1.0)[0]) == pytest.approx(99.5)


def test_what_the_mask_leaves_out_scores_0():
    queries, shots = images(2), images(2, seed=1)
    _, _, found = scored(1, queries, shots, threshold=1e6)
    assert not found["target"].any()


@torch.no_grad()
def test_the_mask_holds_no_patch_beside_the_image():
    module, _, _ = scored(1, images(2), images(2, seed=1), threshold=0.0)
    module.extractor.extractor.skips = True
    queries = images(2)
    queries[..., 16:] = -1.0
    patches = module.score(queries)["target"].patches
    half = patches.shape[2] // 2
    assert not patches[..., half:].any()
    assert patches[..., :half].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotations": 0}, r"method\.rotations: expected a whole number of at least 1"),
        ({"top_share": 0.0}, r"method\.top_share: expected"),
        ({"threshold": -1.0}, r"method\.threshold: expected"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AnomalyDino(**changes)
