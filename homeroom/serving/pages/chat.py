"""The chat page: conversations at the side, the thread, and the box to write in.

Each visit has a ChatPage of its own, in Python; the browser shows it and runs only chat.js and keys.js. A visitor who
leaves ends the answer being written. What happens in the thread is thread.py's business.
"""

import asyncio
import re
import uuid
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from nicegui import app as nicegui_app
from nicegui import ui

from homeroom.inference.request import Sampling
from homeroom.serving.blind import Blind
from homeroom.serving.chat import Chat
from homeroom.serving.others import Others
from homeroom.serving.pages import help, sampling
from homeroom.serving.pages.answer import Desk
from homeroom.serving.pages.composer import Composer
from homeroom.serving.pages.consent import ConsentSwitch
from homeroom.serving.pages.elements import button, element, set_attribute, set_class
from homeroom.serving.pages.frame import ASSETS, VIEWPORT, Frame
from homeroom.serving.pages.history import listed
from homeroom.serving.pages.mine import MyData
from homeroom.serving.pages.model_menu import ModelMenu
from homeroom.serving.pages.sidebar import Sidebar
from homeroom.serving.pages.strings import Strings
from homeroom.serving.pages.thread import Thread
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import Forgotten, ModelNames

STYLES = ("theme", "thread", "answer", "pair", "chat", "dialogs")
SCRIPTS = ("chat", "keys")
MODEL_SECONDS = 2.0
Life = Callable[[Any], AbstractAsyncContextManager[Any]]
Forget = Callable[[str], Forgotten]


def mount(
    app: FastAPI,
    chat: Chat,
    blind: Blind,
    settings: ServingSettings,
    names: ModelNames,
    others: Others,
    forget: Forget,
) -> None:
    """Put the pages at / of the application. NiceGUI keeps one set of pages in a process.

    `forget` deletes all that a person said.
    """
    if nicegui_app.config.has_run_config:
        raise HomeroomError("the pages are being served by this process already; start another process to serve again")
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")

    async def page(request: Request, conversation_id: str | None = None) -> None:
        await ChatPage(chat, blind, settings, names, others, forget, request).build(conversation_id)

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
    """Surroundings of its Thread."""

    def __init__(
        self,
        chat: Chat,
        blind: Blind,
        settings: ServingSettings,
        names: ModelNames,
        others: Others,
        forget: Forget,
        request: Request,
    ) -> None:
        self._chat, self._blind, self._settings, self._names = chat, blind, settings, names
        cookies = request.cookies
        self._frame = Frame(request, _visitor(cookies.get("homeroom_user")) if settings.allow_network else "local")
        self._words, self._user = self._frame.words, self._frame.user
        self._sampling = sampling.SamplingPanel(self._words, cookies.get(sampling.COOKIE), self._default_sampling)
        chooses = self._frame.may_visit("/lessons")  # who operates
        self._menu = ModelMenu(self._words, names, others if chooses else None, lambda text: self._composer.tell(text))
        self._consent = ConsentSwitch(self._words, chat.feedback, lambda text: self._composer.tell(text))
        self._mine = MyData(self._words, self._user, forget, links=self._frame.may_visit("/data"))
        self._model_id = ""
        self._search = ""

    async def build(self, conversation_id: str | None) -> None:
        self._build_head()
        self._model_id = self._chat.assistant.loaded_id or ""
        await self._menu.read(self._model_id)
        with element("div", "page"):
            self._sidebar = Sidebar(self._words, self._searched)
            if self._frame.may_visit("/rank"):
                self._sidebar.link("/rank", "format_list_numbered", lambda s: s.rank.title)
            if self._frame.may_visit("/lessons"):
                self._sidebar.link("/lessons", "school", lambda s: s.operate.lessons)
                self._sidebar.link("/data", "account_tree", lambda s: s.operate.data_and_runs)
            with self._sidebar.foot:
                self._frame.build_controls(lambda: self._composer.tell(""))
                self._mine.build_button()
            with element("div", "main"):  # NiceGUI has put a <main> around the whole page
                self._words.text(element("h1", "visually-hidden"), lambda s: s.thread)
                self._build_topbar()
                with element("div", "scroller", tabindex="-1"), element("div", "column"):
                    self._build_empty()
                    desk = Desk(self._words, self._chat.feedback, self._user, self._names, self._blind)
                    self._thread = Thread(self._chat, desk, self)
                self._composer = Composer(self._words, self._thread.sent, self._thread.stop)
            self._sampling.build()
            help.build(self._words)
            self._mine.build()
        if conversation_id is not None:
            await self._thread.open(conversation_id)
        if self._thread.conversation_id is not None:
            self._sampling.belongs_to(self._thread.conversation_id)
            await self._consent.read(self._thread.conversation_id)
        self.changed()
        await self._list_conversations()
        ui.timer(MODEL_SECONDS, self._show_model)
        ui.context.client.on_delete(self._thread.left)
        ui.context.client.on_delete(self._menu.left)

    # What the thread needs of its surroundings.

    def sampling(self) -> Sampling:
        return self._sampling.applied()

    def consents(self) -> bool:
        return self._consent.given

    async def model(self) -> str | None:
        return await self._menu.ready()

    def busy(self, busy: bool) -> None:
        self._composer.busy(busy)

    def too_long(self, length: int) -> None:
        self._composer.too_long(length)

    async def began(self, conversation_id: str, consents: bool) -> None:
        await self._consent.began(conversation_id, consents)

    async def arrived(self, conversation_id: str) -> None:
        """The address names the conversation, so that it can be opened again."""
        ui.navigate.history.replace(f"/c/{conversation_id}")
        self._sampling.belongs_to(conversation_id, new=True)
        await self._list_conversations()

    def changed(self) -> None:
        set_class(self._empty, "hidden", bool(self._thread.turns))

    def chosen(self) -> None:
        """The button that was pressed is gone: the keyboard goes on in the box."""
        ui.run_javascript("homeroom.backToBox()")

    def _build_head(self) -> None:
        self._frame.build_head(STYLES, SCRIPTS)
        if self._user.startswith("visitor-"):
            ui.add_head_html(f"<script>homeroom.remember('user', '{self._user}')</script>")

    def _build_topbar(self) -> None:
        with element("header", "topbar"):
            menu = button("icon-button menu-button", "menu")
            menu.on("click", js_handler="() => homeroom.menu(true)")
            self._words.label(menu, lambda s: s.menu)
            self._menu.build()
            self._consent.build_button()
            self._sampling.build_button()
            help.build_button(self._words)

    def _build_empty(self) -> None:
        words = self._words
        with element("section", "empty") as self._empty:
            element("div", "mark large", aria_hidden="true")
            words.text(element("h2"), lambda s: s.greeting)
            self._introduction = element("p")
            words.bind(self._introduction, self._introduce)
            with element("div", "examples", role="group") as examples:
                words.bind(examples, lambda s: set_attribute(examples, "aria-label", s.examples_label))
                for number in range(len(words.strings.examples)):
                    self._build_example(number)

    def _build_example(self, number: int) -> None:
        def text(strings: Strings) -> str:
            raised = self._names(self._model_id).day is not None
            return (strings.examples if raised else strings.examples_imported)[number]

        example = button("example", on_click=lambda: self._thread.ask(text(self._words.strings)))
        self._words.text(example, text)

    def _default_sampling(self) -> Sampling:
        return self._settings.sampling(self._chat.assistant.advice)

    async def _searched(self, search: str) -> None:
        self._search = search
        await self._list_conversations()

    async def _list_conversations(self) -> None:
        search = self._search
        found = await asyncio.to_thread(listed, self._chat.feedback, self._user, search)
        if search == self._search:  # a slower search may end after a later one
            self._sidebar.show(found, self._thread.conversation_id, searched=bool(search.strip()))

    async def _show_model(self) -> None:
        model_id = self._chat.assistant.loaded_id or ""
        if model_id != self._model_id:
            self._model_id = model_id
            await self._menu.read(model_id)
            self._menu.draw(self._words.strings)
            self._introduce(self._words.strings)
            self._composer.tell(self._words.strings.model_changed)

    def _introduce(self, strings: Strings) -> None:
        name = self._names(self._model_id)
        raised = name.day is not None
        self._introduction.set_text(strings.introduction if raised else strings.introduction_imported.format(name=name))


def _visitor(cookie: str | None) -> str:
    """Beyond this machine there are several people, told apart by a random name that their browser keeps."""
    return cookie if cookie and re.fullmatch(r"visitor-[0-9a-f]{32}", cookie) else f"visitor-{uuid.uuid4().hex}"
