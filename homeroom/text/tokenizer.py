"""Byte-level BPE: any text or bytes to token ids and back, trained here and loadable by `transformers`.

Leaves to others: which text it is trained on (stages), and how messages become ids (chat_template.py).
"""

import codecs
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from homeroom.files import write_atomically
from homeroom.settings import HomeroomError
from homeroom.text.chat_template import JINJA

PAD, DOCUMENT, SYSTEM, USER, ASSISTANT, END = SPECIAL_TOKENS = (
    "<|pad|>",
    "<|document|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)

# No token crosses these borders. Han runs stand alone so that Chinese glued to Latin (用Python写) is cut where
# the script changes; digits stand alone so that a number is written in one way; a word takes the space before it.
_PIECES = "|".join(
    (
        r"(?i:'(?:s|t|re|ve|m|ll|d)\b)",
        r"\p{Han}+",
        r" ?[[\p{L}\p{M}]&&[^\p{Han}]]+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

_INVALID = re.compile("([\udc80-\udcff]+)")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes: the printable stand for themselves, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    return stand_ins | {chr(0x100 + index): byte for index, byte in enumerate(others)}


class TokenizerError(HomeroomError):
    """A tokenizer that cannot be read, or is none of ours."""


class StreamDecoder:
    """Ids to text, one by one. What `push` and `flush` return adds up to `decode`, never half a character."""

    def __init__(self, bytes_of_id: Sequence[bytes]) -> None:
        self._bytes_of_id = bytes_of_id
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        return self._utf8.decode(self._bytes_of_id[token_id])

    def flush(self) -> str:
        """The end of the stream: an unfinished character comes out as U+FFFD."""
        return self._utf8.decode(b"", final=True)


class Tokenizer:
    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        # Otherwise a user who types `<|end|>` would end the turn.
        backend.encode_special_tokens = True
        self._backend = backend
        vocabulary: dict[str, int] = backend.get_vocab()
        missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
        if missing:
            raise TokenizerError(f"lacks {', '.join(missing)}: train one with `homeroom tokenize`")
        self.pad_id = vocabulary[PAD]
        self.document_id = vocabulary[DOCUMENT]
        self.system_id = vocabulary[SYSTEM]
        self.user_id = vocabulary[USER]
        self.assistant_id = vocabulary[ASSISTANT]
        self.end_id = vocabulary[END]
        self.special_ids = frozenset(vocabulary[token] for token in SPECIAL_TOKENS)

        alphabet = _byte_alphabet()
        self._id_of_byte = {byte: vocabulary[stand_in] for stand_in, byte in alphabet.items()}
        self._bytes_of_id = [b""] * (max(vocabulary.values()) + 1)
        for token, token_id in vocabulary.items():
            if token_id not in self.special_ids:
                self._bytes_of_id[token_id] = bytes(alphabet[character] for character in token)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn merges. Small texts give fewer than `vocab_size` entries: only pairs that recur are merged."""
        smallest = len(SPECIAL_TOKENS) + 256
        if vocab_size < smallest:
            raise ValueError(f"vocab_size is {vocab_size}; the smallest is {smallest} (bytes and special tokens)")
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(map(_encodable, texts), trainer)
        return cls(backend)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise TokenizerError(f"{folder} holds no tokenizer.json: make one with `homeroom tokenize`")
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None
        except Exception as error:  # the library's own errors have no narrower type
            raise TokenizerError(f"{path}: damaged ({error!r}). See `homeroom verify`.") from error

    def save(self, folder: Path) -> None:
        """Write what `load` and `transformers.AutoTokenizer.from_pretrained` read."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": DOCUMENT,
            "eos_token": END,
            "pad_token": PAD,
            "clean_up_tokenization_spaces": False,
            "chat_template": JINJA,
        }
        write_atomically(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")

    @property
    def vocab_size(self) -> int:
        return len(self._bytes_of_id)

    def encode(self, text: str) -> list[int]:
        """Text that looks like a special token stays text."""
        ids: list[int] = self._backend.encode(_encodable(text), add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encodable = [_encodable(text) for text in texts]
        encodings = self._backend.encode_batch_fast(encodable, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Special tokens are left out."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def encode_bytes(self, data: bytes) -> list[int]:
        """What is valid UTF-8 becomes ordinary tokens, every other byte the token of that byte."""
        ids: list[int] = []
        # `surrogateescape` turns byte b of what is invalid into the character 0xDC00 + b.
        for piece in _INVALID.split(data.decode("utf-8", "surrogateescape")):
            if _INVALID.fullmatch(piece):
                ids += (self._id_of_byte[ord(character) - 0xDC00] for character in piece)
            else:
                ids += self.encode(piece)
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self._bytes_of_id[token_id] for token_id in ids)

    def stream_decoder(self) -> StreamDecoder:
        return StreamDecoder(self._bytes_of_id)


def _encodable(text: str) -> str:
    """Lone surrogates (JSON can carry them) are no Unicode text; they become U+FFFD instead of an error."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
