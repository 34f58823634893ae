"""Keys and values of what was already read, one slot per running answer.

The engine keeps the running answers in slots 0 … n−1 (a finished one is overwritten by the last), so that a step reads
one contiguous view and copies nothing else. Leaves scheduling to `homeroom.inference`.
Shapes: L layers, S slots, H key-value heads, T time, E width of one head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


class KVCache:
    """Preallocated keys and values, shaped (L, S, H, T, E) each."""

    def __init__(
        self,
        layers: int,
        slots: int,
        heads: int,
        max_length: int,
        head_width: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        # One tensor a layer: attention then sees plain views. Zeros, because masked positions are still multiplied
        # (by weight zero), and uninitialised memory may hold a NaN.
        self.dtype = dtype
        shape = (slots, heads, max_length, head_width)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot over another."""
        for table in (*self.keys, *self.values):
            table[target, :, :length] = table[source, :, :length]


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
