"""A nano model with something in every weight, random batches of every kind, and the gradient that the loop makes."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from homeroom.data.batches import Experience, PreferenceBatch, RankingBatch, TokenBatch
from homeroom.models.gpt import GPT, Config
from homeroom.training.loop import LoopSettings, train

VOCABULARY, LENGTH = 29, 12


class Steps:
    """A Source of these steps and no more."""

    def __init__(self, *steps: list[Any]) -> None:
        self.steps, self.done = steps, 0

    def __iter__(self) -> Iterator[list[Any]]:
        for step in self.steps[self.done :]:
            self.done += 1
            yield step

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = state["done"]


@pytest.fixture
def steps() -> type[Steps]:
    return Steps


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture
def nano() -> GPT:
    """Fresh weights are partly zero, which would hide half of a gradient."""
    model = GPT(Config(vocab_size=VOCABULARY, max_length=LENGTH, layers=2, width=16, heads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def _learn(rows: int) -> Tensor:
    """Answers of very different lengths, so that pieces weigh differently; one unbroken run a row, never empty."""
    start, length = torch.randint(1, 6, (rows, 1)), torch.randint(1, 7, (rows, 1))
    index = torch.arange(LENGTH)
    return (index >= start) & (index < start + length)


def _alone(rows: int) -> Tensor:
    """Every row one document, numbered from 1."""
    return torch.arange(1, rows + 1)[:, None].expand(rows, LENGTH).clone()


def _tokens(rows: int) -> Tensor:
    return torch.randint(VOCABULARY, (rows, LENGTH))


@pytest.fixture
def token_batch() -> TokenBatch:
    return TokenBatch(_tokens(16), _tokens(16), _learn(16))


@pytest.fixture
def preference_batch() -> PreferenceBatch:
    """Of two answers each, so that the batch can be cut; some stand in two pairs."""
    pairs_P2 = torch.tensor([[0, 1], [1, 0], [3, 2], [4, 5], [6, 7], [8, 9], [9, 8], [10, 11], [13, 12], [14, 15]])
    return PreferenceBatch(_tokens(16), _tokens(16), _learn(16), _alone(16), -5 * torch.rand(16) - 10, pairs_P2)


@pytest.fixture
def ranking_batch() -> RankingBatch:
    """Eight questions with three answers each; the fifth's answers are all of one tier."""
    tier_A = torch.tensor([0, 1, 2, 0, 1, 1, 0, 2, 1, 2, 0, 0, 1, 1, 1, 0, 3, 4, 1, 0, 2, 0, 0, 1])
    last_A = torch.arange(24) * LENGTH + torch.randint(LENGTH, (24,))
    return RankingBatch(_tokens(24), _alone(24), last_A, torch.arange(24) // 3, tier_A)


@pytest.fixture
def experience() -> Experience:
    """Far enough from the sampler and its values that both clips are at work."""
    learn_BT = _learn(16)
    noise = [torch.where(learn_BT, torch.randn(learn_BT.shape), 0.0) for _ in range(4)]
    return Experience(
        tokens_BT=_tokens(16),
        next_token_BT=_tokens(16),
        learn_BT=learn_BT,
        log_probs_BT=torch.where(learn_BT, -3.6 + 0.3 * noise[0], 0.0),
        values_BT=0.3 * noise[1],
        advantages_BT=noise[2],
        returns_BT=noise[3],
    )


@pytest.fixture
def split() -> Callable[[Any, int], list[Any]]:
    def split(batch: Any, pieces: int) -> list[Any]:
        columns = {name: value.tensor_split(pieces) for name, value in vars(batch).items() if value is not None}
        # A piece counts its answers and their positions anew.
        for name in {"document_BT", "last_A"} & columns.keys():
            step = 1 if name == "document_BT" else LENGTH
            firsts = [sum(len(piece) for piece in columns[name][:n]) for n in range(pieces)]
            columns[name] = tuple(piece - first * step for piece, first in zip(columns[name], firsts, strict=True))
        if "pairs_P2" in columns:
            rows = len(batch.reference_A) // pieces
            place_P = batch.pairs_P2[:, 0] // rows
            columns["pairs_P2"] = tuple(batch.pairs_P2[place_P == n] - n * rows for n in range(pieces))
        return [replace(batch, **{name: column[n] for name, column in columns.items()}) for n in range(pieces)]

    return split


@pytest.fixture
def gradient() -> Callable[..., dict[str, Tensor]]:
    """What the loop accumulates for one step, before it clips."""

    def gradient(model: nn.Module, objective: Any, micro_batches: Sequence[Any]) -> dict[str, Tensor]:
        model = copy.deepcopy(model)
        found: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            parameter.register_post_accumulate_grad_hook(
                lambda p, name=name: found.update({name: p.grad.clone()})  # type: ignore[misc]
            )
        train(model, objective, Steps(list(micro_batches)), LoopSettings(steps=1, precision="float32"))
        return found

    return gradient
