"""PatchCore: a bank of the shots' patches, and the distance to it."""

from fsad.methods.shared.target_bank import TargetBank


class PatchCore(TargetBank):
    """PatchCore on depth; the settings are :class:`~fsad.methods.shared.target_bank.TargetBank`'s.

    With the backbone of HyperTrans it is the first row of the paper's Table 3: nothing but a bank.
    The published ratio, 0.1, leaves 78 rows of one shot.

    Source:
        Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022.

    Examples:
        >>> import fsad
        >>> method = fsad.PatchCore(ratio=0.5, reweight=9)
        >>> method.name, method.ratio, method.sigma
        ('patchcore', 0.5, 4.0)
    """

    name = "patchcore"
