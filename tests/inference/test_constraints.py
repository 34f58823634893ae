"""Answers that are held to a grammar, said by a model of random weights: whatever ends by itself fits."""

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.inference.constraints import GrammarConstraint, GrammarError, Vocabulary
from homeroom.inference.engine import Engine
from homeroom.inference.request import Completion, Request, Sampling
from homeroom.models.gpt import GPT
from homeroom.settings import HomeroomError
from homeroom.text.gguf_tokenizer import from_gguf
from homeroom.text.token_bytes import BYTE_TOKENS
from homeroom.text.tokenizer import Tokenizer

TEXT = 'the quick brown fox says "yes", or {"a": [1, 2.5, true, null]}; 画蛇添足的意思是多此一举。'
ROWS_BEYOND = 7  # models may have more rows than their tokenizer has tokens
KEYS = st.sampled_from(["a", "名字", 'quo"te', "two words", ""])
ANY_TEXT = st.text(min_size=1, max_size=8)


def _gguf(kind: str, tokens: list[str], types: list[int], **more: object) -> Tokenizer:
    given = {"model": kind, "tokens": tokens, "token_type": types, **more}
    return from_gguf({f"tokenizer.ggml.{key}": value for key, value in given.items()})


def _sentencepiece() -> Tokenizer:
    pieces = ["▁", "▁a", "a", "b", "▁yes", "no", "蛇", "▁▁", '▁{"', '":', "}"]
    tokens = ["<unk>", "<s>", "</s>", *BYTE_TOKENS, *pieces]
    types = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))]
    ids = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    return _gguf("llama", tokens, types, scores=scores, **ids)


@pytest.fixture(scope="module")
def own() -> Tokenizer:
    return Tokenizer.train([TEXT] * 3, 420)


@pytest.fixture(scope="module", params=["own", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest, own: Tokenizer) -> Tokenizer:
    return own if request.param == "own" else _sentencepiece()


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(tokenizer, tokenizer.vocab_size + ROWS_BEYOND)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer, new_model: Callable[..., GPT]) -> GPT:
    size = tokenizer.vocab_size + ROWS_BEYOND
    shape = {"vocab_size": size, "max_length": 600, "width": 16, "heads": 2, "layers": 1, "deviation": 0.2}
    return new_model(**shape).double()  # as in conftest.py: company cannot tip a choice by rounding


def ask(model: GPT, tokenizer: Tokenizer, held: list[GrammarConstraint | None], seed: int) -> list[Completion]:
    """Answers at temperature 1, and an unconstrained neighbour for every two of them."""
    engine = Engine(model, end_id=tokenizer.end_ids, slots=6)
    sampling = Sampling(max_tokens=400, seed=seed)
    kept = [Request(str(i), [i % 20, 7], sampling, constraint=one) for i, one in enumerate(held)]
    free = [Request(f"free {i}", [9, i], Sampling(max_tokens=20, seed=i)) for i in range(len(held) // 2)]
    *answers, last = engine.generate([*kept, *free, Request("last", [5], Sampling(max_tokens=3, seed=1))])
    for request, answer in zip(free, answers[len(kept) :], strict=True):
        assert answer.token_ids == engine.generate([request])[0].token_ids
    assert last.request_id == "last"
    return answers[: len(kept)]


def said(tokenizer: Tokenizer, answer: Completion) -> str:
    assert not set(answer.token_ids[:-1]) & tokenizer.end_ids
    return tokenizer.decode_bytes(answer.token_ids).decode()


def leaf_schemas() -> st.SearchStrategy[Any]:
    low, more = st.integers(-120, 120), st.integers(0, 300)
    return st.one_of(
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "integer"}, {"type": ["integer", "null"]}]),
        st.builds(lambda a, b: {"type": "integer", "minimum": a, "maximum": a + b}, low, more),
        st.builds(lambda a, b: {"type": "number", "minimum": a, "maximum": a + b}, low, more),
        st.builds(lambda a, b: {"type": "string", "minLength": a, "maxLength": a + b}, st.integers(0, 4), more),
        st.sampled_from([{"type": "string", "pattern": pattern} for pattern in ("^[a-z]{2,5}$", "^画+蛇$", "^\\d?x$")]),
        st.builds(
            lambda some: {"enum": some}, st.lists(ANY_TEXT | st.booleans() | low, min_size=1, max_size=4, unique=True)
        ),
        st.builds(lambda text: {"const": text}, ANY_TEXT),
    )


def larger_schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    @st.composite
    def objects(draw: st.DrawFn) -> dict[str, Any]:
        properties = draw(st.dictionaries(KEYS, inner, max_size=3))
        required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def array(items: Any, least: int, more: int) -> dict[str, Any]:
        return {"type": "array", "items": items, "minItems": least, "maxItems": least + more}

    arrays = st.builds(array, inner, st.integers(0, 2), st.integers(0, 2))
    return objects() | arrays | st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner)


SCHEMAS = st.recursive(leaf_schemas(), larger_schemas, max_leaves=5)


def test_every_finished_answer_fits_its_schema(model: GPT, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    fits = []

    @settings(max_examples=12)
    @given(schemas=st.lists(SCHEMAS, min_size=10, max_size=10), seed=st.integers(0, 99))
    def check(schemas: list[Any], seed: int) -> None:
        held = [vocabulary.json_schema(schema) for schema in schemas]
        for schema, constraint, answer in zip(schemas, held, ask(model, tokenizer, held, seed), strict=True):
            assert constraint.failure is None
            if answer.finish_reason == "stop":
                value = json.loads(said(tokenizer, answer))
                assert jsonschema_rs.validator_for(schema).is_valid(value), (schema, value)
                assert constraint.complete
                fits.append(value)

    check()
    assert len(fits) >= 100


def test_references_and_any_object(model: GPT, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    node = {"type": "object", "properties": {"下": {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 1}}}
    tree = {"$defs": {"n": {**node, "additionalProperties": False}}, "$ref": "#/$defs/n"}
    held = [vocabulary.json_schema(tree) for _ in range(12)] + [vocabulary.json_object() for _ in range(12)]
    answers = ask(model, tokenizer, held, seed=3)
    trees, objects = (
        [json.loads(said(tokenizer, answer)) for answer in some if answer.finish_reason == "stop"]
        for some in (answers[:12], answers[12:])
    )
    assert len(trees) > 6
    assert all(jsonschema_rs.is_valid(tree, one) for one in trees)
    assert objects
    assert all(isinstance(one, dict) for one in objects)


PATTERNS = [r"\d{4}-\d\d", r"(yes|no|也许){1,3}!", r"[^a-z]{3}", r"a/b\.?", r"^(ab|c)+$", r"(?i)fox", r" ?lead", r"x?"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_finished_answer_matches_its_expression(
    model: GPT, tokenizer: Tokenizer, vocabulary: Vocabulary, pattern: str
) -> None:
    answers = ask(model, tokenizer, [vocabulary.regex(pattern) for _ in range(8)], seed=8)
    texts = [said(tokenizer, answer) for answer in answers if answer.finish_reason == "stop"]
    assert len(texts) >= 6
    assert all(re.fullmatch(pattern, text) for text in texts), texts


@settings(max_examples=20)
@given(choices=st.lists(ANY_TEXT, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_every_answer_is_one_of_the_choices(
    model: GPT, tokenizer: Tokenizer, vocabulary: Vocabulary, choices: list[str], seed: int
) -> None:
    for answer in ask(model, tokenizer, [vocabulary.choices(choices) for _ in range(4)], seed):
        assert answer.finish_reason == "stop"
        assert said(tokenizer, answer) in choices


@settings(max_examples=50)
@given(choices=st.lists(ANY_TEXT | st.sampled_from([" a", "  b", "a", "ab"]), min_size=1, max_size=4), data=st.data())
def test_every_choice_can_be_said_as_the_tokenizer_cuts_it(
    tokenizer: Tokenizer, vocabulary: Vocabulary, choices: list[str], data: st.DataObject
) -> None:
    constraint, choice = vocabulary.choices(choices), data.draw(st.sampled_from(choices))
    for token_id in tokenizer.encode(choice):
        assert constraint.allowed()[token_id]
        constraint.accept(token_id)
    ends = constraint.allowed()[sorted(tokenizer.end_ids)]
    assert ends.all()
    assert constraint.complete


def held_to(constraint: GrammarConstraint, tokenizer: Tokenizer, text: str) -> GrammarConstraint:
    for token_id in tokenizer.encode(text):
        assert constraint.allowed()[token_id], tokenizer.decode([token_id])
        constraint.accept(token_id)
    return constraint


def test_an_answer_ends_where_its_grammar_may_and_only_there(own: Tokenizer) -> None:
    vocabulary = Vocabulary(own, own.vocab_size + ROWS_BEYOND)
    silent = [*own.special_ids - own.end_ids, *range(own.vocab_size, vocabulary.size)]
    constraint = vocabulary.regex("ab?")
    for text, may_end, may_go_on in (("a", False, True), ("b", True, True), ("", True, False)):
        allowed_V = constraint.allowed()
        assert allowed_V.shape == (vocabulary.size,)
        assert allowed_V.dtype == torch.bool
        assert bool(allowed_V[own.end_id]) == constraint.complete == may_end
        assert not allowed_V[silent].any()
        assert (int(allowed_V.sum()) > may_end) == may_go_on
        held_to(constraint, own, text)
    constraint.accept(own.end_id)
    assert constraint.complete


def test_only_what_the_grammar_allows_is_accepted(own: Tokenizer) -> None:
    constraint = Vocabulary(own).json_object()
    constraint.allowed()
    with pytest.raises(ValueError, match=r"token \d+ was not allowed here: .+") as caught:
        constraint.accept(own.encode("x")[0])
    assert "<state>" not in str(caught.value)


def test_digits_and_words_of_an_expression_are_those_of_every_script(own: Tokenizer) -> None:
    assert held_to(Vocabulary(own).regex(r"\d\w"), own, "٣蛇").complete


def test_text_that_a_normalizer_would_change_is_said_unchanged(own: Tokenizer) -> None:
    backend = tokenizers.Tokenizer.from_str(own.to_json())
    backend.normalizer = tokenizers.normalizers.NFC()
    constraint = Vocabulary(Tokenizer(backend)).choices(["e\u0301"])
    said_ids: list[int] = []
    while not constraint.complete:
        assert constraint.failure is None
        said_ids.append(int(constraint.allowed().nonzero()[0]))
        constraint.accept(said_ids[-1])
    assert own.decode(said_ids) == "e\u0301"


def test_an_answer_cut_short_says_so(own: Tokenizer, new_model: Callable[..., GPT]) -> None:
    vocabulary = Vocabulary(own)
    engine = Engine(new_model(vocab_size=own.vocab_size), end_id=own.end_ids, slots=2)
    held = [vocabulary.regex("[a-z]{30}"), vocabulary.regex("[a-z]")]
    for constraint, complete in zip(held, (False, True), strict=True):
        asked = Request("a", [7], Sampling(max_tokens=1, seed=1), constraint=constraint)
        assert engine.generate([asked])[0].finish_reason == "length"
        assert constraint.complete == complete


def test_space_between_parts_of_json_comes_to_an_end(own: Tokenizer) -> None:
    constraint = Vocabulary(own).json_object()
    held_to(constraint, own, '{"a":\n' + "\t" * 39)
    with pytest.raises(AssertionError):
        held_to(constraint, own, "\t")


@pytest.mark.parametrize(
    ("kind", "given_value", "message"),
    [
        ("json_schema", {"type": "text"}, "the schema cannot be kept to: Invalid type: text"),
        ("json_schema", {"type": "array", "uniqueItems": True}, 'Unimplemented keys: ["uniqueItems"]'),
        ("json_schema", {"type": "integer", "minimum": 5, "maximum": 3}, "minimum (5) is greater than maximum (3)"),
        ("json_schema", {"$ref": "https://example.org/schema"}, "https://example.org/schema"),
        ("json_schema", {"pattern": "[a", "type": "string"}, "unclosed character class"),
        ("json_schema", {"const": float("nan")}, "the schema is no JSON"),
        ("json_schema", {"const": "\ud800"}, "the schema cannot be kept to"),
        ("json_schema", {"anyOf": [{"enum": [1, 2**53 + 1]}]}, "9007199254740993 is beyond the integers"),
        ("json_schema", {"const": -(2**63)}, "-9223372036854775808 is beyond the integers"),
        ("json_schema", ["object"], "a schema is an object, true or false, not ['object']"),
        ("json_schema", False, "nothing fits the schema false"),
        ("regex", "(a", "the regular expression cannot be kept to: invalid regex"),
        ("regex", "a(?=b)", "look-around"),
        ("regex", r"(a)\1", "backreferences are not supported"),
        ("regex", "", "at least one character, not ''"),
        ("regex", 5, "at least one character, not 5"),
        ("choices", [], "a list of at least one text, not []"),
        ("choices", "yes", "a list of at least one text, not 'yes'"),
        ("choices", ["yes", ""], "at least one character, not ''"),
        ("choices", ["yes", 5], "at least one character, not 5"),
        ("choices", ["\udfff"], r"not '\udfff'"),
    ],
)
def test_what_no_answer_can_be_held_to_is_refused(own: Tokenizer, kind: str, given_value: Any, message: str) -> None:
    with pytest.raises(GrammarError, match=re.escape(message)) as caught:
        getattr(Vocabulary(own), kind)(given_value)
    assert isinstance(caught.value, HomeroomError)
    assert "grammar" not in str(caught.value)


def test_a_model_with_fewer_rows_than_its_tokenizer_has_tokens_is_refused(own: Tokenizer) -> None:
    with pytest.raises(ValueError, match=f"a model of 10 tokens cannot say all {own.vocab_size}"):
        Vocabulary(own, 10)


def test_where_the_vocabulary_lacks_a_byte_the_answer_ends_and_says_why() -> None:
    tokenizer = _gguf("gpt2", ["a", "b", "<|endoftext|>"], [1, 1, 3], merges=[], eos_token_id=2)
    constraint = Vocabulary(tokenizer).regex("[ab]é")
    held_to(constraint, tokenizer, "a")
    assert constraint.allowed().tolist() == [False, False, True]
    assert constraint.failure
    constraint.accept(2)
    assert not constraint.complete
    with pytest.raises(GrammarError, match="no token of this vocabulary can follow"):
        Vocabulary(tokenizer).choices(["é"])
    held_to(Vocabulary(tokenizer).choices(["é", "ab"]), tokenizer, "ab")


def test_a_grammar_that_becomes_too_complex_ends_its_own_answer_and_no_other(
    own: Tokenizer, new_model: Callable[..., GPT]
) -> None:
    vocabulary = Vocabulary(own)
    engine = Engine(new_model(vocab_size=own.vocab_size), end_id=own.end_ids, slots=2)
    held = [vocabulary.regex("a{1000000}"), vocabulary.regex("a{5}")]
    asked = [Request(str(i), [7], Sampling(max_tokens=9, seed=1), constraint=one) for i, one in enumerate(held)]
    _, second = engine.generate(asked)
    assert "too many expressions" in str(held[0].failure)
    assert not held[0].complete
    assert (own.decode(second.token_ids), second.finish_reason, held[1].failure) == ("aaaaa", "stop", None)


def test_a_copy_goes_its_own_way(own: Tokenizer) -> None:
    template = Vocabulary(own).choices(["yes", "no", "也许"])
    for text in ("yes", "也许", "no"):
        assert held_to(template.copy(), own, text).complete
    assert not template.complete


@pytest.mark.parametrize("pattern", [" ?[a-z]+|蛇{2}", "  x"])
def test_a_text_fits_as_it_would_if_it_were_the_whole_answer(
    tokenizer: Tokenizer, vocabulary: Vocabulary, pattern: str
) -> None:
    constraint = vocabulary.regex(pattern)
    for text in ("a", " ab", "  x", "蛇蛇", "蛇", "aB", "", "x ", "\0"):
        assert constraint.fits(text) == bool(re.fullmatch(pattern, text)), text
    constraint.accept(int(constraint.allowed().nonzero()[0]))
    assert constraint.fits("a") == (pattern != "  x")


def test_an_answer_that_goes_on_a_text_begins_with_its_own_space(
    model: GPT, tokenizer: Tokenizer, vocabulary: Vocabulary
) -> None:
    held = [vocabulary.choices([" a", "b", "no"], goes_on=True) for _ in range(12)]
    texts = {tokenizer.decode(one.token_ids, goes_on=True) for one in ask(model, tokenizer, held, seed=2)}
    assert {" a"} < texts <= {" a", "b", "no"}


def test_a_grammar_that_compiles_for_ever_is_ended() -> None:
    many = {"allOf": [{"type": "string", "pattern": f"{i}"} for i in range(110)]}
    vocabulary = Vocabulary(Tokenizer.train([TEXT], 300), trial_seconds=1.5)
    with pytest.raises(GrammarError, match=r"too complex: it does not compile within 1.5 s"):
        vocabulary.json_schema(many)
    assert vocabulary.regex("[a-c]").complete is False


def test_an_end_token_that_is_also_text_ends_and_is_no_text(own: Tokenizer) -> None:
    tokenizer = _gguf("gpt2", ["a", "b", "<|endoftext|>"], [1, 1, 3], merges=[], eos_token_id=2)
    tokenizer.end_ids |= {1}
    constraint = Vocabulary(tokenizer).regex("[ab]")
    assert constraint.allowed().tolist() == [True, False, False]
    constraint.accept(0)
    assert constraint.allowed().tolist() == [False, True, True]
