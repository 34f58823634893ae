"""Whether an exported model answers elsewhere as it answers here: the same token ids, the same greedy continuation.

Elsewhere is `transformers`, on the exported files (in_transformers.py); here are Homeroom's tokenizer, template and
engine, on the model that was exported. A GGUF file that rounds weights is compared with itself as Homeroom reads it,
and beside that with the model before rounding. Writing files, and what becomes of a mismatch, is the stage's business.
Shapes: T time, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from homeroom.evaluation import in_transformers
from homeroom.evaluation.in_transformers import InTransformers
from homeroom.evaluation.portability_prompts import Prompt, prompts
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.checkpoint import load_gguf
from homeroom.models.gpt import GPT
from homeroom.settings import HomeroomError, Json, as_json
from homeroom.text.chat_template import render
from homeroom.text.errors import ChatTemplateError
from homeroom.text.gguf_tokenizer import JSON, from_gguf
from homeroom.text.tokenizer import Tokenizer

MAX_TOKENS = 64
# As a share of a row's spread (largest less smallest logit), as all noise and all gaps here. Two programs add in other
# orders, which is measured in every proof and was 1e-6 to 1e-5 so far. Picks that are closer than what was measured are
# a tie, which either may break; beyond this they are none, whatever was measured.
NEAR_TIE = 1e-4
# Beyond this it is no rounding any more, even where every pick is the same: another epsilon, other positions.
LARGEST_DIFFERENCE = 1e-3


class Mismatch(HomeroomError):
    """The exported model answers otherwise elsewhere. The message says to what, from which token on, and how."""


@dataclass(frozen=True)
class Difference:
    """The first token that differs: its place, and what either side has there (None: it has ended)."""

    position: int
    here: int | None
    there: int | None


@dataclass(frozen=True)
class Tie:
    """A pick that differs and counts as equal: both sides' logits of the two tokens are at most `gap` apart."""

    at: Difference
    gap: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One prompt's outcome. `continuation` is both sides'; `unrounded` is where the model before rounding differs."""

    name: str
    prompt: Json
    token_ids: list[int] | None  # None: both templates refuse it
    continuation: list[int] = field(default_factory=list)
    text: str = ""
    ties: list[Tie] = field(default_factory=list)
    unrounded: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class Proof:
    tokenizer: str  # what was compared with what
    model: str
    prompts: list[Compared]
    max_tokens: int
    logit_difference: float  # the noise: a tie is closer
    # Of a GGUF file alone: it is rounded; how a program cuts text that goes by `tokenizer.ggml.pre`, as llama.cpp does.
    rounded: bool = False
    other_cutting: dict[str, Difference] | None = None

    @property
    def near_ties(self) -> int:
        return sum(len(one.ties) for one in self.prompts)

    @property
    def as_unrounded(self) -> int:
        return sum(one.unrounded is None for one in self.prompts)

    def as_json(self) -> dict[str, Json]:
        counts = {"near_ties": self.near_ties, "as_unrounded": self.as_unrounded}
        written = as_json({**asdict(self), "count": len(self.prompts), **counts})
        assert isinstance(written, dict)
        return written


def prove(
    exported: Path,
    model: GPT,
    tokenizer: Tokenizer,
    *,
    max_tokens: int = MAX_TOKENS,
    on_prompt: Callable[[], object] = lambda: None,
    on_phase: Callable[[str], object] = lambda what: None,
) -> Proof:
    """Compare a Hugging Face folder or a GGUF file with the model and the tokenizer that it was written from.

    Raises Mismatch at the first difference, CannotLoad where transformers refuses the files, CheckpointError where our
    own reader does, and HomeroomError where transformers is not installed.
    """
    program = f"transformers {in_transformers.version()}"
    if exported.is_dir():
        here, there = model, InTransformers.folder(exported)
        end_ids, by_name = there.end_ids, None
        compared = f"the model as it is stored (engine, float32) with {program} on the folder"
        ids = f"Homeroom's tokenizer and template with {program} (AutoTokenizer, apply_chat_template) on the folder"
    else:
        here, metadata = load_gguf(exported)
        there = InTransformers.gguf(exported, metadata)
        end_ids = from_gguf(metadata).end_ids & tokenizer.end_ids  # others end as well: what llama.cpp knows by name
        by_name = from_gguf({key: value for key, value in metadata.items() if key != JSON})
        told = f", told what it does not read ({', '.join(there.told)})" if there.told else ""
        compared = f"the file as Homeroom reads it (engine, float32) with {program} on the file (gguf_file{told})"
        ids = f"Homeroom's tokenizer and template with {program} on the file's {JSON} and chat template"
    if end_ids != tokenizer.end_ids:
        raise Mismatch(f"generation ends with tokens {sorted(tokenizer.end_ids)} here, {sorted(end_ids)} in {exported}")
    rounded = here is not model and not _equal(here, model)
    judge = _Judge(here, there, tokenizer, max_tokens, program)
    asked = prompts(talks=tokenizer.chat_template is not None)
    encoded = [judge.token_ids(prompt) for prompt in asked]
    on_phase(f"{len(asked)} answers here")
    continuations = judge.greedy(here, encoded)
    before = judge.greedy(model, encoded) if rounded else continuations
    on_phase(f"{len(asked)} answers in {program}")
    theirs = judge.there_at_once(encoded)
    on_phase("comparing logits")
    outcomes = []
    for row in zip(asked, encoded, continuations, theirs, before, strict=True):
        outcomes.append(judge.compare(*row))
        on_prompt()
    judge.hold_ties(asked, outcomes)
    return Proof(
        tokenizer=ids,
        model=compared,
        prompts=outcomes,
        max_tokens=max_tokens,
        logit_difference=judge.largest,
        rounded=rounded,
        other_cutting=None if by_name is None else _other_cutting(asked, encoded, by_name),
    )


class _Judge:
    def __init__(self, here: GPT, there: InTransformers, tokenizer: Tokenizer, max_tokens: int, program: str) -> None:
        self._here, self._there, self._tokenizer = here, there, tokenizer
        self._max_tokens, self._program = max_tokens, program
        self.largest = 0.0

    def token_ids(self, prompt: Prompt) -> list[int] | None:
        """Both sides' ids of a prompt."""
        here = _ids(prompt, self._tokenizer)
        if isinstance(prompt.asked, str):
            there: list[int] | None = self._there.text_ids(prompt.asked)
        else:
            there = self._there.conversation_ids(prompt.asked)
        if here is None or there is None:
            if here is not there:
                side = self._program if there is None else "Homeroom"
                raise Mismatch(f"prompt '{prompt.name}' ({prompt.asked!r}): the template refuses it in {side} alone")
            return None
        if differs := _first_difference(here, there):
            raise self._mismatch(prompt, "of the prompt", differs)
        return here

    def greedy(self, model: GPT, rows: Sequence[list[int] | None]) -> list[list[int]]:
        """The engine's continuations; none where a prompt leaves no room."""
        engine = Engine(model, end_id=self._tokenizer.end_ids)
        sampling = Sampling(temperature=0, max_tokens=self._max_tokens)
        requests = {
            str(number): Request(str(number), list(row), sampling)
            for number, row in enumerate(rows)
            if row and self._room(row)
        }
        made = {done.request_id: done.token_ids for done in engine.generate(list(requests.values()))}
        return [made.get(str(number), []) for number in range(len(rows))]

    def there_at_once(self, rows: Sequence[list[int] | None]) -> list[list[int]]:
        """Their continuations of all prompts in one batch, many times faster; none where the context is too short."""
        whole = {number: row for number, row in enumerate(rows) if row and self._room(row) == self._max_tokens}
        if not whole:
            return [[] for _ in rows]
        made = self._there.continuations(list(whole.values()), self._max_tokens, self._tokenizer.end_ids)
        found = dict(zip(whole, made, strict=True))
        return [found.get(number, []) for number in range(len(rows))]

    def compare(
        self,
        prompt: Prompt,
        token_ids: list[int] | None,
        said: list[int],
        there_said: list[int],
        before: Sequence[int],
    ) -> Compared:
        """Both sides' continuations, a prompt alone where they are not the same at once.

        After a near tie both go on from our pick, so that all of it is compared.
        """
        written = as_json(prompt.asked)
        if not token_ids or not said:
            return Compared(name=prompt.name, prompt=written, token_ids=token_ids)
        agreed: list[int] = []
        ties: list[Tie] = []
        while True:
            start, left = token_ids + agreed, self._room(token_ids) - len(agreed)
            ours = said if not agreed else self.greedy(self._here, [start])[0][:left]
            theirs = there_said
            if agreed or theirs != ours:
                (theirs,) = self._there.continuations([start], left, self._tokenizer.end_ids)
            differs = _first_difference(ours, theirs)
            if differs is None:
                agreed += ours
                break
            there_at = Difference(len(agreed) + differs.position, differs.here, differs.there)
            gap = self._gap(start + ours[: differs.position], differs)
            if not gap <= NEAR_TIE:
                raise self._mismatch(prompt, "of the continuation", there_at)
            ties.append(Tie(there_at, gap))
            agreed += ours[: differs.position + 1]
            if agreed[-1] in self._tokenizer.end_ids or len(agreed) >= self._room(token_ids):
                break
        self._measure(prompt, token_ids + agreed)
        return Compared(
            name=prompt.name,
            prompt=written,
            token_ids=token_ids,
            continuation=agreed,
            text=self._tokenizer.decode(agreed),
            ties=ties,
            unrounded=_first_difference(agreed, before),
        )

    def hold_ties(self, asked: Sequence[Prompt], outcomes: Sequence[Compared]) -> None:
        """Against the noise, which is known when everything has been compared."""
        for prompt, outcome in zip(asked, outcomes, strict=True):
            for tie in outcome.ties:
                if tie.gap > self.largest:
                    raise Mismatch(
                        f"{self._mismatch(prompt, 'of the continuation', tie.at)}: {tie.gap:.1e} of their spread "
                        f"apart, and the noise of both programs is at most {self.largest:.1e}"
                    )

    def _room(self, token_ids: Sequence[int]) -> int:
        return max(0, min(self._max_tokens, self._here.config.max_length - len(token_ids)))

    def _gap(self, token_ids: Sequence[int], differs: Difference) -> float:
        """How far apart the two picks' logits are, on the side where that is more."""
        if differs.here is None or differs.there is None:
            return math.inf
        rows = (self._logits(token_ids)[-1], self._there.logits(token_ids)[-1])
        return max(abs(float(row_V[differs.here] - row_V[differs.there])) / _spread(row_V) for row_V in rows)

    def _measure(self, prompt: Prompt, token_ids: Sequence[int]) -> None:
        """By how much the logits differ, over a prompt and its continuation."""
        ours_TV, theirs_TV = self._logits(token_ids), self._there.logits(token_ids)
        width = min(ours_TV.shape[1], theirs_TV.shape[1])
        apart_T = (ours_TV[:, :width] - theirs_TV[:, :width]).abs().amax(dim=1)
        worst = float((apart_T / (ours_TV.amax(dim=1) - ours_TV.amin(dim=1))).max())
        if not worst <= LARGEST_DIFFERENCE:  # NaN neither
            raise Mismatch(
                f"prompt '{prompt.name}': logits differ by {worst:.1e} of their spread between Homeroom and "
                f"{self._program}; rounding stays below {LARGEST_DIFFERENCE:.0e}"
            )
        self.largest = max(self.largest, worst)

    @torch.inference_mode()
    def _logits(self, token_ids: Sequence[int]) -> Tensor:
        return self._here.logits(self._here.hidden(torch.tensor([list(token_ids)]))[0])

    def _mismatch(self, prompt: Prompt, of: str, at: Difference) -> Mismatch:
        return Mismatch(
            f"prompt '{prompt.name}' ({prompt.asked!r}), token {at.position} {of}: here {self._told(at.here)}, "
            f"in {self._program} {self._told(at.there)}"
        )

    def _told(self, token_id: int | None) -> str:
        if token_id is None:
            return "it has ended"
        text = self._tokenizer.decode([token_id], goes_on=True) if token_id < self._tokenizer.vocab_size else ""
        return f"{token_id} ({text or self._there.spelled(token_id)!r})"


def _ids(prompt: Prompt, tokenizer: Tokenizer) -> list[int] | None:
    if isinstance(prompt.asked, str):
        return [tokenizer.document_id] * tokenizer.adds_bos + tokenizer.encode(prompt.asked)
    try:
        return render(prompt.asked, tokenizer, for_generation=True).token_ids
    except ChatTemplateError:
        return None


def _first_difference(here: Sequence[int], there: Sequence[int]) -> Difference | None:
    for position in range(max(len(here), len(there))):
        ours = here[position] if position < len(here) else None
        theirs = there[position] if position < len(there) else None
        if ours != theirs:
            return Difference(position, ours, theirs)
    return None


def _other_cutting(
    asked: Sequence[Prompt], encoded: Sequence[list[int] | None], by_name: Tokenizer
) -> dict[str, Difference]:
    """Which prompts get other ids from a program that goes by the name of a cutting, and where."""
    pairs = {prompt.name: (ids, _ids(prompt, by_name)) for prompt, ids in zip(asked, encoded, strict=True)}
    differ = {name: _first_difference(ours or [], theirs or []) for name, (ours, theirs) in pairs.items()}
    return {name: at for name, at in differ.items() if at is not None}


def _spread(logits_V: Tensor) -> float:
    return float(logits_V.max() - logits_V.min())


def _equal(one: GPT, other: GPT) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
