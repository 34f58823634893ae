"""Rows of unlike length as one tensor. Which position of a row matters is the caller's business.

Shapes: B rows, T time.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_rows(rows: Sequence[Sequence[int]], pad: int = 0, length: int | None = None) -> Tensor:
    """(B, T), filled up on the right, which causal attention never sees; T is the longest row's or `length`."""
    longest = max(map(len, rows)) if length is None else length
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], dtype=torch.long)
