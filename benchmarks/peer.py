"""anomalib in an interpreter of its own, waiting for work, so that turns can be taken with it."""

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import Contender

WORKER = Path(__file__).with_name("peer_worker.py")


class PeerError(RuntimeError):
    """The peer could not do what it was asked to."""


class Peer:
    """A process with anomalib in it.

    Args:
        python: Interpreter of the environment that anomalib is installed in.
        folder: Where arrays are handed over.

    Raises:
        PeerError: anomalib is not installed there.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = str(python), folder
        threads = str(torch.get_num_threads())
        self._process = subprocess.Popen(
            # -P: modules beside the worker must not hide anomalib's
            [python, "-P", WORKER, threads],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": threads, "TQDM_DISABLE": "1"},
        )
        try:
            self.versions: dict[str, str] = self.ask("versions")
        except PeerError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the process end."""
        with suppress(BrokenPipeError):
            self._process.communicate()

    def ask(self, call: str, **arguments: Any) -> Any:
        """Have one function of the worker run, and return what it returned.

        Raises:
            PeerError: It failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"call": call, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"{call}: expected an answer, got none; the worker ended")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{call}: expected a result, got {answer['error']}")
        return answer["result"]

    def another(self) -> "Peer":
        """Start a second process like this one, with nothing behind it yet."""
        return Peer(Path(self.python), self.folder)

    def give(self, **arrays: NDArray[Any]) -> None:
        """Hand arrays over, by name."""
        for name, array in arrays.items():
            path = self.folder / f"{name}.npy"
            np.save(path, array)
            self.ask("load", path=str(path), name=name)
            path.unlink()

    def contender(self, call: str, **arguments: Any) -> Contender:
        """Make a contender of a function of the worker that times itself."""
        return lambda: float(self.ask(call, **arguments)["seconds"])
