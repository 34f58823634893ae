"""Preference pairs as a Source for DPO: rows of token ids, with the reference model's log-probability of each.

The reference is asked once, before training, and not at every step. Where pairs come from is left to
`homeroom.data.preferences`, what is made of them to the objective.
Shapes: B rows, T time, A answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from homeroom.data.batches import Conversation, Groups, PreferenceBatch, pack
from homeroom.models.gpt import GPT
from homeroom.progress import say
from homeroom.text.chat_template import Answer, render, with_answer
from homeroom.text.errors import NoChatTemplate
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.objectives.preference import answer_log_probs


class Lesson(Protocol):
    """What is read of everything that people said of an answer."""

    @property
    def messages(self) -> Sequence[Mapping[str, str]]: ...


class Pair(Lesson, Protocol):
    """What is read of a `homeroom.data.preferences.Pair`."""

    @property
    def chosen(self) -> Answer: ...
    @property
    def rejected(self) -> Answer: ...
    @property
    def weight(self) -> float: ...


LessonType = TypeVar("LessonType", bound=Lesson)


@dataclass(frozen=True)
class Rows:
    """A pair as token ids, with what the reference model thinks of each answer. Both carry the pair's weight."""

    chosen: Conversation
    rejected: Conversation
    reference: tuple[float, float]

    def inverted(self) -> "Rows":
        return Rows(self.rejected, self.chosen, self.reference[::-1])


def fitting(pairs: Sequence[Pair], tokenizer: Tokenizer, context: int) -> list[tuple[Conversation, Conversation]]:
    """The pairs that fit the context, both of their answers with something to learn."""
    answers = [
        (
            answered(prompt_ids, pair.chosen, tokenizer, pair.weight),
            answered(prompt_ids, pair.rejected, tokenizer, pair.weight),
        )
        for pair, prompt_ids in with_prompts(pairs, tokenizer)
    ]
    limit = context + 1  # the last token is only predicted, never read
    return [both for both in answers if all(len(one.token_ids) <= limit and any(one.learn) for one in both)]


def rows_of(pairs: Sequence[Pair], tokenizer: Tokenizer, reference: GPT, *, micro_pairs: int = 16) -> list[Rows]:
    """The pairs that fit the reference's context. It reads an answer once, however many pairs it stands in."""
    kept = fitting(pairs, tokenizer, reference.config.max_length)
    answers = list({_key(one): one for both in kept for one in both}.values())
    log_probs: dict[tuple[int, ...], float] = {}
    for start in range(0, len(answers), 2 * micro_pairs):
        some = answers[start : start + 2 * micro_pairs]
        log_probs |= zip(map(_key, some), log_probs_of(reference, some), strict=True)
    return [Rows(chosen, rejected, (log_probs[_key(chosen)], log_probs[_key(rejected)])) for chosen, rejected in kept]


def _key(answer: Conversation) -> tuple[int, ...]:
    """What makes two answers one: prompt and answer, token for token."""
    return tuple(answer.token_ids)


def conversation(
    messages: Sequence[Mapping[str, str]], answer: Answer, tokenizer: Tokenizer, weight: float = 1.0
) -> Conversation:
    """An answer to messages. Only it is learned, not what the assistant said before."""
    return answered(render(messages, tokenizer, for_generation=True).token_ids, answer, tokenizer, weight)


def answered(prompt_ids: Sequence[int], answer: Answer, tokenizer: Tokenizer, weight: float = 1.0) -> Conversation:
    """As `conversation`, with the messages as token ids."""
    whole = with_answer(prompt_ids, answer, tokenizer)
    return Conversation(whole.token_ids, whole.learn, weight)


def with_prompts(lessons: Sequence[LessonType], tokenizer: Tokenizer) -> list[tuple[LessonType, list[int]]]:
    """Each lesson and its messages as token ids. Some templates take no system message, or want question and answer by
    turns: what this model could never be asked is left out, and that is said. Raises NoChatTemplate."""
    taken, refused = [], list[str]()
    for one in lessons:
        try:
            taken.append((one, render(one.messages, tokenizer, for_generation=True).token_ids))
        except NoChatTemplate:  # it refuses everything
            raise
        except ValueError as reason:
            refused.append(str(reason))
    if refused:
        say(
            "lessons",
            f"{len(refused)} of {len(lessons)} left out: the model's chat template refuses them ({refused[0]})",
        )
    return taken


@torch.no_grad()
def log_probs_of(model: GPT, conversations: Sequence[Conversation]) -> list[float]:
    """Σ log p of each conversation's learned tokens."""
    tokens_BT, next_token_BT, learn_BT, document_BT = pack(conversations)
    outputs = model(tokens_BT, document_BT)
    log_probs: list[float] = answer_log_probs(outputs, next_token_BT, learn_BT, document_BT).tolist()
    return log_probs


def collate(questions: Sequence[Sequence[Rows]]) -> PreferenceBatch:
    """All pairs of some questions. An answer that stands in several of them is read once."""
    rows = [row for question in questions for row in question]
    answers = {
        _key(answer): (answer, log_prob)
        for row in rows
        for answer, log_prob in zip((row.chosen, row.rejected), row.reference, strict=True)
    }
    place = {key: number for number, key in enumerate(answers)}
    return PreferenceBatch(
        *pack([answer for answer, _ in answers.values()]),
        reference_A=torch.tensor([log_prob for _, log_prob in answers.values()]),
        pairs_P2=torch.tensor([[place[_key(row.chosen)], place[_key(row.rejected)]] for row in rows]),
        weight_P=torch.tensor([row.chosen.weight for row in rows]),
    )


def by_question(rows: Sequence[Rows]) -> list[list[Rows]]:
    """The pairs of each question, in the order in which questions come first."""
    questions: dict[tuple[int, ...], list[Rows]] = {}
    for row in rows:
        asked = tuple(row.chosen.prompt_ids)
        questions.setdefault(asked, []).append(row)
    return list(questions.values())


def preference_pairs(
    questions: Sequence[Sequence[Rows]], *, per_step: int, micro: int, seed: int
) -> Groups[PreferenceBatch]:
    """Steps of all pairs of `per_step` questions."""
    return Groups(questions, collate, per_step=per_step, micro=micro, seed=seed)


def preference_accuracy(model: GPT, rows: Sequence[Rows], *, micro_pairs: int = 16) -> float:
    """The share of pairs whose chosen answer the model has come to prefer, compared with the reference."""
    right = 0
    for margin in _margins(model, rows, micro_pairs):
        right += margin > 0
    return right / len(rows) if rows else 0.0


def _margins(model: GPT, rows: Sequence[Rows], micro_pairs: int) -> Iterator[float]:
    for start in range(0, len(rows), micro_pairs):
        some = rows[start : start + micro_pairs]
        log_probs = log_probs_of(model, [one for row in some for one in (row.chosen, row.rejected)])
        for number, row in enumerate(some):
            yield log_probs[2 * number] - row.reference[0] - log_probs[2 * number + 1] + row.reference[1]
