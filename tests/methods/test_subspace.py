"""SubspaceAD: residuals outside the shots' subspace, in whole runs and by hand."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from small_backbone import small_backbone
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.functional.rotation import rotate
from fsad.methods.subspace import Subspace


def images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def rows_of(extractor, seen):
    return extractor(seen, "target").permute(0, 2, 3, 1).flatten(0, 2)


@torch.no_grad()
def filled(method, shots):
    """A method's scorer with its bank filled by hand."""
    plan = method.plan(small_backbone())
    scorer = plan.scorer
    stream = scorer.stream("target", 1.0, None, None)
    for view in range(scorer.augmentations("target")):
        features = scorer.encode(scorer.augment(shots, "target", view), "target")
        stream.add(features.permute(0, 2, 3, 1).flatten(0, 2))
    stream.fill(scorer.banks["target"])
    scorer.prepare()
    return scorer


@torch.no_grad()
def test_the_score_is_what_scikit_learn_cannot_reconstruct():
    shots, queries = images(3), images(2, seed=1)
    scorer = filled(Subspace(rotations=2, variance=0.9), shots)
    views = torch.cat([rows_of(scorer.extractor, rotate(shots, angle)) for angle in (0, 180)])
    known = PCA(n_components=0.9, svd_solver="full").fit(views.double().numpy())
    rows = rows_of(scorer.extractor, queries).double().numpy()
    apart = rows - known.inverse_transform(known.transform(rows))
    expected = np.square(apart).sum(axis=1) / views.double().std().item() ** 2
    found = scorer.score(queries)["target"].patches
    assert_close(found.flatten().double().numpy(), expected, rtol=1e-3, atol=1e-4)


def test_an_image_scores_the_mean_of_its_worst_patches():
    scorer = filled(Subspace(top_share=0.25), images(2))
    scores = scorer.score(images(3, seed=1))["target"]
    flat = scores.patches.flatten(1)
    count = flat.shape[1] // 4
    assert_close(scores.images, flat.sort(dim=1).values[:, -count:].mean(dim=1))


def test_a_backbone_reads_its_middle_unless_it_says_what():
    asked = {}
    Subspace(layers=(0.3, 0.5)).build_extractor(224, lambda **left_open: asked.update(left_open))
    assert asked == {"features": [0.3, 0.5]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variance": 1.0}, r"method\.variance: expected a number above 0 and below 1, got 1\.0"),
        ({"variance": 2}, r"method\.variance: expected a number in \[0, 1\]"),
        ({"rotations": 0}, r"method\.rotations: expected a whole number of at least 1, got 0"),
        ({"top_share": 0.0}, r"method\.top_share: expected"),
        ({"beta": -1}, r"method\.beta: expected"),
        ({"source": "yes"}, r"method\.source: expected"),
        ({"sigma": -1}, r"method\.sigma: expected"),
        ({"layers": 0.5}, r"method\.layers: expected two fractions of the depth, the lower first"),
        ({"layers": (0.6, 0.4)}, r"method\.layers: expected two fractions"),
        ({"layers": [4, 5]}, r"method\.layers: expected a number in \[0, 1\]"),
        ({"layers": "ab"}, r"method\.layers: expected two fractions"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Subspace(**settings)
