"""Photographs of one's own, in folders."""

from typing import ClassVar

from fsad.data.photographs.reader import SplitFolders


class ImageFolder(SplitFolders):
    """Reads images of one's own.

    ``<category>/train/good/*`` is learnt from, ``<category>/test/{good,<defect>}/*`` is tested, and
    ``<category>/ground_truth/<defect>/`` may hold masks, called as their images or with ``_mask``
    behind the stem. Files may be png, jpg, jpeg, bmp, tif or tiff; others are left out.

    Args:
        root: The folder that holds the categories.

    Examples:
        >>> import fsad
        >>> reader = fsad.ImageFolder("my_photographs")
        >>> reader.categories()
        ['screw']
        >>> [sample.defect for sample in reader.samples("screw", "test")]
        ['good', 'scratch']
    """

    layout: ClassVar[str] = "image_folder"
