"""Prompts that begin alike are read once: keys and values are taken over from a slot, or from what was kept of one.

A system prompt that many share, and the earlier turns of a conversation, are most of what a chat server reads.
What is kept belongs to one version of the weights; under another it is forgotten.
"""

from collections import OrderedDict
from collections.abc import Sequence

from homeroom.models.kv_cache import Held

WORTH = 32  # tokens: fewer are read again as fast as they are found


class Prefixes:
    """The beginnings of ended requests, the longest unused ones forgotten first; `tokens` bounds what is kept."""

    def __init__(self, tokens: int) -> None:
        self.room = tokens
        self._held: OrderedDict[tuple[int, ...], Held] = OrderedDict()
        self._version: int | None = None

    def __len__(self) -> int:
        return sum(map(len, self._held))

    def at_version(self, version: int) -> None:
        if version != self._version:
            self._held.clear()
            self._version = version

    def longest(self, prompt: Sequence[int]) -> tuple[int, Held | None]:
        """How many first tokens of the prompt are kept at best, and where."""
        best, found = 0, None
        for tokens in self._held:
            common = shared(prompt, tokens)
            if common > best:
                best, found = common, tokens
        if found is None:
            return 0, None
        self._held.move_to_end(found)
        return best, self._held[found]

    def keep(self, tokens: Sequence[int], held: Held) -> None:
        kept = tuple(tokens)
        for other in [other for other in self._held if shared(other, kept) == len(other)]:
            del self._held[other]  # this one begins like it and goes on
        self._held[kept] = held
        while len(self) > self.room:
            self._held.popitem(last=False)


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    length = min(len(one), len(other))
    low, high = 0, min(4, length)
    # Most have little in common, which is soon found out.
    while list(one[low:high]) == list(other[low:high]):
        if high == length:
            return length
        low, high = high, min(8 * high, length)
    # The first `low` are the same, the first `high` are not.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if list(one[low:middle]) == list(other[low:middle]) else (low, middle)
    return low
