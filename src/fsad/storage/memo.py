"""Files that several runs need: the first run makes one, the others take it."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsad.runtime.processes import broadcast_from_first, is_rank_zero
from fsad.storage.tensor_store import TensorStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Memo:
    """One file of a run, and where other runs that need the same look for it.

    Attributes:
        path: The file in the run's folder, written by :func:`fsad.storage.tensors.write_tensors`.
        store: The files of all runs; None keeps the run's to itself.
        key: Digest of all that decides what is in the file.
    """

    path: Path
    store: TensorStore | None = None
    key: str = ""

    def is_there(self) -> bool:
        """Tell whether the run has the file, taking another run's if there is one."""
        return broadcast_from_first(is_rank_zero() and (self.path.exists() or self._taken()))

    @contextmanager
    def making(self, afresh: bool = False) -> Iterator[bool]:
        """Tell within the block whether the file must be made, and hold other makers off.

        It need not be made if the run has it already, or another run made it: then it is there,
        unless it is wanted afresh. The block writes it otherwise. Several processes of one run are
        told the same, and go on together when the file is there.
        """
        with ExitStack() as held:
            needed = broadcast_from_first(is_rank_zero() and (self._needed(held) or afresh))
            yield needed
            broadcast_from_first(None)  # the others wait until the first has written
            if needed and is_rank_zero() and self.store is not None:
                self.store.keep(self.key, self.path)

    def _needed(self, held: ExitStack) -> bool:
        if self.path.exists():
            return False
        if self.store is not None:
            held.enter_context(self.store.lock(self.key))
        return not self._taken()

    def _taken(self) -> bool:
        if self.store is None or not self.store.fetch(self.key, self.path):
            return False
        log.info("%s: taken from the cache", self.path)
        return True
