"""Keys and values of what was already read, one slot per running answer.

The engine keeps the running answers in slots 0 … n−1 (a finished one is overwritten by the last), so that a step reads
one contiguous view and copies nothing else. Leaves scheduling to `homeroom.inference`.
Shapes: L layers, S slots, K key-value heads, T time, E width of one head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SHORTEST = 64  # positions; an engine's cache begins with so many, and grows by a quarter or more


@dataclass(frozen=True)
class Piece:
    """Tokens that a slot reads on from position `start`: a prompt's next part, or the last token said."""

    slot: int
    start: int
    token_ids: Sequence[int]

    @property
    def end(self) -> int:
        return self.start + len(self.token_ids)


@dataclass(frozen=True)
class Held:
    """Keys and values of one slot's first positions, outside of any slot: (L, K, T, E) each."""

    keys: Tensor
    values: Tensor

    @property
    def length(self) -> int:
        return self.keys.shape[2]


class KVCache:
    """Keys and values, shaped (L, S, K, T, E) each. It may start small and grow: a long context costs when used."""

    def __init__(
        self,
        layers: int,
        slots: int,
        heads: int,
        length: int,
        head_width: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self.dtype, self._device = dtype, device
        shape = (layers, slots, heads, _fours(length), head_width)
        self.keys_LSKTE, self.values_LSKTE = self._zeros(shape), self._zeros(shape)
        self.keys: list[Tensor]
        self.values: list[Tensor]
        self._part()

    @property
    def bytes_per_token(self) -> int:
        layers, _, heads, _, width = self.keys_LSKTE.shape
        return 2 * layers * heads * width * self.keys_LSKTE.element_size()

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot over another."""
        for table in (self.keys_LSKTE, self.values_LSKTE):
            table[:, target, :, :length] = table[:, source, :, :length]

    def hold(self, slot: int, length: int) -> Held:
        """A copy of a slot's first positions."""
        return Held(self.keys_LSKTE[:, slot, :, :length].clone(), self.values_LSKTE[:, slot, :, :length].clone())

    def put(self, slot: int, held: Held, length: int) -> None:
        self.keys_LSKTE[:, slot, :, :length] = held.keys[:, :, :length]
        self.values_LSKTE[:, slot, :, :length] = held.values[:, :, :length]

    def reserve(self, slots: int, length: int) -> None:
        """Room for so many slots and positions; what stands there stays, also where there is no memory for more."""
        layers, have_slots, heads, have_length, width = self.values_LSKTE.shape  # the last to grow
        if slots <= have_slots and length <= have_length:
            return
        more = have_slots if slots <= have_slots else max(slots, 2 * have_slots)
        longer = have_length if length <= have_length else _fours(max(length, have_length + have_length // 4))
        shape = (layers, more, heads, longer, width)
        # One table after the other, without the old one's views: not both stand there twice.
        self.keys, self.values = [], []
        try:
            self.keys_LSKTE = self._grown(self.keys_LSKTE, shape)
            self.values_LSKTE = self._grown(self.values_LSKTE, shape)
        finally:
            self._part()

    def _grown(self, old: Tensor, shape: tuple[int, ...]) -> Tensor:
        new = self._zeros(shape)
        new[:, : old.shape[1], :, : old.shape[3]] = old
        return new

    def _part(self) -> None:
        # A view a layer: attention then sees plain tensors.
        with torch.inference_mode(False):
            self.keys, self.values = list(self.keys_LSKTE), list(self.values_LSKTE)

    @torch.inference_mode(False)  # cancel() moves what stands here, and is called from outside
    def _zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros, because masked positions are still multiplied (by weight zero), and other memory may hold a NaN."""
        if self._device is not None and self._device.type != "cpu":
            return torch.zeros(shape, dtype=self.dtype, device=self._device)
        # NumPy asks for memory that is zero already, which costs nothing until it is written to.
        size = torch.empty((), dtype=self.dtype).element_size()
        return torch.from_numpy(np.zeros((*shape[:-1], shape[-1] * size), np.uint8)).view(self.dtype)


def _fours(length: int) -> int:
    """At least so many positions: kernels read four at a time."""
    return -(-length // 4) * 4


@dataclass(frozen=True)
class CacheView:
    """What one forward reads and writes: which slots, at which positions, and how far attention looks.

    `slots_B` are the rows' slots, `positions_BT` where their new tokens stand, `extent` the longest length after it.
    """

    cache: KVCache
    slots_B: Tensor
    positions_BT: Tensor
    extent: int
    first_slots: int | None = None  # set to n when slots_B is exactly 0 … n−1: then a view is read, not a copy

    def extend(self, layer: int, key_BHTE: Tensor, value_BHTE: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values, return all of these slots' keys and values up to `extent`."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        slots_B1, positions_BT = self.slots_B[:, None], self.positions_BT
        # Advanced indices around a slice put the indexed axes first: (B, T, H, E).
        keys[slots_B1, :, positions_BT] = key_BHTE.transpose(1, 2).to(keys.dtype)
        values[slots_B1, :, positions_BT] = value_BHTE.transpose(1, 2).to(values.dtype)
        rows: slice | Tensor = self.slots_B if self.first_slots is None else slice(0, self.first_slots)
        return keys[rows, :, : self.extent], values[rows, :, : self.extent]
