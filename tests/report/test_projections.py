"""PCA against NumPy's singular value decomposition; t-SNE is the same twice."""

import numpy as np
import pytest

from fsad.report.projections import Pca, tsne


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(40, 8)) * np.arange(1, 9) + 3).astype(np.float32)


def test_pca_is_the_singular_value_decomposition_up_to_sign(rows):
    plane = Pca.fit(rows)
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs((plane.axes * axes[:2]).sum(axis=1)), 1)
    np.testing.assert_allclose(plane.explained, (values**2 / (values**2).sum())[:2])
    np.testing.assert_allclose(np.abs(plane.project(rows)), np.abs(centred @ axes[:2].T))


def test_the_largest_entry_of_an_axis_is_positive_whatever_the_sign_of_the_rows(rows):
    for plane in (Pca.fit(rows), Pca.fit(-rows)):
        assert (plane.axes[[0, 1], np.abs(plane.axes).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_tsne_is_the_same_twice_and_leaves_the_global_generator_alone(rows, metric):
    before = np.random.get_state()[1].copy()
    first = tsne(rows, metric)
    assert np.array_equal(np.random.get_state()[1], before)
    assert np.array_equal(first, tsne(rows, metric))
    assert first.shape == (40, 2)


def test_tsne_keeps_clouds_that_lie_far_apart_apart(rows):
    places = tsne(np.concatenate([rows, rows + 200]), "euclidean")
    first, second = places[:40], places[40:]
    width = max(np.ptp(cloud, axis=0).max() for cloud in (first, second))
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > width
