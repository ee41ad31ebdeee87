"""MPDD, painted metal parts, as distributed."""

from typing import ClassVar

from fsad.data.photographs.reader import SplitFolders


class MPDD(SplitFolders):
    """Reads the layout of MVTec AD, in which it is distributed.

    Parts lie in any place and orientation before a changing background.

    Args:
        root: The folder that holds the categories.

    Source:
        Jezek et al., Deep learning-based defect detection of metal parts, ICUMT 2021.
    """

    layout: ClassVar[str] = "mpdd"
