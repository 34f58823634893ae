"""Chat in the terminal with the champion; what is said and voted is stored like the chat page's.

A language model may say anything, also what would move the cursor or change colours: control characters are shown as
a dot instead of being obeyed.
"""

import asyncio
import contextlib
import re
import signal
from collections.abc import Callable, Iterator

from rich.console import Console

from homeroom.serving.app import load_champion
from homeroom.serving.assistant import Assistant
from homeroom.serving.chat import Chat, Reply
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import Workspace

HELP = "/good and /bad vote, /better TEXT says what would have been better, /again answers again, /new, /quit"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def talk(
    workspace: Workspace,
    settings: ServingSettings,
    *,
    read: Callable[[str], str] = input,
    console: Console | None = None,
) -> None:
    """Talk until /quit or the end of the input. Ctrl-C stops an answer. `read` is asked for the next line."""
    console = console or Console(highlight=False, markup=False)
    assistant = Assistant(settings.model_copy(update={"slots": 1}))
    try:
        load_champion(workspace, assistant)
        console.print(f"{assistant.model_id} answers. {HELP}", style="dim")
        with asyncio.Runner() as runner:
            chat = Chat(assistant, workspace.feedback)
            _Talk(chat, settings, console, runner).run(read)
            runner.run(chat.drain())
    finally:
        assistant.close()


class _Talk:
    def __init__(self, chat: Chat, settings: ServingSettings, console: Console, runner: asyncio.Runner) -> None:
        self._chat, self._console, self._runner = chat, console, runner
        self._sampling = settings.sampling(chat.assistant.advice)
        self._messages: list[dict[str, str]] = []
        self._conversation_id: str | None = None
        self._reply: Reply | None = None  # the last answer, if it was stored

    def run(self, read: Callable[[str], str]) -> None:
        while True:
            try:
                line = read("› ").strip()
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return
            if line == "/quit":
                return
            try:
                if line.startswith("/"):
                    self._obey(line)
                elif line:
                    self._answer_to([*self._messages, {"role": "user", "content": line}])
            except HomeroomError as error:
                self._console.print(str(error), style="red")

    def _obey(self, line: str) -> None:
        command, _, text = line.partition(" ")
        if command == "/new":
            self._messages, self._reply, self._conversation_id = [], None, None
        elif command in ("/good", "/bad", "/better", "/again"):
            if self._reply is None:
                self._console.print("There is no answer yet.", style="dim")
            elif command == "/again":
                self._answer_to(self._messages[:-1])
            elif command == "/better":
                self._chat.feedback.edit(self._reply.id, text)
                self._console.print("Saved.", style="dim")
            else:
                self._chat.feedback.vote(self._reply.id, 1 if command == "/good" else -1)
                self._console.print("Counted.", style="dim")
        else:
            self._console.print(HELP, style="dim")

    def _answer_to(self, messages: list[dict[str, str]]) -> None:
        reply = self._runner.run(self._print_answer(messages))
        self._conversation_id = reply.conversation_id
        self._reply = reply if reply.stored else None
        if reply.stored:
            self._messages = [*messages, {"role": "assistant", "content": reply.text}]
        endings = {"length": "(reached its longest length)", "cancelled": "(stopped)"}
        if ending := endings.get(reply.finish_reason or ""):
            self._console.print(ending, style="dim")

    async def _print_answer(self, messages: list[dict[str, str]]) -> Reply:
        reply = await self._chat.reply(
            messages, self._sampling, conversation_id=self._conversation_id, forget_oldest=True
        )
        with _on_interrupt(reply.stop):
            async for text in reply:
                self._console.print(_CONTROL.sub("·", text), end="", soft_wrap=True)
        self._console.print()
        return reply


@contextlib.contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C ends the answer, not the conversation. Only the main thread may be asked to do so."""
    try:
        before = signal.signal(signal.SIGINT, lambda *_: stop())
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
