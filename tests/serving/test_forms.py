"""Answers that are held to a form, asked for over HTTP of a model of random weights: what says "stop" has the form."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import jsonschema_rs
import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import BadRequestError, LengthFinishReasonError, OpenAI

from homeroom.models.checkpoint import save_model
from homeroom.models.gpt import GPT, Config
from homeroom.serving.app import serving
from homeroom.serving.forms import LONGEST_CHOICE, LONGEST_REGEX, LONGEST_SCHEMA, MOST_CHOICES
from homeroom.serving.settings import ServingSettings
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Workspace

TEXT = 'the quick brown fox says "yes", or {"a": [1, 2.5, true, null]}; 画蛇添足的意思是多此一举。'
HEADERS = {"Content-Type": "application/json"}
QUESTION = [{"role": "user", "content": "是吗？"}]
COLOURS = ["red", "画蛇添足", "dark green", "red", " blue", "a\nb"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, publish: Any) -> Workspace:
    folder = tmp_path_factory.mktemp("random")
    tokenizer = Tokenizer.train([TEXT] * 3, 420)
    torch.manual_seed(0)
    save_model(GPT(Config(vocab_size=tokenizer.vocab_size, max_length=500, layers=1, width=32, heads=2)), folder)
    tokenizer.save(folder)
    workspace = Workspace.open(tmp_path_factory.mktemp("workspace"))
    publish(workspace, folder, "random")
    return workspace


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with serving(workspace, ServingSettings(port=0, max_tokens=400)) as url:
        yield url


def chat(client: OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="homeroom", messages=QUESTION, **{"seed": 1, **more})  # type: ignore[arg-type]


def complete(client: OpenAI, **more: Any) -> Any:
    asked = {"model": "homeroom", "prompt": "It is", "max_tokens": 400, "seed": 1, **more}
    return client.completions.create(**asked)


def texts(made: Any, finish_reason: str = "stop") -> list[str]:
    ended = [choice for choice in made.choices if choice.finish_reason == finish_reason]
    return [choice.text if made.object == "text_completion" else choice.message.content for choice in ended]


def schema_format(schema: Any, **more: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "made", "schema": schema, **more}}


def schemas() -> st.SearchStrategy[Any]:
    low, more = st.integers(-120, 120), st.integers(0, 300)
    leaves = st.one_of(
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "integer"}, {"type": ["integer", "null"]}]),
        st.builds(lambda a, b: {"type": "number", "minimum": a, "maximum": a + b}, low, more),
        st.builds(lambda a, b: {"type": "string", "minLength": a, "maxLength": a + b}, st.integers(0, 4), more),
        st.builds(
            lambda values: {"enum": values}, st.lists(st.text(max_size=5) | st.integers(-(2**53), 2**53), min_size=1)
        ),
        st.sampled_from([{"type": "string", "pattern": "^[a-z]{2,4}$"}, {"const": "画蛇"}, {"type": "string"}]),
    )
    keys = st.sampled_from(["a", "名字", 'quo"te', "two words", ""])

    def thing(properties: dict[str, Any], count: int) -> dict[str, Any]:
        kept = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**kept, "required": list(properties)[:count]}

    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(thing, st.dictionaries(keys, inner, max_size=4), st.integers(0, 4)),
            st.builds(lambda a, b, c: {"type": "array", "items": a, "minItems": b, "maxItems": b + c},
                      inner, st.integers(0, 2), st.integers(0, 3)),
            st.builds(lambda a: {"anyOf": a}, st.lists(inner, min_size=1, max_size=3)),
        ),
        max_leaves=6,
    )  # fmt: skip


def test_every_finished_answer_fits_its_schema(client: OpenAI) -> None:
    fitting = []

    @settings(max_examples=25, derandomize=True)
    @given(schema=schemas(), seed=st.integers(0, 99), strict=st.sampled_from([True, False, None]))
    def check(schema: Any, seed: int, strict: bool | None) -> None:
        asked = {"seed": seed, "n": 3}
        made = [
            chat(client, response_format=schema_format(schema, strict=strict), **asked),
            complete(client, extra_body={"structured_outputs": {"json": schema}}, **asked),
        ]
        for text in [*texts(made[0]), *texts(made[1])]:
            assert jsonschema_rs.validator_for(schema).is_valid(json.loads(text)), (schema, text)
            fitting.append(text)

    check()
    assert len(fitting) >= 60


def test_a_json_object_is_one(client: OpenAI) -> None:
    made = [chat(client, response_format={"type": "json_object"}, n=8), chat(client, n=2)]
    made.append(complete(client, extra_body={"response_format": {"type": "json_object"}}, n=8))
    found = [json.loads(text) for text in [*texts(made[0]), *texts(made[2])]]
    assert found
    assert all(isinstance(one, dict) for one in found)
    assert all(not text.lstrip().startswith("{") for text in texts(made[1], "length"))


class Idiom(pydantic.BaseModel):
    name: str
    tone: Literal["好", "坏"]
    strokes: list[Literal[1, 2, 3]]
    older: "Idiom | None"


def test_the_client_parses_answers_into_its_own_model(client: OpenAI) -> None:
    parsed = []
    for seed in range(8):
        asked: Any = {"model": "homeroom", "messages": QUESTION, "max_tokens": 400, "seed": seed}
        try:
            made = client.chat.completions.parse(response_format=Idiom, **asked)
        except LengthFinishReasonError:  # the client's own: what was cut is not parsed
            continue
        parsed.append(made.choices[0].message.parsed)
    assert len(parsed) >= 2
    assert all(isinstance(one, Idiom) for one in parsed)


@pytest.mark.parametrize("pattern", [r"\d{4}-\d\d", r"(yes|no|也许){1,3}!", r" ?lead", r"[^a-z]{3}"])
def test_expressions_match_the_whole_answer(client: OpenAI, pattern: str) -> None:
    asked = {"extra_body": {"structured_outputs": {"regex": pattern}}, "n": 6}
    found = [text for made in (chat(client, **asked), complete(client, **asked)) for text in texts(made)]
    assert len(found) >= 10
    assert all(re.fullmatch(pattern, text) for text in found), found


def test_choices_are_said_letter_by_letter(client: OpenAI) -> None:
    asked = {"extra_body": {"structured_outputs": {"choice": COLOURS}}, "n": 16}
    found = [text for made in (chat(client, **asked), complete(client, **asked)) for text in texts(made)]
    assert len(found) == 32
    assert set(found) == set(COLOURS)


def test_a_stream_a_whole_and_a_seed_say_the_same(client: OpenAI) -> None:
    asked = {"response_format": schema_format({"enum": ["画蛇添足", "狐狸", "fox"]}), "logprobs": True, "seed": 5}
    whole, again = chat(client, n=2, **asked), chat(client, **{**asked, "seed": 6})
    assert [choice.message.content for choice in whole.choices][1] == again.choices[0].message.content
    chunks = list(chat(client, stream=True, **asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    told = [one.logprob for chunk in chunks if (found := chunk.choices[0].logprobs) for one in found.content]
    assert told == pytest.approx([one.logprob for one in whole.choices[0].logprobs.content], abs=1e-4)


def test_what_was_cut_says_so(client: OpenAI, workspace: Workspace) -> None:
    outputs = {"structured_outputs": {"json": {"type": "string", "minLength": 40}}}
    short = chat(client, max_tokens=5, extra_body=outputs)
    assert short.choices[0].finish_reason == "length"
    assert workspace.feedback.message(short.id).finish_reason == "length"
    longer = {"structured_outputs": {"regex": "a{600}"}}
    context = complete(client, prompt="the " * 100, max_tokens=5000, extra_body=longer).choices[0]
    assert (context.finish_reason, set(context.text)) == ("length", {"a"})


@pytest.mark.parametrize(
    ("pattern", "stop", "text", "finish_reason"),
    [
        ("aa;bb", ";", "aa", "length"),
        ("aa(;bb)", ["x", "b"], "aa;", "length"),
        ("aa|aa;bb;|bb;", ";b", None, "stop"),
        ("(aa)?;bb", ";", None, None),
        ("aa", "b", "aa", "stop"),
    ],
)
def test_a_stop_string_that_cuts_a_form_in_two_is_no_stop(
    client: OpenAI, pattern: str, stop: Any, text: str | None, finish_reason: str | None
) -> None:
    asked: Any = {"extra_body": {"structured_outputs": {"regex": pattern}}, "stop": stop}
    made = chat(client, n=6, **asked)
    for choice in made.choices:
        said = choice.message.content
        assert text in (None, said)
        expected = "stop" if re.fullmatch(pattern, said) else "length"
        assert choice.finish_reason == expected == (finish_reason or expected)
    chunks = list(chat(client, stream=True, **asked))
    assert chunks[-1].choices[0].finish_reason == made.choices[0].finish_reason
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == made.choices[0].message.content


def test_blank_space_comes_to_an_end(client: OpenAI) -> None:
    found = chat(client, response_format={"type": "json_object"}, n=16, temperature=2.0).choices
    assert all(len(space) <= 40 for choice in found for space in re.findall(r"(?<!\S)\s+", choice.message.content))


def deep(levels: int) -> Any:
    schema: Any = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


SCHEMA, JSON = "response_format.json_schema.schema", "structured_outputs.json"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"response_format": {"type": "xml"}}, "response_format.type", "text"),
    ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema goes with"),
    ({"response_format": {"type": "text", "json_schema": {"name": "a"}}}, "response_format", "only with it"),
    ({"response_format": schema_format({}, name="a b")}, "response_format.json_schema.name", "pattern"),
    ({"response_format": schema_format(["a"])}, SCHEMA, "dictionary"),
    ({"response_format": schema_format({"type": "text"})}, SCHEMA, "Invalid type: text"),
    ({"response_format": schema_format({"type": "array", "uniqueItems": True})}, SCHEMA, "uniqueItems"),
    ({"response_format": schema_format({"$ref": "#"})}, SCHEMA, "cannot be kept to"),
    ({"response_format": schema_format({"$ref": "#/$defs/none"})}, SCHEMA, "none"),
    ({"response_format": schema_format(deep(200))}, SCHEMA, "recursion limit"),
    ({"response_format": schema_format({"enum": ["x" * LONGEST_SCHEMA]})}, SCHEMA, "more than 40000 characters"),
    ({"response_format": schema_format({"type": "string", "pattern": "[a"})}, SCHEMA, "unclosed"),
    ({"response_format": schema_format({"enum": ["\ud800"]})}, SCHEMA, "cannot be kept to"),
    ({"structured_outputs": {"json": {"minimum": 5, "maximum": 3, "type": "integer"}}}, JSON, "greater than"),
    ({"structured_outputs": {}}, "structured_outputs", "one of json, regex and choice"),
    ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "one of json, regex and choice"),
    ({"structured_outputs": {"grammar": "a"}}, "structured_outputs.grammar", "Unrecognized"),
    ({"structured_outputs": {"regex": "(a"}}, "structured_outputs.regex", "unclosed group"),
    ({"structured_outputs": {"regex": ""}}, "structured_outputs.regex", "at least 1"),
    ({"structured_outputs": {"regex": r"a(?=b)"}}, "structured_outputs.regex", "look-around"),
    ({"structured_outputs": {"regex": "a" * (LONGEST_REGEX + 1)}}, "structured_outputs.regex", "at most 4000"),
    ({"structured_outputs": {"regex": "(" * 1500 + ")" * 1500}}, "structured_outputs.regex", "nest"),
    ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", "at least 1"),
    ({"structured_outputs": {"choice": ["a", ""]}}, "structured_outputs.choice[1]", "at least 1"),
    ({"structured_outputs": {"choice": ["\udfff"]}}, "structured_outputs.choice[0]", "unicode"),
    ({"structured_outputs": {"choice": ["a" * (LONGEST_CHOICE + 1)]}}, "structured_outputs.choice[0]", "at most 1000"),
    ({"structured_outputs": {"choice": ["a"] * (MOST_CHOICES + 1)}}, "structured_outputs.choice", "at most 1000"),
    ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}}, "structured_outputs", "form"),
    # Compiles for hours where nobody ends it.
    ({"structured_outputs": {"json": {"allOf": [{"type": "string", "pattern": f"{i}"} for i in range(110)]}}}, JSON,
     "too complex"),
    # Both are found out while the answer is written.
    ({"structured_outputs": {"regex": "a{1000000}"}}, "structured_outputs.regex", "cannot be followed any further"),
    ({"structured_outputs": {"regex": "a{1000000}"}, "stream": False}, "structured_outputs.regex", "further"),
]  # fmt: skip


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_what_no_answer_can_be_held_to_is_refused_by_name(url: str, path: str) -> None:
    place = {"messages": QUESTION} if path.startswith("chat") else {"prompt": "a"}
    for more, param, message in REFUSED:
        body = json.dumps({"model": "homeroom", "max_tokens": 30, **place, **more})
        response = httpx.post(f"{url}/v1/{path}", content=body, headers=HEADERS, timeout=60)
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, param), (more, error)
        assert message in error["message"], error
        assert error["type"] == "invalid_request_error"
        assert len(error["message"]) < 1000


def test_a_stream_that_fails_says_why_and_others_go_on(client: OpenAI) -> None:
    with pytest.raises(Exception, match="cannot be followed any further"):
        list(chat(client, stream=True, extra_body={"structured_outputs": {"regex": "a{1000000}"}}))
    with pytest.raises(BadRequestError, match="cannot be followed any further"):
        chat(client, n=4, extra_body={"structured_outputs": {"regex": "a{1000000}"}})
    assert texts(chat(client, extra_body={"structured_outputs": {"choice": ["yes"]}})) == ["yes"]


def test_json_nested_without_end_is_refused(url: str) -> None:
    for opening, closing in (('{"a":', "}"), ("[", "]")):
        schema = '{"enum":' + opening * 20000 + "1" + closing * 20000 + "}"
        body = '{"model":"homeroom","prompt":"a","structured_outputs":{"json":' + schema + "}}"
        response = httpx.post(f"{url}/v1/completions", content=body, headers=HEADERS)
        assert response.status_code == 400


LACKING = """
import sys
sys.modules["llguidance"] = None
from pathlib import Path
import httpx
from homeroom.serving.app import serving
from homeroom.serving.settings import ServingSettings
from homeroom.workspace import Workspace
with Workspace.open(Path(sys.argv[1])) as workspace, serving(workspace, ServingSettings(port=0)) as url:
    for more in ({"structured_outputs": {"regex": "a"}}, {"response_format": {"type": "text"}}):
        print(httpx.post(f"{url}/v1/completions", json={"model": "homeroom", "prompt": "a", **more}).text)
"""


def test_without_llguidance_all_else_is_served(workspace: Workspace) -> None:
    command = [sys.executable, "-c", LACKING, str(workspace.path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    refused, answered = map(json.loads, ended.stdout.splitlines())
    assert "pip install llguidance" in refused["error"]["message"]
    assert refused["error"]["param"] == "structured_outputs.regex"
    assert answered["choices"]
