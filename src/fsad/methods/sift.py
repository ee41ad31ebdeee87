"""Dense SIFT on depth, with a bank of the shots' descriptors: no weights, no learning."""

from fsad.engine.plan import BackboneMaker
from fsad.methods.shared.target_bank import TargetBank
from fsad.nn.extractor import PatchExtractor
from fsad.nn.settings import Size
from fsad.nn.unlearnt import SiftExtractor


class Sift(TargetBank):
    """A bank over SIFT descriptors of depth; the settings are the bank's.

    The configured backbone is not built.

    Source:
        Horwitz and Hoshen, Back to the Feature, CVPRW 2023; a row of HyperTrans' Table 1.
    """

    name = "sift"

    def build_extractor(
        self,
        image_size: Size,
        backbone: BackboneMaker,  # noqa: ARG002
    ) -> PatchExtractor:
        """Return the features that the method is about."""
        return SiftExtractor(image_size)
