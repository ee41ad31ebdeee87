"""Images smaller than their maps: what is beside them is not measured."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from fsad.errors import ShapeError
from fsad.metrics.anomaly import Evaluation

AREAS = torch.tensor([[20, 32], [32, 16], [32, 32], [20, 32], [8, 8], [32, 16]])
N = len(AREAS)


def images():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % 2 == 0
    masks = torch.zeros(N, 32, 32, dtype=torch.bool)
    masks[labels, 3:7, 2:6] = True
    maps = torch.randn(N, 32, 32, generator=generator) + masks
    return labels, masks, torch.rand(N, generator=generator), maps


def inside():
    marks = torch.zeros(N, 32, 32, dtype=torch.bool)
    for mark, (height, width) in zip(marks, AREAS, strict=True):
        mark[:height, :width] = True
    return marks


@pytest.fixture(params=[False, True], ids=["histogram", "exact"])
def measure(request):
    def run(labels, masks, scores, maps, batch=N, margin=0):
        evaluation = Evaluation(["fused"], margin, exact=request.param)
        for rows in torch.arange(N).split(batch):
            scored = {"fused": (scores[rows], maps[rows])}
            whole = torch.ones_like(masks[rows])
            evaluation.update(labels[rows], masks[rows], whole, scored, areas=AREAS[rows])
        return evaluation.compute()["fused"]

    return run


def test_what_is_beside_an_image_changes_no_metric(measure):
    labels, masks, scores, maps = images()
    beside = ~inside()
    spoilt = measure(labels, masks | beside, scores, torch.where(beside, 1e3, maps))
    assert spoilt == measure(labels, masks, scores, maps)


def test_pixels_are_those_of_the_images_whatever_the_batching(measure):
    labels, masks, scores, maps = images()
    truth = roc_auc_score(masks[inside()], maps[inside()])
    found = measure(labels, masks, scores, maps)
    assert found["pixel_auroc"] == pytest.approx(truth, abs=1e-5)
    assert measure(labels, masks, scores, maps, batch=2) == found
    assert found["image_auroc"] == pytest.approx(roc_auc_score(labels, scores))


def test_areas_of_other_images_are_refused():
    labels, masks, scores, maps = images()
    with pytest.raises(ShapeError, match=r"areas: expected \(n, two\) with n=6, two=2, got \(1, 2"):
        Evaluation(["fused"]).update(
            labels, masks, masks, {"fused": (scores, maps)}, areas=AREAS[:1]
        )
