"""An observer that has the jobs of a multirun start together."""

import os
import time
from pathlib import Path

from lightning import Callback

PATIENCE = 120.0  # seconds


class Meeting(Callback):
    """Waits, when a job builds it before any work, until ``count`` processes have."""

    def __init__(self, folder: str, count: int) -> None:
        (Path(folder) / str(os.getpid())).touch()
        end = time.monotonic() + PATIENCE
        while len(list(Path(folder).iterdir())) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{folder}: expected {count} jobs side by side, got fewer")
            time.sleep(0.005)
