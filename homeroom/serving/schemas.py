"""What the API answers, as OpenAPI describes it. Requests are described where they are read: openai_api.py,
feedback_api.py.

Answers are built as plain dicts: a test holds that they fit these, and serving does not pay for it.
"""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import ConfigDict, Field

FinishReason = Literal["stop", "length"]


class Described(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Described):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(Described):
    error: ErrorDetail


class Health(Described):
    status: Literal["ok", "stopping"]
    model: str
    candidate: str | None  # on trial beside it
    answers_in_work: int


class Model(Described):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(Described):
    object: Literal["list"]
    data: list[Model]


class AnswerMessage(Described):
    role: Literal["assistant"]
    content: str
    refusal: None


class Alternative(Described):
    token: str
    logprob: float
    bytes: list[int]


class ScoredToken(Alternative):
    top_logprobs: list[Alternative]


class Logprobs(Described):
    content: list[ScoredToken]
    refusal: None


class Choice(Described):
    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class Usage(Described):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Place(Described):
    """Where the answers are stored: votes name them."""

    conversation_id: str
    question_id: str
    answer_ids: list[str]


class Completion(Described):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: Usage
    homeroom: Place


class TextLogprobs(Described):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class TextChoice(Described):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason
    token_ids: list[int] = Field(default=[], description="with homeroom.token_ids = true")


class TextCompletion(Described):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: Annotated[list[TextChoice], Field(min_length=1)]
    usage: Usage


class Tokens(Described):
    object: Literal["tokens"]
    tokens: list[int]
    texts: list[str]
    count: int


class Vote(Described):
    object: Literal["vote"]
    id: str
    message_id: str
    user: str
    value: Literal[1, 0, -1]
    at: str


class Votes(Described):
    object: Literal["list"]
    data: list[Vote]


class Edit(Described):
    object: Literal["edit"]
    id: str
    message_id: str
    user: str
    text: str
    at: str


class Consent(Described):
    object: Literal["consent"]
    conversation_id: str
    consent: bool


class Deleted(Described):
    """How many rows went, by table; what had been made of them, and which of it are models."""

    object: Literal["feedback.deleted"]
    user: str
    rows: dict[str, int]
    artifacts: list[str]
    models: list[str]


class Ranking(Described):
    object: Literal["ranking"]
    id: str
    question_id: str
    user: str
    state: Literal["ranked", "skipped", "withdrawn"]
    tiers: list[list[str]]
    flags: dict[str, list[Literal["toxic", "untrue", "off-topic", "unhelpful"]]]
    ideal_answer: str | None
    at: str


class Comparison(Described):
    object: Literal["comparison"]
    id: str
    question_id: str
    left_id: str
    right_id: str
    user: str
    choice: Literal["left", "right", "tie"]
    kind: Literal["samples", "trial"]
    at: str


class Turn(Described):
    role: Literal["system", "user", "assistant"]
    content: str


class AnonymousAnswer(Described):
    id: str
    text: str


class Item(Described):
    """What to rank: nothing tells which model gave which answer."""

    id: str
    question_id: str
    history: list[Turn]
    answers: list[AnonymousAnswer]


class Progress(Described):
    ranked: int
    skipped: int
    waiting: int


class Next(Described):
    object: Literal["feedback.next"]
    item: Item | None
    progress: Progress


class Counts(Described):
    object: Literal["feedback.counts"]
    conversations: int
    messages: int
    edits: int
    votes: int
    up: int
    down: int
    rankings: int
    comparisons: int
    items: int


# Every route may refuse. What is not listed, 500 above all, is a mistake of ours.
REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Error, "description": "Refused: the request, or who sent it"},
    503: {"model": Error, "description": "The server is stopping, or has no model"},
}
# Of each event: before OpenAPI 3.2 there is no word for the stream as a whole.
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
COMPLETION: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Completion,
        "description": "The answer; with stream = true as Server-Sent Events, the last of them [DONE]",
        "content": {"text/event-stream": {"schema": _EVENT}},
    }
}
TEXT_COMPLETION: dict[int | str, dict[str, Any]] = {200: COMPLETION[200] | {"model": TextCompletion}}
HEALTH: dict[int | str, dict[str, Any]] = {
    "4XX": REFUSALS["4XX"],
    503: {"model": Health, "description": "It takes nothing new"},
}
METRICS: dict[int | str, dict[str, Any]] = {
    "4XX": REFUSALS["4XX"],
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}},
}
