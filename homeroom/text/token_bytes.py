"""Which bytes each id of a vocabulary stands for, and ids back to text as they come.

Two kinds of BPE lose no byte, and they are the ones that are carried. Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM2,
Homeroom's own) writes each byte as a printable letter. BPE with byte fallback (SentencePiece's: Llama 2, Mistral,
Gemma) writes text, a space as `▁`, and as `<0x0A>` each byte of a character that it does not know.
Cutting text and merging is left to the library, names of special tokens to conventions.py.
"""

import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import models

from homeroom.text.errors import TokenizerError

SPACE = "▁"
CARRIED = (
    "carried are byte-level BPE (as of GPT-2, Llama 3, Qwen, SmolLM2) and BPE with byte fallback (as of Llama 2, "
    "Mistral). Choose a model with such a tokenizer."
)


def _byte_letters() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes: the printable stand for themselves, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    return stand_ins | {chr(0x100 + index): byte for index, byte in enumerate(others)}


BYTE_LETTERS = _byte_letters()
BYTE_TOKENS = {f"<0x{byte:02X}>": byte for byte in range(256)}


@dataclass(frozen=True)
class TokenBytes:
    of_id: Sequence[bytes]  # b"" for a special token, and for an id that no token has
    id_of_byte: dict[int, int]  # a byte-level vocabulary can lack bytes that its training text did not hold
    adds_space: bool  # the tokenizer writes a space before a text, which is taken off again

    @classmethod
    def read(cls, backend: tokenizers.Tokenizer, special_ids: frozenset[int]) -> "TokenBytes":
        vocabulary: dict[str, int] = backend.get_vocab()
        byte_level = is_byte_level(backend)
        single = BYTE_LETTERS if byte_level else BYTE_TOKENS
        added = {token.content for token in backend.get_added_tokens_decoder().values()}
        of_id = [b""] * (max(vocabulary.values()) + 1)
        for token, token_id in vocabulary.items():
            if token_id in special_ids:
                continue
            if token in added:
                of_id[token_id] = token.encode()
            elif not byte_level:
                of_id[token_id] = (
                    bytes([BYTE_TOKENS[token]]) if token in BYTE_TOKENS else token.replace(SPACE, " ").encode()
                )
            elif all(letter in BYTE_LETTERS for letter in token):
                of_id[token_id] = bytes(BYTE_LETTERS[letter] for letter in token)
            else:
                of_id[token_id] = token.encode()
        id_of_byte = {byte: vocabulary[token] for token, byte in single.items() if token in vocabulary}
        return cls(of_id, id_of_byte, adds_space=not byte_level and _takes_space_off(backend))

    def join(self, ids: Iterable[int], *, goes_on: bool = False) -> bytes:
        """The bytes of a text; `goes_on` if text stands before it, so that its first space is its own."""
        whole = b"".join(self._of(token_id) for token_id in ids)
        return whole[1:] if self.adds_space and not goes_on and whole.startswith(b" ") else whole

    def _of(self, token_id: int) -> bytes:
        # A model can have more rows than its tokenizer has tokens (Qwen pads them to a round number).
        return self.of_id[token_id] if token_id < len(self.of_id) else b""


class StreamDecoder:
    """Ids to text, one by one. What `push` and `flush` return adds up to `decode`, never half a character; without
    `flush` a character that the end cut in two is left out."""

    def __init__(self, token_bytes: TokenBytes, *, goes_on: bool = False) -> None:
        self._token_bytes, self._goes_on = token_bytes, goes_on
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        data = self._token_bytes.join([token_id], goes_on=self._goes_on)
        # Special tokens are no bytes: the text still has to begin.
        self._goes_on = self._goes_on or bool(self._token_bytes.join([token_id], goes_on=True))
        return self._utf8.decode(data)

    def flush(self) -> str:
        """The end of the stream: an unfinished character comes out as U+FFFD."""
        return self._utf8.decode(b"", final=True)


def is_byte_level(backend: tokenizers.Tokenizer) -> bool:
    """Whether it is byte-level BPE; False is BPE with byte fallback. Raises TokenizerError for every other kind."""
    model = backend.model
    kind = type(model).__name__
    if not isinstance(model, models.BPE):
        raise TokenizerError(f"its tokens are made by {kind}; {CARRIED}")
    if any(part["type"] == "ByteLevel" for part in (*parts(backend.pre_tokenizer), *parts(backend.decoder))):
        return True
    if not model.byte_fallback:
        raise TokenizerError(f"its BPE has no tokens for bytes, so it loses what it does not know; {CARRIED}")
    missing = [token for token in BYTE_TOKENS if backend.token_to_id(token) is None]
    if missing:
        raise TokenizerError(f"its byte fallback lacks {len(missing)} of 256 bytes ({missing[0]} …); {CARRIED}")
    return False


def _takes_space_off(backend: tokenizers.Tokenizer) -> bool:
    for part in parts(backend.decoder):
        if part["type"] == "Strip" and part["content"] == " " and part["start"] > 0:
            return True
        if part["type"] == "Metaspace" and part.get("prepend_scheme") != "never":
            return True
    return False


def parts(component: Any) -> Iterator[dict[str, Any]]:
    """The settings of a normalizer, pre-tokenizer or decoder, and of those within a sequence of them."""
    if component is not None:
        yield from _flat(json.loads(component.__getstate__()))


def _flat(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if part["type"] == "Sequence":
        for inner in next(value for value in part.values() if isinstance(value, list)):
            yield from _flat(inner)
    else:
        yield part


def encodable(text: str) -> str:
    """Lone surrogates (JSON can carry them) are no Unicode text; they become U+FFFD instead of an error."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
