import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homeroom.inference.request import Request, Sampling
from homeroom.serving.answers import Answer, Order, Piece
from homeroom.serving.assistant import Assistant, AssistantStopped, ContextTooLong, TooBusy
from homeroom.serving.forms import Form, FormRefused
from homeroom.serving.prompts import newest
from homeroom.serving.settings import ServingSettings
from homeroom.text.chat_template import render
from homeroom.text.gguf_tokenizer import from_gguf
from homeroom.text.token_bytes import BYTE_LETTERS
from homeroom.text.tokenizer import Tokenizer

GREEDY = Sampling(temperature=0.0, max_tokens=100)
FOREVER = Sampling(temperature=0.0, max_tokens=4000)
# As in conftest.py, which pytest does not let tests import.
QUESTION, ANSWER = "How is the idiom 画蛇添足 pronounced?", "画蛇添足 is pronounced huà shé tiān zú."
HELLO, HELLO_ANSWER = "你好！", "你好！很高兴见到你。"


@dataclass(frozen=True)
class Folder:
    id: str
    path: Path


@pytest.fixture
def assistant(taught: Path) -> Iterator[Assistant]:
    assistant = Assistant(ServingSettings(slots=2, max_waiting=4))
    assistant.load(Folder("taught", taught))
    yield assistant
    assistant.close()


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def begin(
    assistant: Assistant, messages: list[dict[str, str]], sampling: Sampling, stop: Sequence[str] = (), **order: Any
) -> Answer:
    (answer,) = await assistant.begin_all(messages, [sampling], Order(stop=stop, **order))
    return answer


async def whole(answer: Answer) -> tuple[str, str | None]:
    text, reason = "", None
    async for piece in answer:
        text += piece.text
        reason = piece.finish_reason
    return text, reason


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.01)


def test_an_answer_arrives_in_pieces_that_never_hold_half_a_character(assistant: Assistant, taught: Path) -> None:
    async def pieces() -> list[tuple[str, list[int]]]:
        return [
            (piece.text, [token.token_id for token in piece.tokens])
            async for piece in await begin(assistant, ask(QUESTION), GREEDY)
        ]

    arrived = asyncio.run(pieces())
    text = "".join(text for text, _ in arrived)
    tokenizer = Tokenizer.load(taught)
    assert text == ANSWER
    assert len(arrived) > 5
    assert not any("\ufffd" in text for text, _ in arrived)
    token_ids = [token_id for _, ids in arrived for token_id in ids]
    assert tokenizer.decode(token_ids) == text
    assert token_ids[-1] == tokenizer.end_id

    async def at_once(stop: tuple[str, ...] = ()) -> list[Piece]:
        return [piece async for piece in await begin(assistant, ask(QUESTION), GREEDY, stop, whole=True)]

    [piece] = asyncio.run(at_once())
    assert (piece.text, [token.token_id for token in piece.tokens], piece.finish_reason) == (ANSWER, token_ids, "stop")
    [cut] = asyncio.run(at_once(stop=(" pronounced",)))
    assert (cut.text, cut.finish_reason) == ("画蛇添足 is", "stop")


def test_many_answers_at_once_do_not_mix(assistant: Assistant) -> None:
    async def together() -> list[tuple[str, str | None]]:
        questions = [QUESTION, HELLO, QUESTION, HELLO]
        return await asyncio.gather(*[whole(await begin(assistant, ask(q), GREEDY)) for q in questions])

    assert asyncio.run(together()) == [(ANSWER, "stop"), (HELLO_ANSWER, "stop")] * 2
    assert assistant.unfinished == 0


def test_a_stop_string_ends_the_answer_before_it_and_frees_the_slot(assistant: Assistant) -> None:
    async def stopped() -> tuple[str, str | None]:
        return await whole(await begin(assistant, ask(QUESTION), GREEDY, stop=["nothing of that", " shé"]))

    assert asyncio.run(stopped()) == (ANSWER.partition(" shé")[0], "stop")
    until(lambda: assistant.unfinished == 0)


def test_cancelling_frees_the_slot_for_those_who_wait(assistant: Assistant, endless: Path) -> None:
    assistant.load(Folder("endless", endless))

    async def scenario() -> tuple[str | None, str | None]:
        first = await begin(assistant, ask("one"), FOREVER)
        await begin(assistant, ask("two"), FOREVER)
        third = await begin(assistant, ask("three"), GREEDY)  # both slots are taken for longer than this test lasts
        await anext(first)
        first.cancel()
        _, reason_first = await whole(first)
        _, reason_third = await asyncio.wait_for(whole(third), 30)
        return reason_first, reason_third

    assert asyncio.run(scenario()) == ("cancelled", "length")


def test_a_new_model_answers_new_questions_while_the_old_one_ends_its_own(
    assistant: Assistant, taught: Path, endless: Path
) -> None:
    assistant.load(Folder("endless", endless))

    async def scenario() -> tuple[str, str, int, str | None]:
        old = await begin(assistant, ask("one"), FOREVER)
        await anext(old)
        await asyncio.to_thread(assistant.load, Folder("taught again", taught))
        new = await begin(assistant, ask(HELLO), GREEDY)
        text, _ = await whole(new)
        after = 0
        async for piece in old:
            after += len([token.token_id for token in piece.tokens])
            if after > 20:
                old.cancel()
        return old.model_id, new.model_id, after, text

    old_id, new_id, after, text = asyncio.run(scenario())
    assert (old_id, new_id) == ("endless", "taught again")
    assert after > 20
    assert text == HELLO_ANSWER
    until(lambda: not assistant._draining)


def test_what_cannot_be_answered_is_refused_before_it_takes_a_slot(assistant: Assistant, endless: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(ContextTooLong, match=r"maximum context length is 192 tokens.* resulted in \d{4,} tokens"):
            await begin(assistant, ask("long " * 1000), GREEDY)
        assert assistant.unfinished == 0
        await asyncio.to_thread(assistant.load, Folder("endless", endless))
        running = [await begin(assistant, ask("one"), FOREVER) for _ in range(4)]
        with pytest.raises(TooBusy, match="4 answers are already in work"):
            await begin(assistant, ask("one"), FOREVER)
        for answer in running:
            answer.cancel()

    asyncio.run(scenario())
    until(lambda: assistant.unfinished == 0)


def test_answers_whose_grammars_are_being_compiled_wait_as_others_do(assistant: Assistant) -> None:
    pytest.importorskip("llguidance")

    async def scenario() -> list[str]:
        forms = [Form("structured_outputs.regex", "regex", f"(yes|no){{{count}}}") for count in range(1, 7)]
        asked = [asyncio.create_task(begin(assistant, ask("one"), GREEDY, form=form)) for form in forms]
        while not any(task.done() for task in asked):
            await asyncio.sleep(0)
        refused = [task for task in asked if task.done()]
        assert all(isinstance(task.exception(), TooBusy) for task in refused)
        texts = [(await whole(await task))[0] for task in asked if task not in refused]
        with pytest.raises(FormRefused):
            await begin(assistant, ask("one"), GREEDY, form=Form("structured_outputs.regex", "regex", "("))
        return texts

    assert len(asyncio.run(scenario())) == 4
    until(lambda: assistant.unfinished == 0)


def test_a_failing_engine_fails_its_answers_and_no_later_ones(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = assistant._loaded().engine
    monkeypatch.setattr(engine, "_pieces", lambda: 1 / 0)

    async def scenario() -> tuple[str, str | None]:
        with pytest.raises(ZeroDivisionError):
            await whole(await begin(assistant, ask(QUESTION), GREEDY))
        return await whole(await begin(assistant, ask(QUESTION), GREEDY))

    assert asyncio.run(scenario()) == (ANSWER, "stop")
    assert "the engine failed" in caplog.text


def test_an_old_conversation_loses_its_first_turns_when_it_outgrows_the_context(assistant: Assistant) -> None:
    turns = [
        {"role": role, "content": f"{role} number {number} says something of some length"}
        for number in range(8)
        for role in ("user", "assistant")
    ]
    kept = asyncio.run(assistant.newest_that_fit([*turns, *ask(HELLO)]))
    assert kept[0]["role"] == "user"
    assert kept == [*turns, *ask(HELLO)][-len(kept) :]
    assert 1 < len(kept) < len(turns)
    assert asyncio.run(assistant.newest_that_fit(ask("long " * 1000))) == ask("long " * 1000)


def test_no_message_is_read_twice_to_see_what_fits(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    encode = Tokenizer.encode
    monkeypatch.setattr(Tokenizer, "encode", lambda self, text: encoded.append(text) or encode(self, text))
    turns = [*ask("Really?"), {"role": "assistant", "content": "No."}] * 100
    kept = asyncio.run(assistant.newest_that_fit([*turns, *ask(HELLO)]))
    assert len(encoded) <= len(kept) + 3


@pytest.mark.parametrize("first", ["system", "user", "assistant"])
def test_what_is_kept_is_the_most_that_leaves_the_room(assistant: Assistant, taught: Path, first: str) -> None:
    """By trying every beginning, from the oldest."""
    tokenizer = Tokenizer.load(taught)
    rng = random.Random(0)
    for _ in range(30):
        roles = [first, *rng.choices(["user", "assistant"], k=rng.randrange(9)), "user"]
        messages = [{"role": role, "content": "very " * rng.randrange(25)} for role in roles]
        room = rng.randrange(150)
        starts = [at for at, role in enumerate(roles) if at == 0 or role == "user"]
        fitting = [
            s for s in starts if len(render(messages[s:], tokenizer, for_generation=True).token_ids) + room <= 192
        ]
        kept = asyncio.run(assistant.newest_that_fit(messages, room))
        assert kept == messages[(fitting or starts[-1:])[0] :]


def test_another_models_template_measures_the_whole_conversation() -> None:
    """Its default system message stands before every beginning but one with a system message of its own."""
    template = (
        "{% if messages[0].role != 'system' %}Be kind.{% endif %}"
        "{% for m in messages %}{{ m.content }}<|end_of_turn|>{% endfor %}"
    )
    metadata = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": [*BYTE_LETTERS, "<|end_of_turn|>"],
        "token_type": [1] * 256 + [3],
        "merges": [],
        "eos_token_id": 256,
    }
    tokenizer = from_gguf(
        {f"tokenizer.ggml.{key}": value for key, value in metadata.items()} | {"tokenizer.chat_template": template}
    )
    turns = [{"role": role, "content": "12345678"} for role in ("system", "user", "assistant", "user")]
    kept = {limit: len(newest(turns, tokenizer, limit)) for limit in range(50)}
    assert [min(limit for limit, count in kept.items() if count >= n) for n in (1, 3, 4)] == [0, 35, 36]


def test_a_closed_assistant_ends_what_it_was_writing(endless: Path) -> None:
    assistant = Assistant(ServingSettings(slots=1))
    with pytest.raises(AssistantStopped, match="no model is loaded"):
        assert assistant.model_id
    assistant.load(Folder("endless", endless))

    async def scenario() -> str | None:
        answer = await begin(assistant, ask("one"), FOREVER)
        await anext(answer)
        await asyncio.to_thread(assistant.close)
        with pytest.raises(AssistantStopped):
            await begin(assistant, ask("two"), FOREVER)
        return (await whole(answer))[1]

    assert asyncio.run(scenario()) == "cancelled"


def test_an_answer_that_begins_while_the_assistant_closes_is_refused_or_ended(
    endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late it closes: an answer that nobody will ever write would keep the server from ending."""
    assistant = Assistant(ServingSettings(slots=1))
    assistant.load(Folder("endless", endless))

    def close_first(*arguments: Any) -> Request:
        assistant.close()
        return Request(*arguments)

    monkeypatch.setattr("homeroom.serving.assistant.Request", close_first)

    async def scenario() -> str | None:
        answer = await begin(assistant, ask("one"), FOREVER)
        return (await asyncio.wait_for(whole(answer), 5))[1]

    with pytest.raises(AssistantStopped):
        asyncio.run(scenario())
    assert assistant.unfinished == 0
