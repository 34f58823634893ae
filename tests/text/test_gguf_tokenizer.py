"""Tokenizers in GGUF metadata: the ids of the folder they were written from, and those of SentencePiece's rule."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from homeroom.text.chat_template import render
from homeroom.text.gguf_cutting import CUTTINGS, cutting
from homeroom.text.gguf_tokenizer import from_gguf, to_gguf
from homeroom.text.sandbox import write_out
from homeroom.text.token_bytes import BYTE_TOKENS
from homeroom.text.tokenizer import Tokenizer, TokenizerError

JSON = "tokenizer.huggingface.json"
PIECE = st.text() | st.sampled_from(
    ["画蛇添足", " Python3", "\r\n\n", "  ", "🙂", "12345", "it's I'LL", " 2026½", "e\u0301b/\n", "<s>"]
)
ANY_TEXT = st.lists(PIECE).map("".join)
BYTE_LEVEL = {"gpt2": "gpt-2", "smollm2": "smollm", "qwen2": "qwen2", "llama3": "llama-bpe"}
TALK = [{"role": "user", "content": "it's 12?"}, {"role": "assistant", "content": "多此一举"}]


def without_json(tokenizer: Tokenizer) -> dict[str, Any]:
    return {key: value for key, value in to_gguf(tokenizer).items() if key != JSON}


@pytest.fixture(scope="module", params=BYTE_LEVEL)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def public(download: Callable[[str], Path], kind: str) -> Any:
    return AutoTokenizer.from_pretrained(download(kind))


@pytest.fixture(scope="module")
def read(download: Callable[[str], Path], kind: str) -> Tokenizer:
    return from_gguf(without_json(Tokenizer.load(download(kind))))


@given(text=ANY_TEXT)
def test_the_name_of_the_cutting_gives_the_ids_of_the_folder(read: Tokenizer, public: Any, text: str) -> None:
    assert public(text, split_special_tokens=True, add_special_tokens=False)["input_ids"] == read.encode(text)


def test_what_the_folder_says_comes_back(
    download: Callable[[str], Path], kind: str, read: Tokenizer, public: Any, tmp_path: Path
) -> None:
    folder = Tokenizer.load(download(kind))
    metadata = to_gguf(folder)
    assert metadata["tokenizer.ggml.pre"] == BYTE_LEVEL[kind]
    assert read.end_ids == folder.end_ids | {at for at in [folder.id_of("<|endoftext|>")] if at is not None}
    for field in ("names", "chat_template", "special_ids", "end_id", "document_id", "pad_id", "vocab_size"):
        assert getattr(read, field) == getattr(folder, field), field
        assert getattr(from_gguf(metadata), field) == getattr(folder, field), field
    read.save(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    text = "a <|im_end|> 画蛇添足 <think> 2026"
    assert saved(text)["input_ids"] == public(text)["input_ids"]
    assert saved.special_tokens_map == public.special_tokens_map
    if public.chat_template:
        assert saved.apply_chat_template(TALK)["input_ids"] == public.apply_chat_template(TALK)["input_ids"]
        assert render(TALK, read).token_ids == public.apply_chat_template(TALK)["input_ids"]
    assert Tokenizer.load(tmp_path).end_ids == read.end_ids


def test_llama_3_takes_a_piece_that_is_a_token_before_it_looks_at_merges() -> None:
    tokens = ["a", "b", "c", "ab", "abc", "<|eot_id|>"]
    given = {"model": "gpt2", "tokens": tokens, "token_type": [1] * 5 + [3], "merges": ["a b"], "eos_token_id": 5}
    for pre, expected in (("llama-bpe", [4]), ("gpt-2", [3, 2])):
        read = from_gguf({f"tokenizer.ggml.{key}": value for key, value in (given | {"pre": pre}).items()})
        assert read.encode("abc") == expected


@pytest.mark.parametrize("name", ["llama2", "mistral"])
def test_a_sentencepiece_tokenizer_comes_back_whole(download: Callable[[str], Path], name: str) -> None:
    folder = Tokenizer.load(download(name))
    metadata = to_gguf(folder)
    assert (metadata["tokenizer.ggml.model"], metadata["tokenizer.ggml.add_bos_token"]) == ("llama", True)
    types = metadata["tokenizer.ggml.token_type"]
    assert [types[folder.id_of(token) or 0] for token in ("<unk>", "<s>", "<0x0A>", "a")] == [2, 3, 6, 1]
    read = from_gguf(metadata)
    for text in ("  it's 画蛇添足\n", "", "<s> object"):
        assert read.encode(text) == folder.encode(text)
    assert render(TALK, read) == render(TALK, folder)


# No two have one score: that is the one thing that a list of merges, which has an order, could not say.
PIECES = ["▁", *"abc", "▁a", "ab", "bc", "▁ab", "abc", "ca", "▁▁", "cab", "画", "bcab"]


def pieces(space: bool = True) -> dict[str, Any]:
    tokens = ["<unk>", "<s>", "</s>", *BYTE_TOKENS, *PIECES, "<tool>"]
    scores = [0.0] * (len(tokens) - len(PIECES) - 1) + [-float(at * 7 % 12) for at in range(len(PIECES))] + [0.0]
    types = [2, 3, 3, *[6] * 256, *[1] * len(PIECES), 4]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_space_prefix": space,
    }


def by_the_rule(text: str, metadata: dict[str, Any]) -> list[int]:
    """SentencePiece: again and again the neighbours that make the token of the highest score, the first of equals."""
    ids = {token: at for at, token in enumerate(metadata["tokenizer.ggml.tokens"])}
    row = list(("▁" if metadata["tokenizer.ggml.add_space_prefix"] and text else "") + text.replace(" ", "▁"))
    while True:
        made = [
            (-metadata["tokenizer.ggml.scores"][ids[a + b]], at)
            for at, (a, b) in enumerate(pairwise(row))
            if a + b in PIECES
        ]
        if not made:
            return [
                ids[one] for part in row for one in ([part] if part in ids else [f"<0x{b:02X}>" for b in part.encode()])
            ]
        at = min(made)[1]
        row[at : at + 2] = [row[at] + row[at + 1]]


@given(text=st.text("abc ▁画é"), space=st.booleans())
def test_scores_give_the_merges_of_sentencepiece(text: str, space: bool) -> None:
    metadata = pieces(space)
    read = from_gguf(metadata)
    assert read.encode(text) == by_the_rule(text, metadata)
    assert read.decode(read.encode(text)) == text.replace("▁", " ")
    assert read.encode(f"<tool>{text}")[0] == len(metadata["tokenizer.ggml.tokens"]) - 1


def test_what_a_sentencepiece_file_leaves_out(tmp_path: Path) -> None:
    read = from_gguf(pieces())
    assert (read.document_id, read.end_id, read.pad_id) == (1, 2, 2)
    assert read.names == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    read.save(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("ab")["input_ids"] == [1, *read.encode("ab")]


def test_our_own_comes_back_whole(tokenizer: Tokenizer) -> None:
    metadata = to_gguf(tokenizer)
    read = from_gguf(metadata)
    assert read.is_own
    assert (read.assistant_id, read.end_id, read.pad_id) == (tokenizer.assistant_id, tokenizer.end_id, tokenizer.pad_id)
    assert read.to_json() == tokenizer.to_json()
    assert metadata["tokenizer.ggml.bos_token_id"] == tokenizer.document_id
    assert metadata["tokenizer.ggml.add_bos_token"] is True


def test_our_own_template_is_written_without_the_tag_that_not_every_program_knows(tokenizer: Tokenizer) -> None:
    template = to_gguf(tokenizer)["tokenizer.chat_template"]
    assert "generation -%}" not in template
    for asked in (False, True):
        marked = write_out(tokenizer.chat_template or "", TALK, {}, for_generation=asked)
        assert write_out(template, TALK, {}, for_generation=asked) == marked.translate({0xFDD0: None, 0xFDD1: None})


def test_a_program_that_cuts_as_the_file_says_makes_nearly_our_ids(tokenizer: Tokenizer, texts: list[str]) -> None:
    """Qwen2's way is coarser than ours, but there are no merges across our borders."""
    read = from_gguf(without_json(tokenizer))
    for text in texts:
        assert read.encode(text) == tokenizer.encode(text)


def wrong(**changes: Any) -> dict[str, Any]:
    whole = pieces() | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "bert"}, r"model is 'bert'; known are 'gpt2' .* 'llama'"),
        ({"model": None}, r"ggml\.model is missing; it should be text"),
        ({"model": "gpt2", "pre": "viking"}, r"pre is 'viking'.* known are gpt-2, .*Hugging Face folder"),
        ({"model": "gpt2", "pre": "smollm"}, r"ggml\.merges is missing"),
        ({"model": "gpt2", "merges": ["a b c"]}, "merges holds 'a b c'"),
        ({"model": "gpt2", "merges": "ab"}, r"ggml\.merges is 'ab'; it should be a list of text"),
        ({"scores": None}, r"ggml\.scores is missing"),
        ({"scores": [1.0]}, r"ggml\.scores is \[1\.0\]; it should be a list of \d+ numbers"),
        ({"tokens": ["a", "a"]}, "has a token twice"),
        ({"eos_token_id": 10**6}, r"eos_token_id is 1000000; it should be an id below \d+"),
        ({"eos_token_id": None, "tokens": None}, r"ggml\.tokens is missing"),
    ],
)
def test_what_cannot_be_read_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        from_gguf(wrong(**changes))


def test_a_whole_tokenizer_that_is_another_is_refused(tokenizer: Tokenizer) -> None:
    metadata = to_gguf(tokenizer)
    metadata["tokenizer.ggml.tokens"] = ["????", *metadata["tokenizer.ggml.tokens"][1:]]
    with pytest.raises(TokenizerError, match=r"disagree about 1 ids \('<\|pad\|>'"):
        from_gguf(metadata)
    with pytest.raises(TokenizerError, match=r"huggingface\.json: damaged"):
        from_gguf(metadata | {JSON: "{"})


def test_a_cutting_without_a_name_is_refused_for_writing(download: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer.load(download("gpt2"))
    tokenizer._backend.pre_tokenizer = cutting("qwen2").pre_tokenizer
    assert to_gguf(tokenizer)["tokenizer.ggml.pre"] == "qwen2"
    tokenizer._backend.pre_tokenizer = None
    with pytest.raises(TokenizerError, match="no name in GGUF"):
        to_gguf(tokenizer)


@given(text=ANY_TEXT)
def test_every_cutting_keeps_all_text(download: Callable[[str], Path], text: str) -> None:
    assume(text)
    for way in CUTTINGS.values():
        cut = way.pre_tokenizer.pre_tokenize_str(text)
        assert [span[0] for _, span in cut[1:]] == [span[1] for _, span in cut[:-1]]
        assert (cut[0][1][0], cut[-1][1][1]) == (0, len(text))


def test_the_arrays_are_what_a_writer_takes(tokenizer: Tokenizer) -> None:
    for key, value in to_gguf(tokenizer).items():
        assert isinstance(value, (str, bool, int, list)), key
    assert json.loads(to_gguf(tokenizer)[JSON])["model"]["type"] == "BPE"
