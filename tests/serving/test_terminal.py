import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from homeroom.serving.settings import ServingSettings
from homeroom.serving.terminal import talk
from homeroom.settings import HomeroomError
from homeroom.workspace import Workspace

HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"


def say(workspace: Workspace, *lines: str) -> str:
    def read(prompt: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    waiting: Iterator[str] = iter(lines)
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False, markup=False)
    talk(workspace, ServingSettings(temperature=0.0), read=read, console=console)
    return out.getvalue()


def test_a_talk_with_votes(workspace: Workspace) -> None:
    said = say(workspace, "/good", HELLO, "/good", "/again", "/bad", "/better 你好。", "", "/what", "/quit", "unheard")
    assert said.count(HELLO_ANSWER) == 2
    assert said.count("Counted.") == 2
    assert "There is no answer yet." in said
    up, down = workspace.feedback.votes()
    assert (up.value, down.value, down.better_answer) == (1, -1, "你好。")
    assert up.history == down.history == [{"role": "user", "content": HELLO}]
    [conversation] = workspace.feedback.conversations()
    assert [m.role for m in workspace.feedback.conversation(conversation.id)] == ["user", "assistant", "assistant"]


def test_a_question_that_is_too_long_does_not_end_the_talk(workspace: Workspace) -> None:
    said = say(workspace, "很长" * 1000, HELLO, "/better ", "/new", HELLO)
    assert "maximum context length is 192" in said
    assert "cannot be empty" in said
    assert said.count(HELLO_ANSWER) == 2


def test_control_characters_are_shown_and_not_obeyed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from homeroom.serving import chat

    class Reply(chat.Reply):
        async def __anext__(self) -> str:
            return await super().__anext__() + "\x1b[31m[red]\r\x07"

    monkeypatch.setattr(chat, "Reply", Reply)
    said = say(workspace, HELLO)
    assert "\x1b" not in said
    assert "·[31m[red]··" in said


def test_without_a_champion_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(HomeroomError, match="Run `homeroom import smollm2` or `homeroom promote`"):
        say(Workspace.open(tmp_path))
