"""An answer between the thread that writes it and the event loop that reads it.

The worker's side turns token ids into text that is certain, the reader's side is an async iterator of it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeroom.inference.request import Event, FinishReason, TokenScore
from homeroom.serving.forms import Form, FormFailed
from homeroom.serving.stop_text import StopText
from homeroom.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from homeroom.inference.constraints import GrammarConstraint


@dataclass(frozen=True)
class Piece:
    """What an answer grew by. The last piece, and only it, has a finish reason; `prompt` comes with the first."""

    text: str
    tokens: tuple[TokenScore, ...]
    finish_reason: FinishReason | None = None
    prompt: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one answer is to be like, beyond how it is sampled.

    It also ends before the first of the strings `stop`. A `whole` one comes in a single piece when it has ended: to
    wake the event loop at every token of every answer takes the interpreter from the thread that writes them. `top` and
    `score_from` are the engine's. With a `form` that a stop string cuts in two, it ends with "length".
    """

    stop: Sequence[str] = ()
    whole: bool = False
    top: int = 0
    score_from: int | None = None
    form: Form | None = None


class Answer:
    """One answer being written. Iterate over it once, on the event loop that began it."""

    def __init__(self, model_id: str, prompt_ids: Sequence[int], cancel: Callable[[], None]) -> None:
        self.model_id, self.prompt_ids, self.prompt_tokens = model_id, prompt_ids, len(prompt_ids)
        self.cancel = cancel  # frees the slot; the last piece then says "cancelled"
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._ended = False

    def deliver(self, piece: Piece | Exception) -> None:
        """From the worker thread."""
        # The loop may be closed already when a program ends in the middle of an answer.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, piece)

    def __aiter__(self) -> "Answer":
        return self

    async def __anext__(self) -> Piece:
        if self._ended:
            raise StopAsyncIteration
        piece = await self._arrived.get()
        if isinstance(piece, Exception):
            self._ended = True
            raise piece
        self._ended = piece.finish_reason is not None
        return piece


class Writing:
    """The worker's side of an answer: ids become text, text is watched for stop strings."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        order: Order,
        goes_on: bool,
        constraint: "GrammarConstraint | None",
        deliver: Callable[[Piece | Exception], None],
    ) -> None:
        self._decoder, self._end_ids = tokenizer.stream_decoder(goes_on=goes_on), tokenizer.end_ids
        self._stop_text, self._whole = StopText(order.stop), order.whole
        self._form, self._constraint, self._told = order.form, constraint, ""
        # What is held back: until it is certain, or until the end.
        self._held_text = ""
        self._held: list[TokenScore] = []
        self._prompt: tuple[TokenScore, ...] = ()
        self.deliver = deliver

    def push(self, event: Event) -> Piece | None:
        """What the token adds, if that is certain; the last piece when the model or a stop string ends the answer."""
        token_id, finish_reason = event.token_id, event.finish_reason
        self._prompt += event.prompt
        if token_id is not None:
            self._held.append(TokenScore(token_id, event.logprob, event.top))
            if token_id not in self._end_ids:
                self._held_text += self._stop_text.push(self._decoder.push(token_id))
        if finish_reason is not None and not self._stop_text.found:
            # Not the decoder's end: of a character that was cut in two nothing is shown.
            self._held_text += self._stop_text.flush()
        if self._stop_text.found:
            whole = self._constraint is None or self._constraint.fits(self._told + self._held_text)
            finish_reason = "stop" if whole else "length"
        if finish_reason is None and (self._whole or not self._held_text):
            return None
        piece = Piece(self._held_text, tuple(self._held), finish_reason, self._prompt)
        self._told += self._held_text
        self._held_text, self._held, self._prompt = "", [], ()
        return piece

    @property
    def failure(self) -> FormFailed | None:
        """Why the answer could not go on in its form. What was told of it by then stays told."""
        if self._form is None or self._constraint is None or self._constraint.failure is None:
            return None
        return FormFailed(self._form.param, self._constraint.failure)
