"""What Lightning says to everybody, and a user of this package need not hear."""

import logging
import warnings

EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # data.workers is the user's choice
    ".*module\\(s\\) in eval mode at the start of training.*",  # the backbone is frozen
    ".*treespec, LeafSpec.*",  # Lightning's own use of torch
    ".*`broadcast_buffers` is deprecated.*",  # the new name is not known to older torch
)


def quieten_lightning() -> None:
    """Leave out what Lightning says to everybody."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
