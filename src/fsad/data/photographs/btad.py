"""BTAD (beanTech), three products, as distributed."""

from typing import ClassVar

from fsad.data.photographs.reader import SplitFolders


class BTAD(SplitFolders):
    """Reads ``<01|02|03>/{train/ok,test/{ok,ko}}/*.{bmp,png}`` and ``ground_truth/ko/*``.

    Good images lie in ``ok``, and there is one kind of defect, ``ko``. Masks are called as their
    images, but may be png where these are bmp.

    Args:
        root: The folder that holds ``01``, ``02`` and ``03``.

    Source:
        Mishra et al., VT-ADL, ISIE 2021.
    """

    layout: ClassVar[str] = "btad"
    mark: ClassVar[str] = "ok"
