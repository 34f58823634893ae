"""Who waits, who runs, and in which slot: continuous batching without tensors.

Running requests fill slots 0 … n−1. When one ends, the last takes its slot, so that the engine always reads one
contiguous view; the engine is told which slot was moved where.
"""

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from homeroom.inference.request import Request, TokenScore


@dataclass(slots=True)
class Running:
    """A request in a slot: what it has said so far and its own random numbers."""

    request: Request
    uniforms: list[float]
    token_ids: list[int] = field(default_factory=list)
    number: int = 0  # how many were let in before it
    read: int = 0  # tokens of the prompt whose keys and values stand in the cache
    scores: list[TokenScore] = field(default_factory=list)  # of the prompt
    last_1D: Tensor = field(default_factory=lambda: torch.empty(0))  # the hidden state that its choices follow
    unread: list[int] = field(default_factory=list)  # its choices that are still to be read
    worth: dict[int, float] = field(default_factory=dict)  # those that were scored

    @property
    def length(self) -> int:
        """Tokens whose keys and values stand in the cache: the last one said is not there yet."""
        return self.read + max(0, len(self.token_ids) - 1)

    @property
    def next_ids(self) -> list[int]:
        """What is read behind the prompt in the next step: the last token said, or a choice but for its last token,
        which nothing follows."""
        return self.request.choices[self.unread[0]].token_ids[:-1] if self.unread else self.token_ids[-1:]

    @property
    def cached_ids(self) -> list[int]:
        return [*self.request.prompt_ids, *self.token_ids][: self.length]


class Scheduler:
    """First come, first served, into a fixed number of slots."""

    def __init__(self, slots: int) -> None:
        if slots < 1:
            raise ValueError(f"an engine needs at least one slot, not {slots}")
        self.slots = slots
        self.waiting: deque[Request] = deque()
        self.running: list[Running] = []
        self._names: set[str] = set()

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    def submit(self, request: Request) -> None:
        """Raises ValueError when a request of that id waits or runs already."""
        if request.id in self._names:
            raise ValueError(f"request {request.id!r} is already waiting or running")
        self._names.add(request.id)
        self.waiting.append(request)

    def admit(self, at_once: int = 1) -> list[Request]:
        """Take waiting requests for the free slots; the caller adds them to `running` in this order.

        As long as others run, only so many `at_once`, if so many wait.
        """
        free = self.slots - len(self.running)
        if self.running and free < at_once <= len(self.waiting):
            return []
        return [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]

    def release(self, slot: int) -> tuple[int, int] | None:
        """End the request in `slot`. Returns (from, to) when the last running one moved into its place."""
        self._names.discard(self.running[slot].request.id)
        last = len(self.running) - 1
        moved = self.running.pop()
        if slot == last:
            return None
        self.running[slot] = moved
        return last, slot

    def drop_waiting(self, request_id: str) -> bool:
        """Forget a request that has not started."""
        for request in self.waiting:
            if request.id == request_id:
                self.waiting.remove(request)
                self._names.discard(request_id)
                return True
        return False

    def slot_of(self, request_id: str) -> int | None:
        return next((slot for slot, run in enumerate(self.running) if run.request.id == request_id), None)
