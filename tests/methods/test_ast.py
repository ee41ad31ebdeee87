"""AST's foreground, and that nothing beside it is learnt from or scored."""

import pytest
import torch

from fsad.data.batch import ImageBatch
from fsad.errors import ConfigError
from fsad.functional.foreground import dilated
from fsad.methods.ast import Ast
from fsad.methods.ast.foreground import corner_plane, foreground
from fsad.methods.ast.modules import StudentModule, TeacherModule
from fsad.methods.ast.scorer import SPREAD, AstScorer, StudentNetwork, cells_of, new_teacher
from fsad.methods.ast.settings import Student, Teacher
from fsad.nn.adapter import CachedExtractor
from fsad.nn.unlearnt import CellExtractor

SIZE = 64
SQUARE = slice(24, 40)  # whole cells


def plane(a, b, c):
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (a + b * rows + c * columns)[None].float()


def scene():
    """A part on a slanted plane, nearer than it, with some relief."""
    torch.manual_seed(0)
    depth = plane(0.4, 0.003, -0.002)
    depth[:, SQUARE, SQUARE] -= 0.2 + 0.05 * torch.rand(1, 16, 16)
    return depth


def images_of(depth):
    return depth[:, None].expand(-1, 3, -1, -1)


def modules(threshold=0.05):
    features = CellExtractor(SIZE)
    teacher = new_teacher(features, Teacher(hidden=8), 0)
    student = StudentNetwork(64, teacher.position, Student(hidden=8, blocks=1), 0)
    scorer = AstScorer(CachedExtractor(features), teacher, student, threshold)
    made = (kind(scorer, 1e-3, 0.0).eval() for kind in (TeacherModule, StudentModule))
    return *made, scorer


def test_a_plane_goes_through_its_own_corners():
    depth = plane(0.2, 0.004, -0.001).double()
    # the corner's value stands for its square of 2 x 2 pixels: half a pixel of slope, no more
    assert (corner_plane(depth) - depth).abs().max() <= 0.004 + 0.001


@pytest.mark.parametrize("sign", [1, -1])
def test_the_foreground_is_what_leaves_the_plane_upwards_or_downwards(sign):
    depth = plane(0.4, 0.003, -0.002)
    depth[:, SQUARE, SQUARE] += sign * 0.1
    wanted = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    wanted[:, SQUARE, SQUARE] = True
    assert torch.equal(foreground(depth, 0.05), wanted)


def test_where_nothing_leaves_the_plane_and_without_a_threshold_everything_is_foreground():
    assert foreground(plane(0.4, 0.003, -0.002), 0.05).all()
    assert foreground(scene(), 0.0).all()


def test_a_grown_mask_has_the_eight_neighbours_too():
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, 2, 1] = True
    wanted = torch.zeros(1, 5, 5, dtype=torch.bool)
    wanted[0, 1:4, 0:3] = True
    assert torch.equal(dilated(mask.float()) > 0, wanted)


def test_cells_hold_the_foregrounds_relief_and_0_beside_it():
    depth = scene()
    cells = cells_of(CachedExtractor(CellExtractor(SIZE)), images_of(depth), 0.05)
    part = depth[:, SQUARE, SQUARE]
    wanted = torch.zeros(1, SIZE, SIZE)
    wanted[:, SQUARE, SQUARE] = (part - part.mean()) / SPREAD
    assert torch.allclose(torch.pixel_shuffle(cells.depth, 8)[:, 0], wanted, atol=1e-5)
    counts = torch.zeros(1, 8, 8)
    counts[:, 2:6, 2:6] = 1  # cells 3 and 4 and their neighbours
    assert torch.equal(cells.counts, counts)


def test_the_ground_changes_neither_losses_nor_scores():
    teacher, _, scorer = modules()
    here = scene()
    there = plane(0.6, -0.002, 0.001)
    there[:, SQUARE, SQUARE] = here[:, SQUARE, SQUARE]
    # the part keeps its depth and still leaves the other plane by more than the threshold
    assert foreground(there, 0.05).sum() == foreground(here, 0.05).sum() == 16**2
    here, there = images_of(here), images_of(there)
    assert torch.allclose(scorer.score(here)["target"], scorer.score(there)["target"], atol=1e-5)
    likelihood = [
        teacher.flow(cells_of(scorer.extractor, each, 0.05).depth)[0] for each in (here, there)
    ]
    assert torch.allclose(*likelihood, atol=1e-5)


def test_only_cells_that_count_are_learnt_from(monkeypatch):
    teacher, student, scorer = modules()
    monkeypatch.setattr(TeacherModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(StudentModule, "log", lambda *_, **__: None)
    images = images_of(scene())
    batch = ImageBatch(images, torch.arange(1))
    cells = cells_of(scorer.extractor, images, 0.05)
    inside = (slice(None), slice(2, 6), slice(2, 6))
    z, volume = teacher.flow(cells.depth)
    likelihood = (0.5 * z.square().sum(dim=1) - volume)[inside].sum() / 64  # of 64 cells
    assert torch.allclose(teacher.training_step(batch), likelihood / 64, atol=1e-6)  # channels
    distance = (student.student(cells.depth) - z).square().mean(dim=1)[inside].sum() / 64
    assert torch.allclose(student.training_step(batch), distance, atol=1e-6)


def test_both_stages_are_made_anew_for_another_foreground():
    extractor = CellExtractor(SIZE)
    plans = [Ast({}, {"hidden": 8}, each).plan(extractor) for each in (0.05, 0.1)]
    for one, other in zip(*(plan.stages for plan in plans), strict=True):
        assert one.depends != other.depends


def test_settings_from_before_there_was_a_foreground_are_refused():
    with pytest.raises(TypeError, match="foreground"):
        Ast({}, {}, lr=1e-3)


def test_what_a_gpu_or_onnx_cannot_do_is_not_asked_of_them():
    graph = torch.export.export(_Plane(), (scene(),)).graph
    assert not [node for node in graph.nodes if "median" in str(node.target)]


class _Plane(torch.nn.Module):
    def forward(self, depth):
        return corner_plane(depth)


def test_scores_are_0_beside_the_part_and_its_neighbours_and_not_on_it():
    *_, scorer = modules()
    scores = scorer.score(images_of(scene()))["target"]
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    inside[:, 2:6, 2:6] = True
    assert (scores[~inside] == 0).all()
    assert (scores[inside] > 0).all()


def test_an_images_score_does_not_depend_on_the_others():
    *_, student = modules()
    some = images_of(torch.cat([scene(), plane(0.4, 0.003, -0.002), scene().flip(1)]))
    alone = torch.cat([student.score(each[None])["target"] for each in some])
    assert torch.allclose(student.score(some)["target"], alone, atol=1e-5)


@pytest.mark.parametrize("value", [-0.1, 7])  # 7 mm, as published, is not of an image in [0, 1]
def test_a_threshold_that_no_image_has_is_refused(value):
    with pytest.raises(ConfigError, match=r"method\.foreground: expected a number in \[0, 1\]"):
        Ast({}, {}, foreground=value)


def test_an_images_score_does_not_depend_on_its_batch():
    *_, student = modules()
    pixels = torch.rand(5, 1, SIZE, SIZE).expand(-1, 3, -1, -1)
    with torch.no_grad():
        together = student.score(pixels)["target"]
        alone = torch.cat([student.score(image)["target"] for image in pixels.split(1)])
    assert torch.equal(together, alone)
