"""Micro-batches and the resumable Sources that yield them, one list of micro-batches per optimizer step.

A Source's whole position is a few numbers: what it yields next depends on them and its seed alone. Reading shards is
`homeroom.data.shards`'; sampling for reinforcement learning is `homeroom.training.rollouts`'.
Shapes: B rows, T time, A answers, P pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from homeroom.models.padding import Packing, pad_rows
from homeroom.settings import HomeroomError

Item = TypeVar("Item")
State = dict[str, Any]


class TooLittle(HomeroomError):
    """There is not enough to make one batch of."""


class Source(Protocol[Item]):
    """A resumable stream: each item is one optimizer step's micro-batches."""

    def __iter__(self) -> Iterator[list[Item]]: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


@dataclass(frozen=True)
class TokenBatch:
    """Tokens, what follows each, and where that is to be learned; with documents numbered where rows are packed.

    `weight_BT` is how much each token weighs, 1 if not given.
    """

    tokens_BT: Tensor
    next_token_BT: Tensor
    learn_BT: Tensor
    document_BT: Tensor | None = None
    weight_BT: Tensor | None = None

    def inputs(self) -> dict[str, Tensor | None]:
        return {"tokens_BT": self.tokens_BT, "document_BT": self.document_BT}


@dataclass(frozen=True)
class RunningText(TokenBatch):
    """Text beside lessons, which may be TokenBatches themselves."""


@dataclass(frozen=True)
class RankingBatch:
    """K answers to each of some questions, several to a row; a lower tier is better, equal tiers are not compared.

    `last_A` is where each answer ends, as a position of the flat (B · T) tensor; `weight_A` is how much an answer's
    question weighs, 1 if not given.
    """

    tokens_BT: Tensor
    document_BT: Tensor
    last_A: Tensor
    question_A: Tensor
    tier_A: Tensor
    weight_A: Tensor | None = None

    def inputs(self) -> dict[str, Tensor | None]:
        return {"tokens_BT": self.tokens_BT, "document_BT": self.document_BT}

    def questions(self) -> Tensor:
        names: Tensor = self.question_A.unique()
        return names

    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers of the better and of the worse answer, and each pair's share of its question's weight (P,)."""
        same_AA = self.question_A[:, None] == self.question_A[None]
        better_P, worse_P = (same_AA & (self.tier_A[:, None] < self.tier_A[None])).nonzero(as_tuple=True)
        question_P = self.question_A[better_P]
        count = torch.bincount(question_P, minlength=int(self.question_A.max()) + 1)
        share_P = 1.0 / count[question_P]
        return better_P, worse_P, share_P if self.weight_A is None else share_P * self.weight_A[better_P]

    def weight(self) -> Tensor:
        """How much all questions weigh together."""
        if self.weight_A is None:
            return torch.tensor(len(self.questions()))
        answers = torch.bincount(self.question_A)
        return (self.weight_A / answers[self.question_A]).sum()


@dataclass(frozen=True)
class PreferenceBatch:
    """Answers, several to a row and numbered from 1 in `document_BT`, and the pairs that they form.

    `reference_A` is the reference's log-probability of each answer, `pairs_P2` are indices into it: chosen, rejected.
    An answer that stands in several pairs is read once. `weight_P` is how much each pair weighs, 1 if not given.
    """

    tokens_BT: Tensor
    next_token_BT: Tensor
    learn_BT: Tensor
    document_BT: Tensor
    reference_A: Tensor
    pairs_P2: Tensor
    weight_P: Tensor | None = None

    def inputs(self) -> dict[str, Tensor | None]:
        return {"tokens_BT": self.tokens_BT, "document_BT": self.document_BT}


@dataclass(frozen=True)
class ThumbBatch:
    """Answers, numbered from 1 in `document_BT`, that a person liked or did not.

    `reference_A` is the reference's log-probability of each, `divergence` the policy's KL to the reference, in nats
    per answer, `weight_A` how much each answer weighs, 1 if not given.
    """

    tokens_BT: Tensor
    next_token_BT: Tensor
    learn_BT: Tensor
    document_BT: Tensor
    reference_A: Tensor
    liked_A: Tensor
    divergence: Tensor
    weight_A: Tensor | None = None

    def inputs(self) -> dict[str, Tensor | None]:
        return {"tokens_BT": self.tokens_BT, "document_BT": self.document_BT}


@dataclass(frozen=True)
class Experience:
    """Sampled answers with what the sampler knew of each token; answers to one question may share a row.

    Then `branch_BT` says which is where (see `homeroom.models.branches`).
    """

    tokens_BT: Tensor
    next_token_BT: Tensor
    learn_BT: Tensor
    log_probs_BT: Tensor
    values_BT: Tensor
    advantages_BT: Tensor
    returns_BT: Tensor
    branch_BT: Tensor | None = None

    def inputs(self) -> dict[str, Tensor | None]:
        return {"tokens_BT": self.tokens_BT, "branch_BT": self.branch_BT}


class Shuffle:
    """Numbers 0 … count−1 in an order that depends on (seed, epoch) alone, `per_step` at a time, epoch after epoch.

    The last step of an epoch is filled from the next one, so every step has the same size.
    """

    def __init__(self, count: int, per_step: int, seed: int) -> None:
        if count < 1:
            raise TooLittle("nothing to draw from: the source is empty")
        self.count, self.per_step, self.seed = count, per_step, seed
        self.drawn = 0
        self._kept: tuple[int, np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None

    def __next__(self) -> list[int]:
        numbers: list[int] = []
        while len(numbers) < self.per_step:
            epoch, offset = divmod(self.drawn, self.count)
            taken = self._order(epoch)[offset : offset + self.per_step - len(numbers)].tolist()
            numbers += taken
            self.drawn += len(taken)
        return numbers

    def _order(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        # Kept while the epoch lasts: a permutation of millions takes longer than a step.
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.count)
        return self._kept[1]

    @property
    def epoch(self) -> float:
        return self.drawn / self.count

    def state_dict(self) -> State:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: State) -> None:
        self.drawn = int(state["drawn"])


class TokenRow(Protocol):
    """A long run of token ids, such as `homeroom.data.shards.Shards`."""

    def __len__(self) -> int: ...

    def read(self, start: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]: ...


@dataclass(frozen=True)
class TokensInMemory:
    """A TokenRow that is short."""

    ids: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self.ids[start : start + count]


class PackedTokens:
    """Pretraining: a long run of token ids, cut into windows of T + 1 which are read in shuffled order.

    Raises TooLittle when it does not fill one window.
    """

    def __init__(self, tokens: TokenRow, *, length: int, rows: int, micro_rows: int, seed: int = 0) -> None:
        self.tokens, self.length, self.micro_rows = tokens, length, micro_rows
        windows = (len(tokens) - 1) // length
        if windows < 1:
            raise TooLittle(f"{len(tokens)} tokens do not fill one row of {length}; add text or shorten the context")
        self.shuffle = Shuffle(windows, rows, seed)

    def __iter__(self) -> Iterator[list[TokenBatch]]:
        while True:
            windows = next(self.shuffle)
            yield [
                self._batch(windows[start : start + self.micro_rows])
                for start in range(0, len(windows), self.micro_rows)
            ]

    def _batch(self, windows: list[int]) -> TokenBatch:
        rows = [self.tokens.read(window * self.length, self.length + 1) for window in windows]
        ids = torch.from_numpy(np.stack(rows))
        tokens_BT, next_token_BT = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        return TokenBatch(tokens_BT, next_token_BT, torch.ones_like(tokens_BT, dtype=torch.bool))

    def state_dict(self) -> State:
        return self.shuffle.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.shuffle.load_state_dict(state)


@dataclass(frozen=True)
class Conversation:
    """A conversation as token ids; `learn` marks the tokens that the assistant is to have said, `weight` is how much
    they weigh."""

    token_ids: Sequence[int]
    learn: Sequence[bool]
    weight: float = 1.0

    @property
    def prompt_ids(self) -> Sequence[int]:
        """What stands before the first token that is learned, of which there has to be one."""
        return self.token_ids[: self.learn.index(True)]


def shift(rows: Sequence[Conversation], length: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(tokens_BT, next_token_BT, learn_BT) of conversations, one a row, padded on the right with nothing to learn."""
    tokens_BT = pad_rows([row.token_ids[:-1] for row in rows], length=length)
    next_token_BT = pad_rows([row.token_ids[1:] for row in rows], length=length)
    learn_BT = pad_rows([row.learn[1:] for row in rows], length=length).bool()
    return tokens_BT, next_token_BT, learn_BT


def pack(rows: Sequence[Conversation], packing: Packing | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same with several to a row, as few as will do, and with document_BT, which numbers them from 1 as they come.

    `packing` says otherwise which share a row.
    """
    packing = packing or Packing.tight([len(row.token_ids) - 1 for row in rows])
    tokens_BT = packing.fill([row.token_ids[:-1] for row in rows])
    next_token_BT = packing.fill([row.token_ids[1:] for row in rows])
    learn_BT = packing.fill([row.learn[1:] for row in rows]).bool()
    return tokens_BT, next_token_BT, learn_BT, packing.document_BT


class PackedConversations:
    """SFT: whole conversations laid side by side into rows of T, each attending to itself alone."""

    def __init__(
        self, conversations: Sequence[Conversation], *, length: int, rows: int, micro_rows: int, seed: int = 0
    ) -> None:
        self.conversations = conversations
        self.length, self.micro_rows = length, micro_rows
        too_long = sum(len(conversation.token_ids) - 1 > length for conversation in conversations)
        if too_long:
            raise ValueError(f"{too_long} conversations are longer than the context of {length} tokens; leave them out")
        self.bins = _first_fit([len(conversation.token_ids) - 1 for conversation in conversations], length, seed)
        self.shuffle = Shuffle(len(self.bins), min(rows, len(self.bins)), seed)

    def __iter__(self) -> Iterator[list[TokenBatch]]:
        while True:
            chosen = [self.bins[number] for number in next(self.shuffle)]
            yield [
                self._batch(chosen[start : start + self.micro_rows]) for start in range(0, len(chosen), self.micro_rows)
            ]

    def _batch(self, bins: list[list[int]]) -> TokenBatch:
        rows = [self.conversations[member] for members in bins for member in members]
        numbers = iter(range(len(rows)))
        places = [[next(numbers) for _ in members] for members in bins]
        packing = Packing([len(row.token_ids) - 1 for row in rows], places, self.length)
        packed = pack(rows, packing)
        if all(row.weight == 1 for row in rows):
            return TokenBatch(*packed)
        # What is no document is numbered 0.
        weight = torch.tensor([0.0, *(row.weight for row in rows)])
        return TokenBatch(*packed, weight[packing.document_BT])

    def state_dict(self) -> State:
        return self.shuffle.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.shuffle.load_state_dict(state)


def _first_fit(sizes: list[int], capacity: int, seed: int) -> list[list[int]]:
    """Items into bins, first fit over the few most recent bins, in shuffled order so that bins mix all kinds."""
    bins: list[list[int]] = []
    free: list[int] = []
    for item in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        for index in range(max(0, len(bins) - 64), len(bins)):
            if free[index] >= sizes[item]:
                bins[index].append(item)
                free[index] -= sizes[item]
                break
        else:
            bins.append([item])
            free.append(capacity - sizes[item])
    return bins


class Groups(Source[Item]):
    """Steps of `per_step` items (questions, pairs), shuffled; `collate` makes them a micro-batch of `micro` items."""

    def __init__(self, items: Sequence[Any], collate: Any, *, per_step: int, micro: int, seed: int = 0) -> None:
        self.items, self.collate, self.micro = items, collate, micro
        self.shuffle = Shuffle(len(items), min(per_step, max(1, len(items))), seed)

    def __iter__(self) -> Iterator[list[Item]]:
        while True:
            chosen = [self.items[number] for number in next(self.shuffle)]
            yield [self.collate(chosen[start : start + self.micro]) for start in range(0, len(chosen), self.micro)]

    def state_dict(self) -> State:
        return self.shuffle.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.shuffle.load_state_dict(state)


class WithText:
    """Another Source's steps, each with a micro-batch of running text at its end."""

    def __init__(self, source: Source[Any], text: PackedTokens) -> None:
        self.source, self.text = source, text

    @property
    def resumable(self) -> bool:
        return getattr(self.source, "resumable", True)

    def __iter__(self) -> Iterator[list[Any]]:
        for step, text in zip(self.source, self.text, strict=False):
            yield [*step, *(RunningText(**vars(batch)) for batch in text)]

    def state_dict(self) -> State:
        return {"source": self.source.state_dict(), "text": self.text.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.source.load_state_dict(state["source"])
        self.text.load_state_dict(state["text"])
