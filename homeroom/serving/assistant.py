"""The champion, live: one worker thread owns the Engine and writes many answers at once.

Callers on any event loop get each answer as an async iterator of text, and may cancel it. A new model can be loaded
at any time: answers already begun end on the weights they began with. What is stored of an answer is chat.py's
business, the wire format openai_api.py's.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from homeroom.inference.request import Event, Request, Sampling
from homeroom.models.checkpoint import Stored
from homeroom.serving.answers import Answer, Order, Writing
from homeroom.serving.loaded import Loaded
from homeroom.serving.prompts import ChatMessage, newest, prompt_ids, text_ids
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from homeroom.inference.constraints import GrammarConstraint

log = logging.getLogger(__name__)
Role = Literal["candidate", "chosen"]


class ContextTooLong(HomeroomError):
    """A prompt leaves no room for an answer. `param` is where it stands in a request."""

    def __init__(self, prompt_tokens: int, max_length: int, param: str = "messages") -> None:
        self.prompt_tokens, self.max_length, self.param = prompt_tokens, max_length, param
        super().__init__(
            f"This model's maximum context length is {max_length} tokens. However, your {param} resulted in "
            f"{prompt_tokens} tokens, which leaves no room for an answer. Please shorten the {param}."
        )


class TooMany(HomeroomError):
    """One request asks for more answers than may ever wait at once."""


class TooBusy(HomeroomError):
    """More answers are waiting than the settings allow."""

    retry_after = 1.0  # seconds; chat.py, which sees answers end, knows better


class AssistantStopped(HomeroomError):
    """The server is shutting down, or no model was loaded."""


class Assistant:
    def __init__(self, settings: ServingSettings) -> None:
        self._settings, self._max_waiting = settings, settings.max_waiting
        self._current: Loaded | None = None
        self._beside: dict[Role, Loaded] = {}
        self._draining: list[Loaded] = []
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._unfinished = 0
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="assistant", daemon=True)
        self._thread.start()

    @property
    def slots(self) -> int:
        return self._settings.slots

    @property
    def uses_compressed(self) -> bool:
        return self._settings.compressed

    @property
    def loaded_id(self) -> str | None:
        return self._current.model_id if self._current else None

    @property
    def candidate_id(self) -> str | None:
        """Who is on trial beside the model that answers."""
        return self._id_of("candidate")

    @property
    def chosen_id(self) -> str | None:
        """Whom somebody asks by name beside the model that answers."""
        return self._id_of("chosen")

    @property
    def model_id(self) -> str:
        """Which model answers. Raises AssistantStopped when none was loaded."""
        return self._loaded().model_id

    @property
    def max_length(self) -> int:
        return self._loaded().model.config.max_length

    @property
    def tokenizer(self) -> Tokenizer:
        return self._loaded().tokenizer

    @property
    def advice(self) -> dict[str, float]:
        """How the model's makers advise to sample."""
        return self._loaded().tokenizer.advice

    @property
    def unfinished(self) -> int:
        """Answers in work or waiting for a slot."""
        return self._unfinished

    def load(self, artifact: Stored, compressed: Stored | None = None) -> None:
        """Serve this model from now on; returns when new answers come from it. Reads files: not for an event loop.

        It answers by its `compressed` weights, if they are given, and under its own name.
        """
        here = (one for one in list(self._beside.values()) if one.is_of(artifact, compressed))
        loaded = next(here, None) or Loaded.read(artifact, compressed, self._settings)

        def swap() -> None:
            self._retire(self._current)
            self._current = loaded
            self._beside = {role: one for role, one in self._beside.items() if one is not loaded}

        self._do(swap)

    def load_candidate(self, artifact: Stored, compressed: Stored | None = None) -> None:
        """Have this model ready beside the one that answers, for `begin_both`. As `load` otherwise."""
        self._set_beside("candidate", Loaded.read(artifact, compressed, self._settings))

    def load_chosen(self, artifact: Stored, compressed: Stored | None = None) -> None:
        """Have this model ready for who asks for it by name, in place of the one before. As `load` otherwise."""
        self._set_beside("chosen", Loaded.read(artifact, compressed, self._settings))

    def drop(self, role: Role) -> None:
        """Who has it begins no more answers; those that it has begun it ends."""
        if role in self._beside:
            self._set_beside(role, None)

    def _set_beside(self, role: Role, loaded: Loaded | None) -> None:
        def swap() -> None:
            self._retire(self._beside.get(role))
            kept = {other: one for other, one in self._beside.items() if other != role}
            self._beside = kept | ({role: loaded} if loaded else {})

        self._do(swap)

    def _id_of(self, role: Role) -> str | None:
        found = self._beside.get(role)
        return found.model_id if found else None

    def _retire(self, loaded: Loaded | None) -> None:
        if loaded is not None:
            self._draining.append(loaded)

    def _do(self, command: Callable[[], None]) -> None:
        """In the worker thread; returns when it is done."""
        done = threading.Event()

        def run() -> None:
            command()
            done.set()

        self._commands.put(run)
        while not done.wait(0.1):
            if self._closed:
                raise AssistantStopped("the assistant is stopped")

    async def begin_all(
        self,
        messages: Sequence[ChatMessage],
        samplings: Sequence[Sampling],
        order: Order = Order(),
        by: str | None = None,
    ) -> list[Answer]:
        """An answer to the same messages for each of `samplings`, all by one model: all begin or none. `by` names the
        model that was chosen, where it is not to be the one that answers.

        Raises ContextTooLong, TooBusy, AssistantStopped, FormRefused, or ValueError for roles the template does not
        know.
        """
        return await self._begin_by([self._loaded(by)] * len(samplings), messages, samplings, order)

    async def begin_both(
        self, messages: Sequence[ChatMessage], samplings: Sequence[Sampling], order: Order = Order()
    ) -> list[Answer]:
        """Two answers: by the model that answers, and by the candidate. Raises as `begin_all`."""
        if (candidate := self._beside.get("candidate")) is None:
            raise AssistantStopped("no candidate is loaded")
        return await self._begin_by([self._loaded(), candidate], messages, samplings, order)

    async def _begin_by(
        self, models: Sequence[Loaded], messages: Sequence[ChatMessage], samplings: Sequence[Sampling], order: Order
    ) -> list[Answer]:
        different = {one.model_id: one for one in models}
        ids = {name: await asyncio.to_thread(prompt_ids, messages, one.tokenizer) for name, one in different.items()}
        asked = [(one, ids[one.model_id], sampling) for one, sampling in zip(models, samplings, strict=True)]
        return await self._begin(asked, order, "messages")

    async def continue_all(
        self, prompts: Sequence[str | list[int]], samplings: Sequence[Sampling], order: Order = Order()
    ) -> list[Answer]:
        """How each text, or list of token ids, goes on, for each of `samplings`. Raises as `begin_all`, and ValueError
        for ids that are none."""
        loaded = self._loaded()
        tokenizer, begun = loaded.tokenizer, []
        for prompt in prompts:
            ids = await asyncio.to_thread(text_ids, prompt, tokenizer) if isinstance(prompt, str) else prompt
            if not ids:
                ids = [tokenizer.document_id]  # what an empty text goes on from
            if wrong := [token for token in ids if not 0 <= token < loaded.model.config.vocab_size]:
                raise ValueError(f"{wrong[0]} is no token id of this model, which has {loaded.model.config.vocab_size}")
            begun += [(loaded, ids, sampling) for sampling in samplings]
        return await self._begin(begun, order, "prompt")

    async def _begin(
        self, asked: Sequence[tuple[Loaded, list[int], Sampling]], order: Order, param: str
    ) -> list[Answer]:
        goes_on = param == "prompt"
        fitting = []
        for loaded, ids, sampling in asked:
            most = loaded.model.config.max_length
            room = most - len(ids)
            if room < min(1, sampling.max_tokens):
                raise ContextTooLong(len(ids), most, param)
            fitting.append(sampling.model_copy(update={"max_tokens": min(sampling.max_tokens, room)}))
        with self._places(len(asked)):  # an answer whose grammar is being compiled waits as others do
            constraints: Sequence[GrammarConstraint | None] = [None] * len(asked)
            if order.form is not None:  # then all are of one model
                constraints = await asked[0][0].grammars.constraints(order.form, len(asked), goes_on=goes_on)
            begun = [
                self._prepared(loaded, ids, sampling, order, constraint, goes_on=goes_on)
                for (loaded, ids, _), sampling, constraint in zip(asked, fitting, constraints, strict=True)
            ]
            # Under one lock with `close`: what is put after the worker's last look would never be written or ended.
            with self._lock:
                self._refuse_when_closed()
                for _, submit in begun:
                    self._commands.put(submit)
        return [answer for answer, _ in begun]

    @contextlib.contextmanager
    def _places(self, count: int) -> Iterator[None]:
        """Take them among the answers that may wait, and give them back if the block raises."""
        if count > self._max_waiting:
            raise TooMany(
                f"This request asks for {count} answers; at most {self._max_waiting} may be in work or waiting at once."
            )
        with self._lock:
            self._refuse_when_closed()
            if self._unfinished + count > self._max_waiting:
                raise TooBusy(f"{self._unfinished} answers are already in work or waiting; try again in a moment")
            self._unfinished += count
        try:
            yield
        except BaseException:
            with self._lock:
                self._unfinished -= count
            raise

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise AssistantStopped("the assistant is stopped")

    def _prepared(
        self,
        loaded: Loaded,
        prompt_ids: list[int],
        sampling: Sampling,
        order: Order,
        constraint: "GrammarConstraint | None",
        *,
        goes_on: bool,
    ) -> tuple[Answer, Callable[[], None]]:
        """An answer, and what the worker does to begin it."""
        request = Request(uuid.uuid4().hex, prompt_ids, sampling, order.top, order.score_from, constraint)
        answer = Answer(
            loaded.model_id,
            prompt_ids,
            cancel=lambda: self._commands.put(lambda: self._cancel(loaded, request.id)),
        )
        writing = Writing(loaded.tokenizer, order, goes_on, constraint, answer.deliver)

        def submit() -> None:
            loaded.writing[request.id] = writing
            if loaded not in self._all():
                self._draining.append(loaded)  # the model was replaced while this answer was on its way
            try:
                loaded.engine.submit(request)
            except Exception as error:
                self._end(loaded, request.id)
                writing.deliver(error)

        return answer, submit

    async def newest_that_fit(
        self, messages: Sequence[ChatMessage], room: int | None = None, by: str | None = None
    ) -> list[ChatMessage]:
        """Drop the oldest turns until the rest leaves `room` tokens (a quarter of the context) for the answer."""
        loaded = self._loaded(by)
        limit = loaded.model.config.max_length
        room = limit // 4 if room is None else room
        return await asyncio.to_thread(newest, messages, loaded.tokenizer, limit - room)

    def cancel_all(self) -> None:
        """End every answer in work or waiting."""

        def cancel() -> None:
            for loaded in self._all():
                for request_id in list(loaded.writing):
                    self._cancel(loaded, request_id)

        self._commands.put(cancel)

    def close(self) -> None:
        """Cancel what is unfinished and end the thread."""
        with self._lock:
            self._closed = True
        self._commands.put(lambda: None)
        self._thread.join(timeout=10)

    def _loaded(self, by: str | None = None) -> Loaded:
        if self._current is None:
            raise AssistantStopped("no model is loaded")
        if by is None or by == self._current.model_id:
            return self._current
        chosen = self._beside.get("chosen")
        if chosen is None or chosen.model_id != by:
            raise AssistantStopped(f"{by} is not loaded any more: choose it again")
        return chosen

    # Below: the worker thread's own.

    def _work(self) -> None:
        while not self._closed:
            self._take_commands()
            for loaded in self._all():
                if not loaded.engine.idle:
                    self._step(loaded)
            self._draining = [loaded for loaded in self._draining if not loaded.engine.idle]
        self._take_commands()
        for loaded in self._all():
            for request_id in list(loaded.writing):
                self._cancel(loaded, request_id)

    def _all(self) -> list[Loaded]:
        return [*self._draining, *([self._current] if self._current else ()), *self._beside.values()]

    def _take_commands(self) -> None:
        nothing_to_do = not self._closed and all(loaded.engine.idle for loaded in self._all())
        with contextlib.suppress(queue.Empty):
            if nothing_to_do:
                self._commands.get()()
            while True:
                self._commands.get_nowait()()

    def _step(self, loaded: Loaded) -> None:
        try:
            for event in loaded.engine.step():
                writing = loaded.writing.get(event.request_id)
                if writing is None:
                    continue
                try:
                    piece = writing.push(event)
                except Exception as error:  # such as of a grammar's library: it ends its own answer, nobody else's
                    log.exception("an answer could not be written")
                    loaded.engine.cancel(event.request_id)
                    self._end(loaded, event.request_id)
                    writing.deliver(error)
                    continue
                if piece is None:
                    continue
                if piece.finish_reason is not None:
                    if event.finish_reason is None:  # a stop string, of which the engine knows nothing
                        loaded.engine.cancel(event.request_id)
                    self._end(loaded, event.request_id)
                writing.deliver(writing.failure or piece)
        except Exception as error:  # one failure must not leave every later question unanswered
            log.exception("the engine failed; its answers end with an error and it is set up anew")
            loaded.renew(self._settings)
            for request_id, writing in list(loaded.writing.items()):
                self._end(loaded, request_id)
                writing.deliver(error)

    def _cancel(self, loaded: Loaded, request_id: str) -> None:
        writing = loaded.writing.get(request_id)
        if writing is not None:
            loaded.engine.cancel(request_id)
            self._end(loaded, request_id)
            if piece := writing.push(Event(request_id, None, 0.0, "cancelled")):
                writing.deliver(piece)

    def _end(self, loaded: Loaded, request_id: str) -> None:
        del loaded.writing[request_id]
        with self._lock:
            self._unfinished -= 1
