"""What is asked of the engine and what comes back: token ids in, token ids and log-probabilities out.

Text, templates and stop strings belong to the caller.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from homeroom.settings import Frozen

FinishReason = Literal["stop", "length", "cancelled"]


class Sampling(Frozen):
    """How the next token is picked. Temperature 0 is greedy; top_k 0 and top_p 1 keep every token."""

    temperature: NonNegativeFloat = 1.0
    top_k: NonNegativeInt = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetition_penalty: PositiveFloat = 1.0
    max_tokens: PositiveInt = 64
    seed: int | None = Field(None, description="the same seed gives the same answer, whoever else is being answered")


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt. `id` names it among the running ones."""

    id: str
    prompt_ids: list[int]
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one request: a token with its log-probability, and why it ended if it did.

    A cancelled request's last event has no token.
    """

    request_id: str
    token_id: int | None
    logprob: float
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer. `logprobs` are the model's own, at temperature 1 and before any filter; the end token counts."""

    request_id: str
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason
