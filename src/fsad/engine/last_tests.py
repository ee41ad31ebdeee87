"""What a process's last tests yielded, for the cells of a grid."""

from fsad.scores.scored_images import PartResults


class LastTests:
    """What the last tests of a process yielded, for jobs that combine parts otherwise.

    Args:
        max_bytes: How much may be kept; the oldest goes first.
    """

    def __init__(self, max_bytes: int = 0) -> None:
        self.max_bytes = max_bytes
        self._tests: dict[str, PartResults] = {}

    def get(self, key: str) -> PartResults | None:
        """Return what was kept under a key, the digest of all that decides it."""
        return self._tests.get(key)

    def keep(self, key: str, results: PartResults | None) -> None:
        """Keep what a test yielded, unless it is too much."""
        if results is None or results.nbytes > self.max_bytes:
            return
        self._tests.pop(key, None)
        self._tests[key] = results
        while sum(each.nbytes for each in self._tests.values()) > self.max_bytes:
            del self._tests[next(iter(self._tests))]
