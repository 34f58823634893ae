"""The chat page: conversations at the side, the thread, and the box to write in.

Each visit has a ChatPage of its own, in Python; the browser shows it and runs only chat.js. A visitor who leaves ends
the answer being written. What happens within one turn is turn.py's business.
"""

import asyncio
import re
import uuid
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from nicegui import app as nicegui_app
from nicegui import ui

from homeroom import __version__
from homeroom.serving.access import form_token_of, user_of
from homeroom.serving.assistant import ContextTooLong
from homeroom.serving.chat import Chat, Reply, Stopping
from homeroom.serving.pages.elements import Words, button, element, set_attribute, set_class
from homeroom.serving.pages.history import Past, listed, past
from homeroom.serving.pages.sidebar import Sidebar
from homeroom.serving.pages.strings import preferred
from homeroom.serving.pages.turn import Turn
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError

ASSETS = Path(__file__).parent / "assets"
STYLES = ("theme", "thread", "chat")
MODEL_SECONDS = 2.0
LONGEST_MESSAGE = 100_000  # characters; the page's connection carries no more than a megabyte at once
VIEWPORT = "width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content"
SEND = "() => homeroom.send(emit)"
ENTER = "(event) => homeroom.enter(event, emit)"
ADMIT = f"(event) => homeroom.admit(event, emit, {LONGEST_MESSAGE})"
Life = Callable[[Any], AbstractAsyncContextManager[Any]]
Theme = Literal["auto", "light", "dark"]


def mount(app: FastAPI, chat: Chat, settings: ServingSettings) -> None:
    """Put the pages at / of the application. NiceGUI keeps one set of pages in a process."""
    if nicegui_app.config.has_run_config:
        raise HomeroomError("the pages are being served by this process already; start another process to serve again")
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")

    async def page(request: Request, conversation_id: str | None = None) -> None:
        await ChatPage(chat, settings, request).build(conversation_id)

    ui.page("/", viewport=VIEWPORT)(page)
    ui.page("/c/{conversation_id}", viewport=VIEWPORT)(page)
    ui.run_with(
        app, title="Homeroom", favicon=ASSETS / "icon.svg", tailwind=False, show_welcome_message=False, dark=None
    )
    app.router.lifespan_context = _without_others_warnings(app.router.lifespan_context)


def _without_others_warnings(life: Life) -> Life:
    """At its start NiceGUI looks at every object in memory, and some of torch's warn when they are looked at."""

    @asynccontextmanager
    async def quiet(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                await stack.enter_async_context(life(app))
            yield

    return quiet


class ChatPage:
    def __init__(self, chat: Chat, settings: ServingSettings, request: Request) -> None:
        self._chat, self._settings = chat, settings
        cookies = request.cookies
        self._words = Words(preferred(cookies.get("homeroom_language"), request.headers.get("accept-language", "")))
        chosen = cookies.get("homeroom_theme")
        self._theme: Theme = "light" if chosen == "light" else "dark" if chosen == "dark" else "auto"
        nobody = _visitor(cookies.get("homeroom_user")) if settings.allow_network else "local"
        state = request.scope.get("state", {})
        self._user, self._form_token = user_of(state, nobody), form_token_of(state)
        self._client = ui.context.client
        self._turns: list[Turn] = []
        self._conversation_id: str | None = None
        self._reply: Reply | None = None
        self._busy = False

    async def build(self, conversation_id: str | None) -> None:
        turns: list[Past] | None = None
        if conversation_id is not None:
            turns = await asyncio.to_thread(past, self._chat.feedback, self._user, conversation_id)
            self._conversation_id = None if turns is None else conversation_id
        self._build_head()
        self._dark = ui.dark_mode(_dark(self._theme))
        with element("div", "page"):
            self._sidebar = Sidebar(self._words)
            self._sidebar.on_theme(self._next_theme, self._theme)
            self._sidebar.on_language(self._other_language)
            if self._form_token is not None:
                self._sidebar.on_sign_out(self._form_token)
            with element("main", "main"):
                self._build_topbar()
                with element("div", "scroller", tabindex="-1"), element("div", "column"):
                    self._build_empty()
                    self._thread = element("div", "thread", role="log")
                    self._words.bind(self._thread, lambda s: set_attribute(self._thread, "aria-label", s.thread))
                self._build_composer()
        for turn in turns or []:
            self._add_turn(turn.question).restore(turn)
        self._show_emptiness()
        await self._list_conversations()
        ui.timer(MODEL_SECONDS, self._show_model)
        self._client.on_delete(self._stop)

    def _build_head(self) -> None:
        scheme = {"auto": "light dark", "light": "light", "dark": "dark"}[self._theme]
        ui.add_head_html(
            "".join(f'<link rel="stylesheet" href="/assets/{name}.css?{__version__}">' for name in STYLES)
            + f'<script src="/assets/chat.js?{__version__}"></script>'
            f"<style>html {{ color-scheme: {scheme}; background: Canvas; }}</style>"
            f"<script>document.documentElement.lang = {self._words.strings.html_lang!r};</script>"
        )
        if self._user.startswith("visitor-"):
            ui.add_head_html(f"<script>homeroom.remember('user', '{self._user}')</script>")

    def _build_topbar(self) -> None:
        with element("header", "topbar"):
            menu = button("icon-button menu-button", "menu")
            menu.on("click", js_handler="() => homeroom.menu(true)")
            self._words.label(menu, lambda s: s.menu)
            with element("div", "model", role="status") as pill:
                element("span", "model-light", aria_hidden="true")
                self._model = element("span", "model-name", self._chat.assistant.loaded_id or "")
            self._words.bind(pill, lambda s: set_attribute(pill, "title", s.answered_by.format(model=self._model.text)))

    def _build_empty(self) -> None:
        words = self._words
        with element("section", "empty") as self._empty:
            element("div", "mark large", aria_hidden="true")
            words.text(element("h1"), lambda s: s.greeting)
            words.text(element("p"), lambda s: s.introduction)
            with element("div", "examples", role="group") as examples:
                words.bind(examples, lambda s: set_attribute(examples, "aria-label", s.examples_label))
                for number in range(len(words.strings.examples)):
                    self._build_example(number)

    def _build_example(self, number: int) -> None:
        example = button("example", on_click=lambda: self._ask(self._words.strings.examples[number]))
        self._words.text(example, lambda s: s.examples[number])

    def _build_composer(self) -> None:
        words = self._words
        with element("footer", "composer"):
            self._status = element("p", "status", role="alert")
            with element("div", "box"):
                area = element("textarea", rows="1", dir="auto", autofocus=True)
                area.on("keydown", self._sent, js_handler=ENTER)
                area.on("beforeinput", self._sent, js_handler=ADMIT)
                words.bind(area, lambda s: set_attribute(area, "placeholder", s.composer))
                words.bind(area, lambda s: set_attribute(area, "aria-label", s.composer))
                self._send = button("round-button send", "arrow_upward")
                self._send.on("click", self._sent, js_handler=SEND)
                words.label(self._send, lambda s: s.send)
                self._stop_button = button("round-button stop hidden", "stop", self._stop)
                words.label(self._stop_button, lambda s: s.stop)
            with element("p", "hint"):
                words.text(element("span"), lambda s: s.caution)
                words.text(element("span", "keys"), lambda s: s.keys)

    async def _sent(self, event: Any) -> None:
        text, length = sent(event.args)
        if length > LONGEST_MESSAGE:
            limit = f"{LONGEST_MESSAGE:,}"
            self._status.set_text(self._words.strings.too_long.format(length=f"{length:,}", limit=limit))
        elif text.strip() and not self._busy:
            ui.run_javascript("homeroom.clear()")
            await self._ask(text.strip())

    async def _ask(self, question: str) -> None:
        if self._busy:
            return
        question = _storable(question)
        turn = self._add_turn(question)
        self._show_emptiness()
        await self._answer(turn)

    async def _regenerate(self) -> None:
        if not self._busy:
            await self._answer(self._turns[-1])

    def _add_turn(self, question: str) -> Turn:
        with self._thread:
            turn = Turn(question, self._words, self._chat.feedback, self._user, self._regenerate)
        self._turns.append(turn)
        return turn

    async def _answer(self, turn: Turn) -> None:
        self._set_busy(True)
        turn.begin()
        ui.run_javascript("homeroom.toEnd()")
        messages = [message for earlier in self._turns[:-1] for message in earlier.messages]
        try:
            self._reply = await self._chat.reply(
                [*messages, {"role": "user", "content": turn.question}],
                self._settings.sampling(self._chat.assistant.advice),
                conversation_id=self._conversation_id,
                user=self._user,
                forget_oldest=True,
            )
            if self._client.is_deleted:
                self._reply.stop()
            async for text in self._reply:
                turn.add(text)
            turn.end(self._reply)
            await self._arrive_at(self._reply.conversation_id)
        except ContextTooLong as error:
            strings = self._words.strings
            turn.fail(strings.too_many_tokens.format(tokens=f"{error.prompt_tokens:,}", limit=error.max_length))
        except Stopping:
            turn.fail(self._words.strings.stopping)
        except HomeroomError as error:
            turn.fail(str(error))
        except Exception:
            turn.fail("500")
            raise
        finally:
            self._reply = None
            self._set_busy(False)

    def _stop(self) -> None:
        if self._reply is not None:
            self._reply.stop()

    async def _arrive_at(self, conversation_id: str) -> None:
        """The address names the conversation, so that it can be opened again."""
        if self._conversation_id != conversation_id:
            self._conversation_id = conversation_id
            ui.navigate.history.replace(f"/c/{conversation_id}")
            await self._list_conversations()

    async def _list_conversations(self) -> None:
        self._sidebar.show(await asyncio.to_thread(listed, self._chat.feedback, self._user), self._conversation_id)

    def _set_busy(self, busy: bool) -> None:
        self._busy = busy
        self._status.set_text("")
        set_class(self._send, "hidden", busy)
        set_class(self._stop_button, "hidden", not busy)

    def _show_emptiness(self) -> None:
        set_class(self._empty, "hidden", bool(self._turns))

    def _show_model(self) -> None:
        model_id = self._chat.assistant.loaded_id or ""
        if model_id != self._model.text:
            self._model.set_text(model_id)
            self._status.set_text(self._words.strings.model_changed)

    def _other_language(self) -> None:
        self._words.switch("zh" if self._words.language == "en" else "en")
        self._status.set_text("")
        ui.run_javascript(
            f"document.documentElement.lang = {self._words.strings.html_lang!r};"
            f"homeroom.remember('language', {self._words.language!r})"
        )

    def _next_theme(self) -> Theme:
        following: dict[Theme, Theme] = {"auto": "light", "light": "dark", "dark": "auto"}
        self._theme = following[self._theme]
        self._dark.value = _dark(self._theme)
        ui.run_javascript(f"homeroom.remember('theme', {self._theme!r})")
        return self._theme


def sent(arguments: object) -> tuple[str, int]:
    """From the box: {"text", "length"}; of a text that is too long only its length. Anybody can send anything."""
    given = arguments if isinstance(arguments, dict) else {}
    text, length = given.get("text"), given.get("length")
    text = text if isinstance(text, str) else ""
    return text, max(len(text), length if isinstance(length, int) else 0)


def _dark(theme: Theme) -> bool | None:
    return None if theme == "auto" else theme == "dark"


def _visitor(cookie: str | None) -> str:
    """Beyond this machine there are several people, told apart by a random name that their browser keeps."""
    return cookie if cookie and re.fullmatch(r"visitor-[0-9a-f]{32}", cookie) else f"visitor-{uuid.uuid4().hex}"


def _storable(text: str) -> str:
    """What the workspace will give back: half a surrogate pair and NUL are no text to databases."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
