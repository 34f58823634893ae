"""Sequences that begin alike in one row: the beginning is read once, and each one's own end sees it and itself.

Several answers to one question are most often read together, and the question is then a good part of what is read.
Every position comes out as if its sequence stood alone, up to the rounding of products. Which sequences share a row is
the caller's business.
Shapes: S sequences, B rows, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

WIDEST = 512  # positions of a row: in wider ones attention to what the mask hides costs more than reading once saves


@dataclass(frozen=True)
class Bunch:
    """Numbers of sequences whose first `shared` tokens are the same."""

    members: Sequence[int]
    shared: int


@dataclass(frozen=True)
class Branches:
    """`branch_BT` is 0 at a beginning, counts ends from 1 and is -1 where there is nothing.

    Position t of a sequence, in its own end, stands at `starts_S + t` of the flat (B · T) tensor. A row is a bunch;
    without two sequences in any of them `branch_BT` is None: then rows are plain ones, padded on the right.
    """

    tokens_BT: Tensor
    branch_BT: Tensor | None
    starts_S: Tensor

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], bunches: Sequence[Bunch]) -> Self:
        width = max(row_width(sequences, bunch) for bunch in bunches)
        tokens, branches = [], []
        starts_S = torch.zeros(len(sequences), dtype=torch.long)
        for row, bunch in enumerate(bunches):
            filled = list(sequences[bunch.members[0]][: bunch.shared])
            branch = [0] * bunch.shared
            for number, member in enumerate(bunch.members, start=1):
                own = sequences[member][bunch.shared :]
                starts_S[member] = row * width + len(filled) - bunch.shared
                filled += own
                branch += [number] * len(own)
            tokens.append(filled + [0] * (width - len(filled)))
            branches.append(branch + [-1] * (width - len(branch)))
        plain = all(len(bunch.members) == 1 for bunch in bunches)
        return cls(torch.tensor(tokens), None if plain else torch.tensor(branches), starts_S)


def row_width(sequences: Sequence[Sequence[int]], bunch: Bunch) -> int:
    return bunch.shared + sum(len(sequences[member]) - bunch.shared for member in bunch.members)


def branch_mask(branch_BT: Tensor) -> Tensor:
    """(B, 1, T, T): a position looks back at its row's beginning and within its own end."""
    T = branch_BT.shape[1]
    causal_TT = torch.ones(T, T, dtype=torch.bool, device=branch_BT.device).tril()
    seen_BTT = (branch_BT[:, None, :] == 0) | (branch_BT[:, :, None] == branch_BT[:, None, :])
    return (seen_BTT & causal_TT)[:, None]


def branch_positions(branch_BT: Tensor) -> Tensor:
    """(B, T): where each position stands in its own sequence; 0 where there is nothing."""
    T = branch_BT.shape[1]
    index_T = torch.arange(T, device=branch_BT.device)
    first_BT = torch.zeros_like(branch_BT)
    first_BT[:, 1:] = torch.where(branch_BT[:, 1:] != branch_BT[:, :-1], index_T[1:], 0)
    shared_B1 = (branch_BT == 0).sum(dim=1, keepdim=True)
    offset_BT = index_T - first_BT.cummax(dim=1).values
    return torch.where(branch_BT < 0, 0, torch.where(branch_BT > 0, shared_B1 + offset_BT, index_T))


def neighbours(sequences: Sequence[Sequence[int]]) -> list[Bunch]:
    """Bunches of sequences that follow each other and begin alike, where at least half of each is the same."""
    bunches: list[Bunch] = []
    for number in range(len(sequences)):
        together = _join(sequences, bunches[-1], number) if bunches else None
        if together is None:
            bunches.append(Bunch([number], 0))
        else:
            bunches[-1] = together
    return bunches


def _join(sequences: Sequence[Sequence[int]], bunch: Bunch, number: int) -> Bunch | None:
    first, sequence = sequences[bunch.members[0]], sequences[number]
    # At most what the others share, and never all: a sequence's last token is in its own end.
    limit = bunch.shared if len(bunch.members) > 1 else len(first) - 1
    limit = min(limit, len(sequence) - 1)
    shared = next((at for at in range(limit) if first[at] != sequence[at]), limit)
    together = Bunch([*bunch.members, number], shared)
    longest = max(len(sequences[member]) for member in together.members)
    return together if 2 * shared >= longest and row_width(sequences, together) <= WIDEST else None
