"""Tokenizers of open checkpoints: token for token what `transformers` makes of the same folder."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers
from transformers import AutoTokenizer

from homeroom.text.tokenizer import Tokenizer, TokenizerError

SPECIAL = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<s>", "</s>", "[INST]", "<unk>", "<think>"]
PIECE = st.text() | st.sampled_from([*SPECIAL, "画蛇添足", " Python3", "\r\n", "  ", "🙂", "12345", "<0x0A>", "\n"])
ANY_TEXT = st.lists(PIECE).map("".join)


def kept(text: str, name: str) -> str:
    """What the tokenizer's own rules leave of a text."""
    if name == "qwen2":
        return unicodedata.normalize("NFC", text)
    return text.replace("▁", " ") if name in ("llama2", "mistral") else text


@given(text=ANY_TEXT)
def test_any_text_comes_back_and_never_holds_a_special_token(foreign: Tokenizer, name: str, text: str) -> None:
    # Metaspace gives a text that begins with a space none of its own: these two are the same tokens.
    assume(name != "mistral" or not text.startswith((" ", "▁")))
    ids = foreign.encode(text)
    assert foreign.decode(ids) == kept(text, name)
    assert foreign.special_ids.isdisjoint(ids)


@given(text=ANY_TEXT)
def test_transformers_makes_the_same_ids_and_the_same_text(foreign: Tokenizer, theirs: Any, text: str) -> None:
    ids = foreign.encode(text)
    assert theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] == ids
    assert theirs.decode(ids, skip_special_tokens=True) == foreign.decode(ids)


@given(text=ANY_TEXT)
def test_valid_utf8_bytes_have_the_ids_of_their_text(foreign: Tokenizer, text: str) -> None:
    assert foreign.encode_bytes(text.encode()) == foreign.encode(text)


@given(data=st.binary(min_size=1))
def test_broken_bytes_come_back(foreign: Tokenizer, name: str, data: bytes) -> None:
    data += b"\xff"
    assume(not data.startswith(b" ") and data.decode("utf-8", "surrogateescape").isascii() is False)
    came = foreign.decode_bytes(foreign.encode_bytes(b"\xff" + data))
    expected = kept((b"\xff" + data).decode("utf-8", "surrogateescape"), name).encode("utf-8", "surrogateescape")
    if name in ("llama2", "mistral"):  # a word after broken bytes is the first of a text again
        came, expected = came.replace(b" ", b""), expected.replace(b" ", b"")
    assert came == expected


@given(data=st.data())
def test_a_stream_adds_up_to_decode(foreign: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, foreign.vocab_size + 5)))
    for goes_on in (False, True):
        stream = foreign.stream_decoder(goes_on=goes_on)
        pieces = [stream.push(token_id) for token_id in ids]
        assert "".join([*pieces, stream.flush()]) == foreign.decode(ids, goes_on=goes_on)


@given(text=ANY_TEXT)
def test_a_stream_never_shows_half_a_character(foreign: Tokenizer, name: str, text: str) -> None:
    stream, shown = foreign.stream_decoder(), ""
    whole = foreign.decode(foreign.encode(text))
    for token_id in foreign.encode(text):
        shown += stream.push(token_id)
        assert whole.startswith(shown)
    assert stream.flush() == ""


def test_a_space_after_other_text_stays(download: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer.load(download("llama2"))
    ids = tokenizer.encode("object")
    assert (tokenizer.decode(ids), tokenizer.decode(ids, goes_on=True)) == ("object", " object")


@pytest.mark.parametrize(
    ("name", "end", "ends", "document", "pad"),
    [
        ("gpt2", "<|endoftext|>", {"<|endoftext|>"}, "<|endoftext|>", "<|endoftext|>"),
        ("smollm2", "<|im_end|>", {"<|im_end|>"}, "<|endoftext|>", "<|im_end|>"),
        ("qwen2", "<|im_end|>", {"<|im_end|>", "<|endoftext|>"}, "<|endoftext|>", "<|endoftext|>"),
        ("llama3", "<|eot_id|>", {"<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"}, "<|begin_of_text|>", "<|eot_id|>"),
        ("llama2", "</s>", {"</s>"}, "<s>", "</s>"),
        ("mistral", "</s>", {"</s>"}, "<s>", "</s>"),
    ],
)
def test_what_begins_and_what_ends(
    download: Callable[[str], Path], name: str, end: str, ends: set[str], document: str, pad: str
) -> None:
    found = Tokenizer.load(download(name))
    token = AutoTokenizer.from_pretrained(download(name)).convert_ids_to_tokens
    assert (token(found.end_id), token(found.document_id), token(found.pad_id)) == (end, document, pad)
    assert {token(one) for one in found.end_ids} == ends
    assert not found.is_own
    assert not hasattr(found, "assistant_id")


def test_a_base_models_turns_end_as_its_template_says(download: Callable[[str], Path], tmp_path: Path) -> None:
    """Qwen's base models name <|endoftext|>, and bring ChatML."""
    shutil.copytree(download("smollm2"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|endoftext|>"}))
    found = Tokenizer.load(tmp_path)
    assert found.end_id == found._backend.token_to_id("<|im_end|>")
    assert found.end_ids == {found.end_id, found._backend.token_to_id("<|endoftext|>")}


@pytest.mark.parametrize(
    "files", [{}, {"config.json": {"eos_token_id": 1}}, {"generation_config.json": {"eos_token_id": [1]}}]
)
def test_a_folder_that_names_nothing(download: Callable[[str], Path], tmp_path: Path, files: dict[str, Any]) -> None:
    """GPT-2's own folder does not say what its tokens are for."""
    shutil.copy(download("smollm2") / "tokenizer.json", tmp_path)
    for file, content in files.items():
        (tmp_path / file).write_text(json.dumps(content))
    found, one = Tokenizer.load(tmp_path), Tokenizer.load(download("smollm2"))._backend.id_to_token(1)
    assert found._backend.id_to_token(found.end_id) == (one if files else "<|endoftext|>")


def test_saved_and_loaded_is_the_same(foreign: Tokenizer, theirs: Any, tmp_path: Path) -> None:
    foreign.save(tmp_path / "a")
    again = Tokenizer.load(tmp_path / "a")
    again.save(tmp_path / "b")
    for file in sorted((tmp_path / "a").iterdir()):
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()
    for field in ("names", "chat_template", "special_ids", "end_id", "end_ids", "document_id", "pad_id", "vocab_size"):
        assert getattr(again, field) == getattr(foreign, field)
    public = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert public.special_tokens_map == theirs.special_tokens_map
    assert public.chat_template == theirs.chat_template
    assert public.get_vocab() == theirs.get_vocab()
    text = "画蛇添足 <|im_end|> [INST] <think> 2026\n\n  é 🙂"
    assert public(text)["input_ids"] == theirs(text)["input_ids"]


def test_a_folder_is_saved_for_the_class_that_takes_it_as_it_is(
    download: Callable[[str], Path], tmp_path: Path
) -> None:
    """The classes of single models cut text in their own way since transformers 5, whatever tokenizer.json says."""
    shutil.copytree(download("llama3"), tmp_path / "a")
    config = json.loads((tmp_path / "a/tokenizer_config.json").read_text())
    (tmp_path / "a/tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "GPT2Tokenizer"}))
    Tokenizer.load(tmp_path / "a").save(tmp_path / "b")
    text = "def area(width, height):\n    return 2026"
    theirs = AutoTokenizer.from_pretrained(download("llama3"))
    assert AutoTokenizer.from_pretrained(tmp_path / "b")(text)["input_ids"] == theirs(text)["input_ids"]


def test_what_older_folders_say_in_other_ways(download: Callable[[str], Path], tmp_path: Path) -> None:
    """Templates with names, tokens as objects, names in special_tokens_map.json, special tokens in a list."""
    shutil.copy(download("qwen2") / "tokenizer.json", tmp_path)
    templates = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "{{ eos_token }}"}]
    config = {"chat_template": templates, "additional_special_tokens": ["<think>"], "pad_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}}))
    found = Tokenizer.load(tmp_path)
    assert (found.chat_template, found.names) == ("{{ eos_token }}", {"eos_token": "<|im_end|>"})
    assert found.id_of("<think>") in found.special_ids
    assert found.id_of("</think>") not in found.special_ids
    assert found.id_of("<think>") not in found.encode("<think>")
    found.save(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template == "{{ eos_token }}"


def test_what_the_publisher_set_for_sampling_stays(download: Callable[[str], Path], tmp_path: Path) -> None:
    Tokenizer.load(download("llama3")).save(tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text())["top_p"] == 0.9


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"), "made by WordPiece; carried are byte-level BPE"),
        (models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, False), "made by Unigram; carried are"),
        (models.BPE({"a": 0}, [], byte_fallback=True), r"lacks 256 of 256 bytes \(<0x00>"),
    ],
)
def test_other_kinds_are_refused_by_name(model: models.Model, message: str, tmp_path: Path) -> None:
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path)


def test_one_that_names_no_end_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.BPE({"a": 0}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="no token that ends a text: give eos_token"):
        Tokenizer.load(tmp_path)


def test_an_older_form_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(TokenizerError, match=r"without tokenizer\.json\. Convert it once"):
        Tokenizer.load(tmp_path)


def test_a_damaged_config_is_named(download: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copy(download("gpt2") / "tokenizer.json", tmp_path)
    for content, message in (("{", "damaged"), ("[]", "holds list, should be an object")):
        (tmp_path / "tokenizer_config.json").write_text(content)
        with pytest.raises(TokenizerError, match=rf"tokenizer_config\.json: {message}"):
            Tokenizer.load(tmp_path)
