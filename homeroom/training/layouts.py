"""Which answers go through a forward together: those to one question share a row, so that the question is read once.

What is learned stays the same, for a question's positions have no loss of their own.
Shapes: R answers, a row each; B rows of a forward, T time; N learned positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from homeroom.data.batches import Experience
from homeroom.models.branches import WIDEST, Branches, Bunch, row_width


@dataclass(frozen=True)
class Layout:
    """One forward's tokens; where its learned positions stand in it (`place_N`), and where in the tables by answer."""

    tokens_BT: Tensor
    branch_BT: Tensor | None
    place_N: Tensor
    learned: tuple[Tensor, Tensor]  # answer and time, (N,) each

    def read(self, table_BT: Tensor | None) -> Tensor:
        """(N,) of a table of this forward."""
        return cast(Tensor, table_BT).flatten()[self.place_N]

    def fill(self, table_RT: Tensor) -> Tensor:
        """A table by answer as one of this forward, zero where nothing is learned."""
        flat = table_RT.new_zeros(self.tokens_BT.numel())
        flat[self.place_N] = table_RT[self.learned]
        return flat.view(self.tokens_BT.shape)

    def experience(self, answers: Experience) -> Experience:
        fields = {name: table for name, table in vars(answers).items() if isinstance(table, Tensor)}
        filled = {name: self.fill(table) for name, table in fields.items()} | {"tokens_BT": self.tokens_BT}
        return Experience(**filled, branch_BT=self.branch_BT)


def layouts(tokens_RT: Tensor, learn_RT: Tensor, chosen: Tensor, most: int) -> Iterator[Layout]:
    """The chosen answers, at most so many in a forward, the narrow rows together."""
    learn = learn_RT[chosen]
    # The last token of the question stands before the first learned one: each answer has its own copy of it.
    shared = learn.int().argmax(dim=1).tolist()
    lengths = (learn.shape[1] - learn.flip(1).int().argmax(dim=1)).tolist()
    sequences = [row[:length] for row, length in zip(tokens_RT[chosen].tolist(), lengths, strict=True)]
    for bunches in _forwards(sequences, shared, most):
        members = [member for bunch in bunches for member in bunch.members]
        branches = Branches.of(sequences, bunches)
        answer_N, time_N = learn[members].nonzero(as_tuple=True)
        member_N = torch.tensor(members)[answer_N]
        place_N = branches.starts_S[member_N] + time_N
        yield Layout(branches.tokens_BT, branches.branch_BT, place_N, (chosen[member_N], time_N))


def _forwards(sequences: Sequence[Sequence[int]], shared: Sequence[int], most: int) -> Iterator[list[Bunch]]:
    open_bunches: dict[tuple[int, ...], Bunch] = {}
    closed: list[Bunch] = []
    for number, (sequence, length) in enumerate(zip(sequences, shared, strict=True)):
        question = tuple(sequence[: length + 1])
        alone = Bunch([number], length)
        before = open_bunches.pop(question, None)
        together = Bunch([*before.members, number], length) if before is not None else alone
        if before is not None and (len(together.members) > most or row_width(sequences, together) > WIDEST):
            closed.append(before)
            together = alone
        open_bunches[question] = together
    forward: list[Bunch] = []
    for bunch in sorted([*closed, *open_bunches.values()], key=lambda bunch: row_width(sequences, bunch)):
        if forward and sum(len(other.members) for other in forward) + len(bunch.members) > most:
            yield forward
            forward = []
        forward.append(bunch)
    if forward:
        yield forward
