"""What a process's last tests yielded, for the cells of a grid that mix the domains otherwise."""

from fsad.scores.scored import Unmixed


class LastTests:
    """What the last tests of a process yielded, for jobs that differ from theirs in beta alone.

    Args:
        max_bytes: How much may be kept; the oldest goes first.
    """

    def __init__(self, max_bytes: int = 0) -> None:
        self.max_bytes = max_bytes
        self._tests: dict[str, Unmixed] = {}

    def get(self, key: str) -> Unmixed | None:
        """Return what was kept under a key, the digest of all that decides it."""
        return self._tests.get(key)

    def keep(self, key: str, unmixed: Unmixed | None) -> None:
        """Keep what a test yielded, unless it is too much."""
        if unmixed is None or unmixed.nbytes > self.max_bytes:
            return
        self._tests.pop(key, None)
        self._tests[key] = unmixed
        while sum(each.nbytes for each in self._tests.values()) > self.max_bytes:
            del self._tests[next(iter(self._tests))]
