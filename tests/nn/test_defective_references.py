"""What is kept of defective references, and which cells of a grid are anomalous."""

import pytest
import torch

from fsad.errors import BankError, ShapeError
from fsad.nn.references import DefectiveReferences, anomalous_cells


@pytest.mark.parametrize("seed", range(5))
def test_a_defective_pixel_makes_the_cell_it_lies_in_anomalous_and_no_other(seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(3, 12, 20, generator=generator) < 0.02
    cells = anomalous_cells(masks, (3, 5))
    expected = torch.zeros(3, 3, 5, dtype=torch.bool)
    for image, row, column in masks.nonzero().tolist():
        expected[image, row // 4, column // 4] = True
    assert torch.equal(cells, expected)


def test_the_anomalous_patches_are_kept_with_their_places():
    features = torch.arange(2 * 3 * 4, dtype=torch.float32).view(2, 1, 3, 4)
    anomalous = torch.zeros(2, 3, 4, dtype=torch.bool)
    anomalous[0, 1, 2] = anomalous[1, 0, 3] = anomalous[1, 2, 0] = True
    references = DefectiveReferences()
    assert not references.is_filled
    references.fill(features, anomalous)
    assert references.features[:, 0].tolist() == [6, 12 + 3, 12 + 8]
    assert references.places.tolist() == [6, 3, 8]
    assert references.images.tolist() == [0, 1, 1]


def test_stored_references_are_read_back_whatever_their_number():
    one, other = DefectiveReferences(), DefectiveReferences()
    one.fill(torch.randn(2, 5, 3, 4), torch.ones(2, 3, 4, dtype=torch.bool))
    other.load_state_dict(one.state_dict())
    for name in ("features", "places", "images"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_references_without_an_anomalous_patch_are_refused():
    with pytest.raises(BankError, match="references: expected anomalous patches, got none"):
        DefectiveReferences().fill(torch.zeros(1, 5, 3, 4), torch.zeros(1, 3, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"anomalous: expected \(n, h, w\) with n=1, h=3, w=4"):
        DefectiveReferences().fill(torch.zeros(1, 5, 3, 4), torch.zeros(1, 4, 3, dtype=torch.bool))


def test_cells_that_do_not_divide_the_masks_are_refused():
    message = "masks: expected a height and width that 3 x 4 cells divide, got 12 x 15"
    with pytest.raises(ShapeError, match=message):
        anomalous_cells(torch.zeros(1, 12, 15, dtype=torch.bool), (3, 4))
