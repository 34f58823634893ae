"""Thumbs as a Source for KTO: answers as token ids, what the reference thinks of each, and the policy's divergence.

The divergence is estimated at every step from answers to other questions than their own (Ethayarajh et al. 2024, §4.1),
which the live policy reads without gradient. Where thumbs come from is left to `homeroom.data.preferences`.
Shapes: A answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from homeroom.data.batches import Conversation, Groups, State, ThumbBatch, pack
from homeroom.models.gpt import GPT
from homeroom.models.precision import products_in
from homeroom.text.chat_template import Answer
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.pairs import Lesson, answered, log_probs_of, with_prompts

MICRO_ANSWERS = 32


class Thumb(Lesson, Protocol):
    """What is read of a `homeroom.data.preferences.Thumb`."""

    @property
    def answer(self) -> Answer: ...
    @property
    def liked(self) -> bool: ...
    @property
    def weight(self) -> float: ...


@dataclass(frozen=True)
class Liked:
    """An answer with its thumb, and another question's answer in its place; the reference's Σ log p of both."""

    answer: Conversation
    liked: bool
    reference: float
    elsewhere: Conversation
    elsewhere_reference: float


def liked_of(thumbs: Sequence[Thumb], tokenizer: Tokenizer, reference: GPT) -> list[Liked]:
    """The thumbs whose answers fit the reference's context."""
    limit = reference.config.max_length + 1  # the last token is only predicted, never read
    answers = [
        (answered(prompt_ids, one.answer, tokenizer, one.weight), one.liked)
        for one, prompt_ids in with_prompts(thumbs, tokenizer)
    ]
    kept = [(one, liked) for one, liked in answers if len(one.token_ids) <= limit and any(one.learn)]
    own = [one for one, _ in kept]
    elsewhere = [_elsewhere(own, number, limit) for number in range(len(own))]
    every = [*own, *elsewhere]
    log_probs: list[float] = []
    for start in range(0, len(every), MICRO_ANSWERS):
        log_probs += log_probs_of(reference, every[start : start + MICRO_ANSWERS])
    return [
        Liked(one, liked, log_probs[number], other, log_probs[len(kept) + number])
        for number, ((one, liked), other) in enumerate(zip(kept, elsewhere, strict=True))
    ]


def _elsewhere(answers: Sequence[Conversation], number: int, limit: int) -> Conversation:
    """This question with what was answered to the next other one that fits behind it."""
    mine = answers[number]
    question = mine.prompt_ids
    for step in range(1, len(answers)):
        other = answers[(number + step) % len(answers)]
        begins = len(other.prompt_ids)
        if other.prompt_ids != question and len(question) + len(other.token_ids) - begins <= limit:
            said = other.token_ids[begins:]
            return Conversation([*question, *said], [*[False] * len(question), *other.learn[begins:]])
    return mine


class Thumbs:
    """Steps of `per_step` answers. The policy is the module that is being trained, read at each step as it stands."""

    def __init__(
        self, rows: Sequence[Liked], policy: GPT, *, per_step: int, micro: int, seed: int, dtype: torch.dtype
    ) -> None:
        self._policy, self._dtype, self._micro = policy, dtype, micro
        self._groups: Groups[list[Liked]] = Groups(rows, list, per_step=per_step, micro=per_step, seed=seed)

    def __iter__(self) -> Iterator[list[ThumbBatch]]:
        for (rows,) in self._groups:
            divergence = self._divergence(rows)
            pieces = (rows[start : start + self._micro] for start in range(0, len(rows), self._micro))
            yield [_collate(piece, divergence) for piece in pieces]

    def _divergence(self, rows: Sequence[Liked]) -> torch.Tensor:
        log_probs: list[float] = []
        with products_in(self._dtype, self._policy.embedding.weight.device.type):
            for start in range(0, len(rows), self._micro):
                log_probs += log_probs_of(self._policy, [row.elsewhere for row in rows[start : start + self._micro]])
        moved = [now - row.elsewhere_reference for now, row in zip(log_probs, rows, strict=True)]
        return torch.tensor(sum(moved) / len(moved)).clamp(min=0)

    def state_dict(self) -> State:
        return self._groups.state_dict()

    def load_state_dict(self, state: State) -> None:
        self._groups.load_state_dict(state)


def _collate(rows: Sequence[Liked], divergence: torch.Tensor) -> ThumbBatch:
    return ThumbBatch(
        *pack([row.answer for row in rows]),
        reference_A=torch.tensor([row.reference for row in rows]),
        liked_A=torch.tensor([row.liked for row in rows]),
        divergence=divergence,
        weight_A=torch.tensor([row.answer.weight for row in rows]),
    )
