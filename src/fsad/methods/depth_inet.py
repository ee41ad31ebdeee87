"""Depth iNet: features of an ImageNet CNN on depth images, in a bank."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fsad.engine.plan import BackboneMaker
from fsad.engine.settings import FEATURES, Affects
from fsad.errors import ConfigError, WeightsError
from fsad.methods.shared.target_bank import TargetBank
from fsad.nn.backbone import CnnExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.nn.settings import Size


@dataclass(frozen=True)
class DepthInet(TargetBank):
    """Back to the Feature's "Depth iNet"; the settings are the bank's, and which CNN.

    The CNN sees depth as it is, without the constants of RGB. The configured backbone is not built.

    Attributes:
        timm_name: The CNN's name in timm; its stages ``layer2`` and ``layer3`` are the features.
        pretrained: Take the published weights; false is random weights.
        weights_path: A file of weights; goes before ``pretrained``.

    Source:
        Horwitz and Hoshen, Back to the Feature, CVPRW 2023; a row of HyperTrans' Table 1.
        Departure: depth is scaled to [0.1, 0.9] in each image, as everywhere here, not in metres.
    """

    name = "depth_inet"
    modalities = ("depth",)

    timm_name: Annotated[str, Affects(FEATURES)] = "wide_resnet50_2.tv_in1k"
    pretrained: Annotated[bool, Affects(FEATURES)] = True
    weights_path: Annotated[str | None, Affects(FEATURES)] = None
    seed: Annotated[int, Affects(FEATURES)] = 0  # of random weights

    def build_extractor(
        self,
        image_size: Size,
        backbone: BackboneMaker,  # noqa: ARG002
    ) -> PatchExtractor:
        """Return the features that the method is about.

        Raises:
            WeightsError: The weights cannot be had, or do not fit.
        """
        try:
            return CnnExtractor(
                Path(self.timm_name).stem,
                self.timm_name,
                image_size,
                layers=[],
                pretrained=self.pretrained,
                weights_path=self.weights_path,
                normalize_depth=False,
                seed=self.seed,
            )
        except (ConfigError, WeightsError) as error:  # its settings are the method's here
            raise type(error)(str(error).replace("backbone.", "method.")) from error
