"""How a text goes on, and how likely it is, held against a whole forward of the same weights."""

import math
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from openai import BadRequestError, OpenAI

from homeroom.models.checkpoint import load_model
from homeroom.text.chat_template import render
from homeroom.text.tokenizer import Tokenizer

QUESTION, ANSWER = "How is the idiom 画蛇添足 pronounced?", "画蛇添足 is pronounced huà shé tiān zú."
TEXT = "The idiom 画蛇添足 is well known."


@torch.no_grad()
def whole_forward(taught: Path, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of each next token (T, V)."""
    model = load_model(taught)
    return torch.log_softmax(model.logits(model.hidden(torch.tensor([ids])))[0], dim=1)


@pytest.fixture(scope="module")
def tokenizer(taught: Path) -> Tokenizer:
    return Tokenizer.load(taught)


def complete(client: OpenAI, prompt: Any, **more: Any) -> Any:
    return client.completions.create(model="homeroom", prompt=prompt, **{"temperature": 0.0, **more})


def test_an_echo_says_how_likely_every_token_of_the_prompt_is(client: OpenAI, taught: Path, tokenizer: Tokenizer):
    # As lm-eval's local-completions asks.
    ids = [tokenizer.document_id, *tokenizer.encode(TEXT)]
    made = complete(client, [ids], echo=True, logprobs=1, max_tokens=1, seed=1234)
    logprobs, expected = made.choices[0].logprobs, whole_forward(taught, ids)
    assert len(logprobs.tokens) == len(ids) + 1 == len(logprobs.token_logprobs) == len(logprobs.top_logprobs)
    assert logprobs.token_logprobs[0] is None
    for at in range(1, len(ids)):
        assert math.isclose(logprobs.token_logprobs[at], expected[at - 1, ids[at]], abs_tol=1e-4)
        (best,) = logprobs.top_logprobs[at].values()
        assert math.isclose(best, expected[at - 1].max(), abs_tol=1e-4)
    assert logprobs.tokens[1] == tokenizer.shown(ids[1])
    assert made.usage.prompt_tokens == len(ids)
    assert made.choices[0].text.startswith(TEXT)


def test_a_prompt_alone_is_scored_without_a_word_said(client: OpenAI, tokenizer: Tokenizer):
    made = complete(client, TEXT, echo=True, logprobs=0, max_tokens=0)
    assert made.choices[0].text == TEXT
    assert made.choices[0].logprobs.top_logprobs is None
    assert len(made.choices[0].logprobs.tokens) == len(tokenizer.encode(TEXT)) + 1  # what begins a document
    assert (made.usage.completion_tokens, made.choices[0].finish_reason) == (0, "length")


def test_a_text_goes_on_like_the_conversation_that_it_spells(client: OpenAI, tokenizer: Tokenizer):
    prompt = render([{"role": "user", "content": QUESTION}], tokenizer, for_generation=True).token_ids
    made = complete(client, prompt, max_tokens=100, logprobs=2)
    assert (made.choices[0].text, made.choices[0].finish_reason) == (ANSWER, "stop")
    assert made.choices[0].logprobs.tokens[-1] == "<|end|>"
    assert all(len(top) == 2 for top in made.choices[0].logprobs.top_logprobs)
    assert complete(client, prompt).usage.completion_tokens == 16  # as many as OpenAI's when nothing is said


def test_several_prompts_and_several_answers_come_in_order(client: OpenAI, tokenizer: Tokenizer):
    questions = [QUESTION, "你好！"]
    prompts = [render([{"role": "user", "content": q}], tokenizer, for_generation=True).token_ids for q in questions]
    made = complete(client, prompts, n=2, max_tokens=100)
    assert [choice.text for choice in made.choices] == [ANSWER, ANSWER, "你好！很高兴见到你。", "你好！很高兴见到你。"]
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    assert made.usage.prompt_tokens == sum(map(len, prompts))


def test_a_stream_adds_up_to_the_whole(client: OpenAI, tokenizer: Tokenizer):
    prompt = render([{"role": "user", "content": QUESTION}], tokenizer, for_generation=True).token_ids
    asked = {"max_tokens": 100, "logprobs": 1, "stop": ["tiān"]}
    whole = complete(client, prompt, **asked)
    *chunks, usage = complete(client, prompt, stream=True, stream_options={"include_usage": True}, **asked)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text == ANSWER.partition("tiān")[0]
    tokens = [token for chunk in chunks for token in chunk.choices[0].logprobs.tokens]
    assert tokens == whole.choices[0].logprobs.tokens
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert usage.usage == whole.usage


def test_chat_answers_carry_log_probabilities_too(client: OpenAI, taught: Path, tokenizer: Tokenizer):
    messages = [{"role": "user", "content": QUESTION}]
    asked: dict[str, Any] = {"model": "homeroom", "messages": messages, "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**asked)
    content = whole.choices[0].logprobs.content
    prompt = render(messages, tokenizer, for_generation=True).token_ids
    answer = [*tokenizer.encode(ANSWER), tokenizer.end_id]
    expected = whole_forward(taught, prompt + answer)[len(prompt) - 1 :]
    assert len(content) == len(answer)
    for at, token in enumerate(answer):
        assert math.isclose(content[at].logprob, expected[at, token], abs_tol=1e-4)
        tops = [one.logprob for one in content[at].top_logprobs]
        torch.testing.assert_close(torch.tensor(tops), expected[at].topk(3).values, atol=1e-4, rtol=1e-4)
    assert b"".join(bytes(one.bytes) for one in content).decode() == ANSWER
    chunks = list(client.chat.completions.create(stream=True, **asked))
    streamed = [one for chunk in chunks if (found := chunk.choices[0].logprobs) for one in found.content]
    assert [one.token for one in streamed] == [one.token for one in content]


def test_tokenize_says_what_a_text_is_to_the_model(url: str, tokenizer: Tokenizer):
    told = httpx.post(f"{url}/v1/tokenize", json={"text": "画 <|end|> é"}).json()
    assert told["tokens"] == tokenizer.encode("画 <|end|> é")
    assert told["count"] == len(told["tokens"]) == len(told["texts"])
    assert tokenizer.end_id not in told["tokens"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": [5, 10**6]}, "1000000 is no token id"),
        ({"prompt": "long " * 1000}, "Please shorten the prompt"),
        ({"prompt": "a", "echo": True, "stream": True}, "A stream has no echo"),
        ({"prompt": "a", "max_tokens": 0}, "echo = true"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": {"text": "a"}}, "prompt"),
    ],
)
def test_what_cannot_be_is_refused_by_name(client: OpenAI, body: dict[str, Any], message: str):
    with pytest.raises(BadRequestError, match=message):
        client.completions.create(model="homeroom", **body)


def test_an_empty_prompt_begins_a_document(client: OpenAI):
    assert complete(client, "", max_tokens=3).usage.completion_tokens == 3


def test_offsets_are_places_in_the_text(client: OpenAI, tokenizer: Tokenizer):
    for prompt in (
        "世界和平 is peace",
        tokenizer.encode("世界和平"),
        [tokenizer.document_id, *tokenizer.encode("é so")],
    ):
        made = client.completions.create(
            model="homeroom", prompt=prompt, echo=True, logprobs=0, max_tokens=8, temperature=0
        )
        (choice,) = made.choices
        offsets, text = choice.logprobs.text_offset, choice.text
        assert offsets == sorted(offsets)
        assert offsets[0] == 0
        assert offsets[-1] <= len(text)
        ids = made.choices[0].logprobs.tokens
        whole = [(at, shown) for at, shown in zip(offsets, ids, strict=True) if not shown.startswith(("bytes:", "<|"))]
        assert len(whole) >= 2
        assert all(text[at : at + len(shown)] == shown for at, shown in whole)


def test_several_prompts_stream_side_by_side(client: OpenAI):
    asked: Any = {"max_tokens": 12, "n": 2, "seed": 3, "temperature": 1.0, "logprobs": 1}
    whole = complete(client, ["It is", "画蛇"], **asked)
    texts, tokens, usage = [""] * 4, [[], [], [], []], None
    for chunk in complete(client, ["It is", "画蛇"], stream=True, stream_options={"include_usage": True}, **asked):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            tokens[choice.index] += choice.logprobs.tokens
    assert texts == [choice.text for choice in whole.choices]
    assert tokens == [choice.logprobs.tokens for choice in whole.choices]
    assert usage == whole.usage
