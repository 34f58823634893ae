"""What the engine decodes with: an ordinary module, whose weights may change between steps, or a compiled int8 model.

Both read pieces of prompts and answers into the slots of a cache, and make logits of the hidden states that are wanted.
Shapes: B rows of one forward, T time, N tokens of all pieces, D width, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT, Config
from homeroom.models.kv_cache import CacheView, KVCache, Piece
from homeroom.models.precision import products_dtype

PADDING = 64  # tokens: of so many, a forward costs twice what it costs of none


class Decoder(Protocol):
    @property
    def config(self) -> Config: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def version(self) -> int:
        """Another number when the weights are others: what was cached under the old ones is worth nothing."""
        ...

    def quietly(self) -> AbstractContextManager[None]:
        """What is computed of the results stands in here, so as not to slow down the next step."""
        ...

    def new_cache(self, slots: int, length: int) -> KVCache: ...
    def fits(self, cache: KVCache) -> bool:
        """Whether the cache is in the number format in which it would be read now."""
        ...

    def read(self, cache: KVCache, pieces: Sequence[Piece]) -> Tensor:
        """The hidden states (N, D) of all pieces' tokens, in order."""
        ...

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, V) in float32, which the caller may write into."""
        ...


def decoder_of(model: "GPT | CompiledGPT") -> Decoder:
    return ModuleDecoder(model) if isinstance(model, GPT) else model


class ModuleDecoder:
    """A live module, read at every step as it stands."""

    def __init__(self, model: GPT) -> None:
        self.model, self.config = model, model.config

    @property
    def device(self) -> torch.device:
        return self.model.embedding.weight.device

    @property
    def version(self) -> int:
        # torch counts what is written into a tensor, an optimizer's steps included.
        return sum(parameter._version for parameter in self.model.parameters())

    def quietly(self) -> AbstractContextManager[None]:
        return nullcontext()

    def new_cache(self, slots: int, length: int) -> KVCache:
        return self.model.new_cache(slots, length)

    def fits(self, cache: KVCache) -> bool:
        return cache.dtype == products_dtype(self.model.embedding.weight)

    def read(self, cache: KVCache, pieces: Sequence[Piece]) -> Tensor:
        was_training = self.model.training
        self.model.eval()
        try:
            lengths = [len(piece.token_ids) for piece in pieces]
            groups = alike(lengths)
            read = [self._rows(cache, [pieces[number] for number in group]) for group in groups]
            if len(groups) == 1:
                return read[0]
            found: dict[int, Tensor] = {}
            for group, hidden_ND in zip(groups, read, strict=True):
                found |= zip(group, hidden_ND.split([lengths[number] for number in group]), strict=True)
            return torch.cat([found[number] for number in range(len(pieces))])
        finally:
            self.model.train(was_training)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        return self.model.logits(hidden_ND)

    def _rows(self, cache: KVCache, pieces: Sequence[Piece]) -> Tensor:
        """The pieces as rows of one forward, each padded with its own last token at that token's own position.

        So padding writes into the cache what stands there anyway: there may be no room behind a slot's last position.
        """
        T = max(len(piece.token_ids) for piece in pieces)
        rows = [[*piece.token_ids, *[piece.token_ids[-1]] * (T - len(piece.token_ids))] for piece in pieces]
        tokens_BT = torch.tensor(rows)
        starts_B, ends_B = (
            torch.tensor([piece.start for piece in pieces]),
            torch.tensor([piece.end for piece in pieces]),
        )
        positions_BT = torch.minimum(starts_B[:, None] + torch.arange(T), ends_B[:, None] - 1)
        slots = [piece.slot for piece in pieces]
        in_order = len(slots) if slots == list(range(len(slots))) else None
        extent = max(piece.end for piece in pieces)
        view = CacheView(
            cache, torch.tensor(slots, device=self.device), positions_BT.to(self.device), extent, first_slots=in_order
        )
        hidden_BTD = self.model.hidden(tokens_BT.to(self.device), cache=view)
        if T == 1:
            return hidden_BTD[:, 0]
        lengths_B = torch.tensor([len(piece.token_ids) for piece in pieces], device=self.device)
        return hidden_BTD[torch.arange(T, device=self.device) < lengths_B[:, None]]


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Pieces to be read in one forward, by their numbers: padding them costs less than a forward more."""
    groups: list[list[int]] = []
    padding = 0
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if groups:
            padding += len(groups[-1]) * (lengths[number] - lengths[groups[-1][-1]])
        if groups and padding <= PADDING:
            groups[-1].append(number)
        else:
            groups.append([number])
            padding = 0
    return [sorted(group) for group in groups]
