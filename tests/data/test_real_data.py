import numpy as np
import pytest

from fsad.data.datamodule import DataModule
from fsad.data.eyecandies import Eyecandies
from fsad.data.mvtec3d import MVTec3D
from fsad.data.oddities import oddities

SPLITS = ("train", "validation", "test")


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "reader", "category"),
    [("mvtec3d", MVTec3D, "cable_gland"), ("eyecandies_raw", Eyecandies, "CandyCane")],
)
def test_every_real_sample_is_read_and_its_files_agree(real_data, folder, reader, category):
    data = reader(real_data(folder))
    assert category in data.categories()
    for split in SPLITS:
        samples = data.samples(category, split)
        assert len({sample.files["depth"] for sample in samples}) == len(samples) > 0
        for sample in samples:
            rgb, z = (data.read(sample, modality) for modality in data.modalities)
            mask = data.read_mask(sample)
            assert rgb.shape == (*z.shape, 3)
            assert mask.shape == z.shape
            assert mask.any() == sample.is_anomalous
            assert (z[np.isfinite(z)] > 0).all()
            assert oddities(data.read_stored(sample), z, data.rules) == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "reader", "category", "share"),
    [
        ("mvtec3d", MVTec3D, "cable_gland", (0.1, 0.2)),
        ("eyecandies_raw", Eyecandies, "CandyCane", (0.02, 0.1)),
    ],
)
def test_real_parts_lie_inside_the_image_and_have_one_size(
    real_data, folder, reader, category, share
):
    data = DataModule(reader, real_data(folder), category, shots=1)
    for batch in data.test_dataloader():
        assert batch.image.amin() >= 0
        assert batch.image.amax() <= 1
    for batch in data.truth_dataloader():
        border = batch.part.clone()
        border[:, 1:-1, 1:-1] = False
        assert not border.any()
        fraction = batch.part.float().mean(dim=(1, 2))
        assert (fraction > share[0]).all()
        assert (fraction < share[1]).all()
