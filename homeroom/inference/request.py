"""What is asked of the engine and what comes back: token ids in, token ids and log-probabilities out.

Text, templates and stop strings belong to the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor

from homeroom.settings import Frozen

FinishReason = Literal["stop", "length", "cancelled"]


class Sampling(Frozen):
    """How the next token is picked. Temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 keep every token."""

    temperature: NonNegativeFloat = 1.0
    top_k: NonNegativeInt = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: PositiveFloat = 1.0
    max_tokens: Annotated[int, Field(ge=0, description="0: only the prompt is read and scored")] = 64
    seed: int | None = Field(None, description="the same seed gives the same answer, whoever else is being answered")


def draws(sampling: Sampling, count: int) -> list[Sampling]:
    """For several answers to one prompt: with a seed, the next one has the next seed."""
    seeds = [None if sampling.seed is None else (sampling.seed + draw) % 2**63 for draw in range(count)]
    return [sampling.model_copy(update={"seed": seed}) for seed in seeds]


class Constraint(Protocol):
    """What an answer may say, one token at a time: see `homeroom.inference.constraints`."""

    def allowed(self) -> Tensor:
        """Which tokens may come next (V,)."""
        ...

    def accept(self, token_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to go on: `scored` is what counts, after `given` (empty: the choice itself is what counts)."""

    scored: Sequence[int]
    given: Sequence[int] = ()

    @property
    def token_ids(self) -> list[int]:
        return [*self.given, *self.scored]


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt. `id` names it among the running ones.

    `top` asks for so many likeliest tokens beside each one that is picked. With `score_from` the prompt's own tokens
    from that position on are scored too. A `constraint` belongs to one request alone: it remembers what was said.
    `choices` are each scored behind the prompt, which is read once for all of them; such a request asks for no tokens.
    """

    id: str
    prompt_ids: list[int]
    sampling: Sampling = field(default_factory=Sampling)
    top: int = 0
    score_from: int | None = None
    constraint: Constraint | None = None
    choices: Sequence[Choice] = ()

    @property
    def length(self) -> int:
        """Tokens of the prompt and its longest choice."""
        return len(self.prompt_ids) + max((len(choice.token_ids) for choice in self.choices), default=0)


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token's log-probability and the likeliest ones in its place, as (token id, log-probability)."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one request: a token with its log-probability, and why it ended if it did.

    The last event of a request that was cancelled, or that asked for no tokens, has none. `prompt` comes with the
    first, `choices` with the last.
    """

    request_id: str
    token_id: int | None
    logprob: float
    finish_reason: FinishReason | None = None
    top: tuple[tuple[int, float], ...] = ()
    prompt: tuple[TokenScore, ...] = ()
    choices: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer. `logprobs` are the model's own, at temperature 1 and before any filter; the end token counts.

    `choices` has each one's log p(scored | prompt, given), in nats.
    """

    request_id: str
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason
    prompt: tuple[TokenScore, ...] = ()
    choices: tuple[float, ...] = ()
