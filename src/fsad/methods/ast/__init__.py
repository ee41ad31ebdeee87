"""AST: a flow learns what depth is normal, a student imitates it, and fails where it is not."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fsad.engine.plan import BackboneMaker, HoldOut, Method, Plan
from fsad.engine.settings import MAPS, SCORES, Affects, affecting
from fsad.engine.stage import FitStage
from fsad.errors import check_at_least, check_fraction, check_not_negative, check_positive
from fsad.methods.ast.scorer import AstScorer, StudentNetwork, new_teacher
from fsad.methods.ast.settings import Student, Teacher
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.nn.settings import Size
from fsad.nn.unlearnt import CellExtractor

if TYPE_CHECKING:
    from fsad.engine.stage_module import StageModule


class Ast(Method):
    """The method and its settings, for depth alone. The configured backbone is not built.

    Args:
        teacher: :class:`~fsad.methods.ast.settings.Teacher`.
        student: :class:`~fsad.methods.ast.settings.Student`.
        foreground: What differs from the plane through a depth image's corners by more than this
            is the part, in the image's values and like them in [0, 1]; 0 for the whole image.
            Without a default, so that a run from before there was one is refused, not read
            otherwise.
        lr: Learning rate of both.
        weight_decay: Of both.
        sigma: Blur of the anomaly map in pixels, 0 or more.
        seed: Of the weights.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        Rudolph et al., Asymmetric Student-Teacher Networks, WACV 2023; a row of HyperTrans'
        Table 1. The released code drops batches of fewer than eight images, so with fewer shots it
        makes no step; here a batch is as large as the shots are, and there are as many steps as a
        full training set would have given. Departures: the foreground is told by a share of an
        image's range of depth instead of 7 mm, since depth images have no unit here; 28 x 28 cells
        of a 224 pixel image instead of 24 x 24 of 192.
    """

    name = "ast"
    modalities = ("depth",)

    def __init__(
        self,
        teacher: Annotated[Mapping[str, Any], Affects("teacher")],
        student: Annotated[Mapping[str, Any], Affects("student")],
        foreground: Annotated[float, Affects("teacher", "student")],
        lr: Annotated[float, Affects("teacher", "student")] = 2e-4,
        weight_decay: Annotated[float, Affects("teacher", "student")] = 1e-5,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects("teacher", "student")] = 0,
    ) -> None:
        self.teacher, self.student = Teacher(**teacher), Student(**student)
        self.lr = check_positive("method.lr", lr)
        self.weight_decay = check_not_negative("method.weight_decay", weight_decay)
        self.foreground = check_fraction("method.foreground", foreground)
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def build_extractor(
        self,
        image_size: Size,
        backbone: BackboneMaker,  # noqa: ARG002
    ) -> PatchExtractor:
        """Return the features that the method is about."""
        return CellExtractor(image_size)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: the teacher learns, then the student."""
        teacher = new_teacher(extractor, self.teacher, self.seed)
        student = StudentNetwork(extractor.channels, teacher.position, self.student, self.seed)
        scorer = AstScorer(CachedExtractor(extractor), teacher, student, self.foreground)
        return Plan(
            [
                FitStage(
                    "teacher",
                    teacher,
                    partial(self._teacher, scorer),
                    self.teacher.epochs,
                    checkpoint_every=100,
                    reads=("shots",),
                    depends=affecting(self, "teacher"),
                ),
                FitStage(
                    "student",
                    student,
                    partial(self._student, scorer),
                    self.student.epochs,
                    checkpoint_every=100,
                    reads=("shots",),
                    depends=affecting(self, "student"),
                ),
            ],
            scorer,
            sigma=self.sigma,
            held_out=HoldOut.NONE,
            scores_depend=affecting(self, SCORES),
        )

    def _teacher(self, scorer: AstScorer) -> "StageModule":
        from fsad.methods.ast.modules import TeacherModule  # Lightning, to train alone

        return TeacherModule(scorer, self.lr, self.weight_decay)

    def _student(self, scorer: AstScorer) -> "StageModule":
        from fsad.methods.ast.modules import StudentModule

        return StudentModule(scorer, self.lr, self.weight_decay)
