from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from homeroom.text.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerError

PIECE = st.text() | st.sampled_from([*SPECIAL_TOKENS, "画蛇添足", " Python3", "\r\n", "🙂"])
ANY_TEXT = st.lists(PIECE).map("".join)


@given(text=ANY_TEXT)
def test_any_text_comes_back_and_never_holds_a_special_token(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.special_ids.isdisjoint(ids)


@given(data=st.binary() | ANY_TEXT.map(str.encode))
def test_any_bytes_come_back(tokenizer: Tokenizer, data: bytes) -> None:
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


@given(text=ANY_TEXT)
def test_valid_utf8_bytes_have_the_ids_of_their_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode_bytes(text.encode()) == tokenizer.encode(text)


@given(ids=st.lists(st.integers(0, 399)))
def test_a_stream_adds_up_to_decode(tokenizer: Tokenizer, ids: list[int]) -> None:
    stream = tokenizer.stream_decoder()
    pieces = [stream.push(token_id) for token_id in ids]
    assert "".join([*pieces, stream.flush()]) == tokenizer.decode(ids)


@given(text=ANY_TEXT)
def test_a_stream_of_text_never_shows_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    stream = tokenizer.stream_decoder()
    shown = ""
    for token_id in tokenizer.encode_bytes(text.encode()):
        shown += stream.push(token_id)
        assert text.startswith(shown)
    assert stream.flush() == ""


def test_half_a_character_waits_for_its_other_half(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream_decoder()
    halves = [tokenizer.encode_bytes(bytes([byte]))[0] for byte in "🙂".encode()]
    assert [stream.push(token_id) for token_id in halves] == ["", "", "", "🙂"]


def test_a_lone_surrogate_becomes_a_replacement_character(tokenizer: Tokenizer) -> None:
    assert "\ufffd" in tokenizer.decode(tokenizer.encode("a\ud800b"))


def test_scripts_and_digits_are_not_glued(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.decode([token_id]) for token_id in tokenizer.encode("用Python写2026")]
    assert "Python" in pieces
    assert pieces[-4:] == ["2", "0", "2", "6"]


def test_a_batch_is_each_text_alone(tokenizer: Tokenizer) -> None:
    texts = ["画蛇添足", "", "json.dumps <|end|>", "\ud800"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_special_tokens_are_not_shown(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.user_id, *tokenizer.encode("hi"), tokenizer.end_id]
    assert tokenizer.decode(ids) == "hi"


def test_saved_and_loaded_is_the_same(tokenizer: Tokenizer, saved: Path) -> None:
    loaded = Tokenizer.load(saved)
    text = "画蛇添足 json.dumps <|end|> 2026"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.vocab_size == tokenizer.vocab_size == 400


def test_training_twice_gives_the_same_tokenizer(texts: list[str], saved: Path, tmp_path: Path) -> None:
    Tokenizer.train(texts, vocab_size=400).save(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (saved / "tokenizer.json").read_bytes()


def test_a_vocabulary_without_room_for_all_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="the smallest is 262"):
        Tokenizer.train(["a"], vocab_size=261)


def test_what_is_no_tokenizer_of_ours_is_refused(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(TokenizerError, match=r"holds no tokenizer\.json.*homeroom tokenize"):
        Tokenizer.load(tmp_path)
    foreign = tokenizers.Tokenizer(tokenizers.models.BPE())
    foreign.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: its BPE has no tokens for bytes"):
        Tokenizer.load(tmp_path)
    whole = (saved / "tokenizer.json").read_text(encoding="utf-8")
    for damaged in (whole[:2000], "[]", "", whole.replace('"!"', '"!!"')):
        (tmp_path / "tokenizer.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(TokenizerError, match=r"tokenizer\.json: .*homeroom verify"):
            Tokenizer.load(tmp_path)
