"""The data set that needs no download."""

from collections.abc import Collection, Sequence
from pathlib import Path

from fsad.data.depth_rules import DepthRules
from fsad.data.mvtec3d import MVTec3D
from fsad.data.synthetic.defects import DEFECTS, DEPTH_DEFECTS
from fsad.data.synthetic.parts import PARTS
from fsad.data.synthetic.write import Recipe, generate
from fsad.errors import ConfigError, check_at_least


class Synthetic(MVTec3D):
    """Machine parts with known defects, generated on first use and then read from disk.

    Each image shows one part on a table under a depth camera 0.4 m above it: ``bolt`` and
    ``gasket`` in any rotation, ``knob`` and ``tile`` within 15 degrees, all shifted, under another
    lamp each time. RGB and depth of a pair show the same surface. The sensor's noise is 0.1 mm; it
    loses points at random and in its projector's shadow, in good and bad images alike.

    ``bump``, ``dent``, ``hole`` and ``cut`` change the height by 1 to 6 mm, so both domains show
    them. ``stain`` changes only the colour: **no method can find it in depth**, so with it a
    perfect image AUROC on depth is impossible. It is therefore not part of the default.

    Laws (``tests/data/test_synthetic*.py``):

    * The same parameters give the same bytes; another seed gives others.
    * A mask is set exactly where the height, or for a stain the colour, was changed.
    * A stain leaves the point cloud of the good part untouched, bit for bit.
    * Raising a count adds samples and changes none.

    Args:
        root: Where data sets are kept; this one gets a sub-folder named after its parameters, so
            that other parameters make another data set and nothing is ever mixed. ``self.root`` is
            that sub-folder, in MVTec 3D-AD's layout, with the parameters in ``synthetic.json``.
        rules: How depth files are read.
        size: Height and width of the images, pixels, at least 32.
        n_train: Good training images per category.
        n_validation: Good validation images per category.
        n_test_good: Good test images per category.
        n_test_defect: Test images per category and kind of defect.
        categories: Names out of ``PARTS``; all if omitted.
        defects: Names out of ``DEFECTS``; those that depth shows if omitted.
        seed: Another seed, another data set.

    Raises:
        ConfigError: A parameter is out of range.
        DataError: The sub-folder is there, but was not made with these parameters.
        OutputError: The files cannot be written.

    Note:
        The default is 168 images, 150 MB and about 15 s on one core, once.
    """

    def __init__(
        self,
        root: str | Path,
        rules: DepthRules | None = None,
        *,
        size: int = 256,
        n_train: int = 16,
        n_validation: int = 2,
        n_test_good: int = 8,
        n_test_defect: int = 4,
        categories: Sequence[str] | None = None,
        defects: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        recipe = Recipe(
            size=check_at_least("data.reader.size", size, 32),
            n_train=check_at_least("data.reader.n_train", n_train, 1),
            n_validation=check_at_least("data.reader.n_validation", n_validation, 0),
            n_test_good=check_at_least("data.reader.n_test_good", n_test_good, 1),
            n_test_defect=check_at_least("data.reader.n_test_defect", n_test_defect, 1),
            categories=_names(
                "data.reader.categories", tuple(PARTS) if categories is None else categories, PARTS
            ),
            defects=_names(
                "data.reader.defects", DEPTH_DEFECTS if defects is None else defects, DEFECTS
            ),
            seed=check_at_least("data.reader.seed", seed, 0),
        )
        super().__init__(generate(Path(root), recipe), rules)


def _names(name: str, chosen: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Return the chosen names, sorted as their order decides nothing."""
    ok = not isinstance(chosen, str) and chosen and set(chosen) <= set(known)
    if not ok or len(set(chosen)) < len(chosen):
        raise ConfigError(
            f"{name}: expected a list of names out of {', '.join(known)}, got {chosen!r}"
        )
    return tuple(sorted(chosen))
