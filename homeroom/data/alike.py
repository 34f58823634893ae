"""What finding alike texts is made of: hashes of runs, and sets that are joined. What is alike is for others."""

import numpy as np
from numpy.typing import NDArray


class DisjointSets:
    """Of the rows 0 to `rows`; a set's representative is its smallest."""

    def __init__(self, rows: int) -> None:
        self._parent = list(range(rows))

    def find(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = row = self._parent[self._parent[row]]
        return row

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low


def ngrams(ids: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """A hash of every run of n ids, or of all if they are fewer."""
    n = min(n, len(ids))
    hashes = np.zeros(len(ids) - n + 1, np.uint64)
    for offset in range(n):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + ids[offset : len(hashes) + offset] + np.uint64(1)
    return hashes
