"""`prepare` on Eyecandies: conversion to MVTec 3D-AD's layout."""

import json

import numpy as np
import pytest
import tifffile
from box_scene import FOCAL, SIZE, box_points, dent_in, rgb_of, write_eyecandies

from fsad.data.camera import back_project
from fsad.data.eyecandies import FOCAL as CAMERA
from fsad.data.mvtec3d import MVTec3D
from fsad.data.prepare.copies import prepare


@pytest.fixture
def candies(tmp_path):
    return write_eyecandies(tmp_path / "candies")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "copy"


def test_eyecandies_becomes_mvtec3d_with_back_projected_points(candies, output):
    report = prepare(candies, output)
    assert (report.written, report.failed) == (5, {})
    reader = MVTec3D(output)
    assert [s.defect for s in reader.samples("BoxCandy", "test")] == ["bumps", "good"]
    assert len(reader.samples("BoxCandy", "validation")) == 1
    sample = reader.samples("BoxCandy", "train")[1]
    whole, box = box_points(1, height=0.15, depth=3.0)
    np.testing.assert_array_equal(reader.read_part(sample), box)
    xyz = tifffile.imread(sample.files["depth"])
    np.testing.assert_allclose(xyz, np.where(box[..., None], whole, 0), atol=1e-4)
    np.testing.assert_array_equal(reader.read(sample, "rgb"), rgb_of(box, 4))
    assert json.loads((output / "fsad_prepared.json").read_text())["parameters"]["light"] == 4


def test_eyecandies_masks_and_light_are_kept(candies, output):
    prepare(candies, output, light=5)
    reader = MVTec3D(output)
    bumps, good = reader.samples("BoxCandy", "test")
    _, box = box_points(1, height=0.15, depth=3.0)
    np.testing.assert_array_equal(reader.read_mask(bumps), dent_in(box))
    assert not reader.read_mask(good).any()
    np.testing.assert_array_equal(reader.read(bumps, "rgb"), rgb_of(box, 5))
    assert not reader.samples("BoxCandy", "train")[0].masks


def test_back_projection_inverts_the_projection():
    whole, _ = box_points(2)
    np.testing.assert_allclose(back_project(whole[..., 2], FOCAL / SIZE), whole, atol=1e-6)


def test_eyecandies_focal_length_is_that_of_a_50_mm_lens():
    focal = CAMERA * 512
    assert focal == pytest.approx(711.11, abs=0.01)
