"""Sequences of unlike length as one tensor: a row each and padded, or several to a row.

Which position of a row matters is the caller's business, and so is keeping neighbours in a row apart (see
`homeroom.models.transformer.document_mask`).
Shapes: S sequences, B rows, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor


def pad_rows(rows: Sequence[Sequence[int]], pad: int = 0, length: int | None = None) -> Tensor:
    """(B, T), filled up on the right, which causal attention never sees; T is the longest row's or `length`."""
    longest = max(map(len, rows)) if length is None else length
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], dtype=torch.long)


@dataclass(frozen=True)
class Packing:
    """Which sequences share a row, side by side: `bins` holds their numbers, a bin per row."""

    lengths: Sequence[int]
    bins: Sequence[Sequence[int]]
    width: int

    @classmethod
    def tight(cls, lengths: Sequence[int]) -> Self:
        """The longest first, each into the first row with room for it (first-fit decreasing: Johnson 1973).

        Rows are as wide as the longest: wider ones would leave fewer gaps, and attention more to look at for nothing.
        """
        width = max(lengths)
        bins: list[list[int]] = []
        filled: list[int] = []
        for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
            row = next((row for row, used in enumerate(filled) if used + lengths[number] <= width), len(bins))
            if row == len(bins):
                bins.append([])
                filled.append(0)
            bins[row].append(number)
            filled[row] += lengths[number]
        return cls(lengths, bins, width)

    @cached_property
    def starts_S(self) -> Tensor:
        """Where each sequence begins, as a position of the flat (B · T) tensor."""
        starts_S = torch.zeros(len(self.lengths), dtype=torch.long)
        for row, members in enumerate(self.bins):
            start = row * self.width
            for number in members:
                starts_S[number] = start
                start += self.lengths[number]
        return starts_S

    @property
    def last_S(self) -> Tensor:
        """Where each sequence ends, likewise."""
        return self.starts_S + torch.tensor(self.lengths) - 1

    def fill(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """(B, T) of them, each in its place; 0 elsewhere."""
        flat = torch.zeros(len(self.bins) * self.width, dtype=torch.long)
        for start, sequence in zip(self.starts_S.tolist(), sequences, strict=True):
            flat[start : start + len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        return flat.view(len(self.bins), self.width)

    @property
    def document_BT(self) -> Tensor:
        """Each position's sequence, numbered from 1; 0 where there is none."""
        return self.fill([[number] * length for number, length in enumerate(self.lengths, start=1)])
