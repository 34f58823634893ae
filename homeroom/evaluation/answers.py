"""A model's own answers to questions, sampled through the Engine as the server samples them.

Generated once and then measured by everything that needs them (`judging.py`); grading is left to others.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from homeroom.inference.engine import SLOTS, Engine
from homeroom.inference.request import Completion, Request, Sampling
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.tasks.base import Question
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Answer:
    """What a model said to one question. `token_ids` are the sampler's own, with the end token if it came."""

    question_id: str
    text: str
    token_ids: tuple[int, ...]
    ended: bool


def answerable(questions: Sequence[Question], context: int, tokenizer: Tokenizer, max_tokens: int) -> list[Question]:
    """The questions that leave room for a whole answer in a context of so many tokens."""
    room = context - max_tokens
    return [question for question in questions if len(prompt_ids(question.prompt, tokenizer)) <= room]


def generate_answers(
    model: GPT | CompiledGPT,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    sampling: Sampling,
    seed: int,
    *,
    slots: int = SLOTS,
    on_answer: Callable[[int], None] | None = None,
) -> list[Answer]:
    """One sampled answer per question, in their order.

    Each question has its own random stream, drawn from its id: but for the rounding of products, an answer depends
    neither on the other questions nor on their order, and two models are compared under the same draws.
    """
    engine = Engine(model, end_id=tokenizer.end_ids, slots=slots)
    requests = answer_requests(tokenizer, questions, sampling, seed)

    def finished(completion: Completion) -> None:
        if on_answer is not None:
            on_answer(len(completion.token_ids))

    return [answer_of(completion, tokenizer) for completion in engine.generate(requests, finished)]


def answer_requests(
    tokenizer: Tokenizer, questions: Sequence[Question], sampling: Sampling, seed: int
) -> list[Request]:
    """What is asked of an engine, each question under its own id and with its own random stream."""
    return [
        Request(
            question.id,
            prompt_ids(question.prompt, tokenizer),
            sampling.model_copy(update={"seed": _seed(question.id, seed)}),
        )
        for question in questions
    ]


def answer_of(completion: Completion, tokenizer: Tokenizer) -> Answer:
    return Answer(
        completion.request_id,
        tokenizer.decode(completion.token_ids).strip(),
        tuple(completion.token_ids),
        completion.finish_reason == "stop",
    )


def _seed(question_id: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{question_id}".encode(), digest_size=7).digest())
