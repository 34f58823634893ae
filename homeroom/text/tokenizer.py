"""Any text or bytes to token ids and back: byte-level BPE trained here, or the tokenizer of an open checkpoint.

Both load in `transformers` from what `save` writes. Leaves to others: which text one is trained on (stages), which
bytes a token is (token_bytes.py), how messages become ids (chat_template.py), and GGUF (gguf_tokenizer.py).
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers

from homeroom.files import write_atomically
from homeroom.text.chat_template import JINJA
from homeroom.text.conventions import Conventions, write_json
from homeroom.text.errors import TokenizerError as TokenizerError
from homeroom.text.rendering import TemplateEncoder, closing_id
from homeroom.text.token_bytes import StreamDecoder, TokenBytes, encodable, is_byte_level

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

# What no model says within a text, for folders that do not name what ends it, and what documents begin after.
ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
SLOW = ("tokenizer.model", "vocab.json", "tekken.json", "spiece.model")

_NAMES = {"bos_token": DOCUMENT, "eos_token": END, "pad_token": PAD}
OWN = Conventions(
    names=_NAMES,
    chat_template=JINJA,
    adds_bos=True,
    config={
        "tokenizer_class": "PreTrainedTokenizerFast",
        **_NAMES,
        "clean_up_tokenization_spaces": False,
        "chat_template": JINJA,
    },
)

_INVALID = re.compile("([\udc80-\udcff]+)")


class Tokenizer:
    """`end_id` closes an assistant's turn; any of `end_ids` ends generation. `document_id` is what a document begins
    with. `names` are the special tokens as a template knows them. Only Homeroom's own have an id for each role.
    """

    system_id: int
    user_id: int
    assistant_id: int

    def __init__(self, backend: tokenizers.Tokenizer, conventions: Conventions | None = None) -> None:
        vocabulary: dict[str, int] = backend.get_vocab()
        self.is_own = all(token in vocabulary for token in SPECIAL_TOKENS)
        if self.is_own or conventions is None:
            conventions = OWN
        self.is_byte_level = is_byte_level(backend)  # other kinds are refused
        backend.no_truncation()
        backend.no_padding()
        # Otherwise a user who types `<|end|>` would end the turn.
        backend.encode_special_tokens = True
        added = {token.content: token.special for token in backend.get_added_tokens_decoder().values()}
        for token in (*conventions.names.values(), *conventions.more_special):
            if not added.get(token):  # as `transformers` does: what has such a name is special
                backend.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        self._backend, self.conventions = backend, conventions
        self.names, self.chat_template = conventions.names, conventions.chat_template
        self.special_ids = frozenset(
            token_id for token_id, token in backend.get_added_tokens_decoder().items() if token.special
        )
        self._token_bytes = TokenBytes.read(backend, self.special_ids)
        if self.is_own:
            if len(self._token_bytes.id_of_byte) < 256:
                raise TokenizerError("damaged (lacks tokens of single bytes). See `homeroom verify`.")
            # Other programs begin a plain text as training did.
            backend.post_processor = processors.TemplateProcessing(
                single=[DOCUMENT, "$A"],
                pair=[DOCUMENT, "$A", DOCUMENT, "$B"],
                special_tokens=[(DOCUMENT, vocabulary[DOCUMENT])],
            )
            self.system_id, self.user_id, self.assistant_id = (vocabulary[role] for role in (SYSTEM, USER, ASSISTANT))
        self._choose_ids()

    def _choose_ids(self) -> None:
        id_of, said = self._backend.token_to_id, self.conventions
        named = {name: id_of(token) for name, token in self.names.items()}
        ends = [end for end in (named.get("eos_token"), *sorted(said.end_ids)) if end is not None]
        alike = [found for token in ENDS_OF_TEXT if (found := id_of(token)) in self.special_ids]
        eos = next(iter(ends or alike), None)
        if eos is None:
            raise TokenizerError(
                "names no token that ends a text: give eos_token in tokenizer_config.json, or eos_token_id in "
                "config.json"
            )
        self.end_ids = frozenset(ends or [eos])
        # A base model's eos ends documents, and its template may close turns with another token.
        closing = None if self.is_own or self.chat_template is None else closing_id(self)
        self.end_id: int = eos if closing is None else closing
        self.end_ids |= {self.end_id}
        bos = named.get("bos_token", said.bos_id)
        self.adds_bos = bos is not None and (self._adds(bos) if said.adds_bos is None else said.adds_bos)
        self.document_id: int = bos if bos is not None and self.adds_bos else next(iter(alike), eos)
        self.pad_id: int = next(one for one in (named.get("pad_token"), said.pad_id, eos) if one is not None)

    def _adds(self, bos: int) -> bool:
        return self._backend.encode("", add_special_tokens=True).ids[:1] == [bos]

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
        backend.train_from_iterator(map(encodable, texts), trainer)
        return cls(backend)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Homeroom's own, or that of any Hugging Face folder whose tokenizer is BPE over bytes.

        tokenizer.json is taken at its word. transformers 5 does not where tokenizer_class is LlamaTokenizer or
        GPT2Tokenizer: those build a pre-tokenizer of their own.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            if any((folder / name).is_file() for name in SLOW):
                raise TokenizerError(
                    f"{folder} holds its tokenizer in an older form, without tokenizer.json. Convert it once, with "
                    "sentencepiece installed: `from transformers import AutoTokenizer; "
                    "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`"
                )
            raise TokenizerError(
                f"{folder} holds no tokenizer.json, which a model is of no use without; "
                "of a workspace, `homeroom tokenize` makes one"
            )
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)), Conventions.read(folder))
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None
        except Exception as error:  # the library's own errors have no narrower type
            raise TokenizerError(f"{path}: damaged ({error!r}). See `homeroom verify`.") from error

    @property
    def advice(self) -> dict[str, float]:
        """How the model's makers advise to sample: temperature, top_p, repetition_penalty, where they say so."""
        said = self.conventions.generation
        names = ("temperature", "top_p", "repetition_penalty")
        found = {name: said[name] for name in names if isinstance(said.get(name), (int, float))}
        # Makers who say do_sample = false mean the likeliest token each time.
        return {**found, "temperature": 0.0} if said.get("do_sample") is False else found

    def advising(self, generation: Mapping[str, Any]) -> "Tokenizer":
        """The same tokenizer with other advice."""
        said = dataclasses.replace(self.conventions, generation={**self.conventions.generation, **generation})
        return Tokenizer(self._backend, said)

    def save(self, folder: Path) -> None:
        """Write what `load` and `transformers.AutoTokenizer.from_pretrained` read."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "tokenizer.json", self.to_json())
        if self.is_own:
            write_json(folder / "tokenizer_config.json", OWN.config)
        else:
            self.conventions.write(folder, self.end_ids)

    @property
    def vocab_size(self) -> int:
        return len(self._token_bytes.of_id)

    @property
    def adds_space(self) -> bool:
        """Whether a text gets a space before it that `decode` takes off."""
        return self._token_bytes.adds_space

    @property
    def pre_tokenizer(self) -> object:
        return self._backend.pre_tokenizer

    def id_of(self, token: str) -> int | None:
        """The id of a token as it is spelled in the vocabulary, such as `<|im_end|>`."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def shown(self, token_id: int) -> str:
        """One token for people to read: its text, its name if it is a special one, `bytes:\\xe4` if it is no text."""
        if token_id in self.special_ids:
            return str(self._backend.id_to_token(token_id))
        data = self.decode_bytes([token_id], goes_on=True)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)

    def to_json(self) -> str:
        """What tokenizer.json holds."""
        return self._backend.to_str(pretty=True)

    @cached_property
    def template_encoder(self) -> TemplateEncoder:
        return TemplateEncoder(self._backend)

    def encode(self, text: str) -> list[int]:
        """Text that looks like a special token stays text. Added tokens that are not special (<think>) count."""
        ids: list[int] = self._backend.encode(encodable(text), add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        clean = [encodable(text) for text in texts]
        encodings = self._backend.encode_batch_fast(clean, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int], *, goes_on: bool = False) -> str:
        """Special tokens are left out. `goes_on`: text stands before, so a space at the beginning stays."""
        return self.decode_bytes(ids, goes_on=goes_on).decode("utf-8", "replace")

    def encode_bytes(self, data: bytes) -> list[int]:
        """What is valid UTF-8 becomes ordinary tokens, every other byte the token of that byte."""
        ids: list[int] = []
        # `surrogateescape` turns byte b of what is invalid into the character 0xDC00 + b.
        for piece in _INVALID.split(data.decode("utf-8", "surrogateescape")):
            if _INVALID.fullmatch(piece):
                for character in piece:
                    token_id = self._token_bytes.id_of_byte.get(ord(character) - 0xDC00)
                    ids += self.encode("\ufffd") if token_id is None else [token_id]
            else:
                ids += self.encode(piece)
        return ids

    def decode_bytes(self, ids: Iterable[int], *, goes_on: bool = False) -> bytes:
        return self._token_bytes.join(ids, goes_on=goes_on)

    def stream_decoder(self, *, goes_on: bool = False) -> StreamDecoder:
        return StreamDecoder(self._token_bytes, goes_on=goes_on)
