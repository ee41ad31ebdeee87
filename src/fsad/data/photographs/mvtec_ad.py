"""MVTec AD as distributed."""

from typing import ClassVar

from fsad.data.photographs.reader import SplitFolders


class MVTecAD(SplitFolders):
    """Reads ``<category>/{train/good,test/<defect>}/NNN.png`` and their masks.

    These are ``<category>/ground_truth/<defect>/NNN_mask.png``. Three of its categories are grey:
    grid, screw and zipper.

    Args:
        root: The folder that holds the categories.

    Source:
        Bergmann et al., MVTec AD, CVPR 2019.
    """

    layout: ClassVar[str] = "mvtec_ad"
