"""A tokenizer out of a GGUF file's metadata (`tokenizer.ggml.*`), and back.

GGUF writes a vocabulary as llama.cpp wants it: "gpt2" is byte-level BPE with merges and the name of a way to cut text
(gguf_cutting.py), "llama" is SentencePiece's BPE with a score for each token in place of merges. A file can hold the
whole tokenizer.json besides, under `tokenizer.huggingface.json`; then that is what counts. Reading and writing the file
itself is left to others.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, processors

from homeroom.text.conventions import Conventions
from homeroom.text.errors import TokenizerError
from homeroom.text.gguf_cutting import cutting, name_of
from homeroom.text.token_bytes import BYTE_TOKENS, SPACE
from homeroom.text.tokenizer import Tokenizer

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
_IDS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",  # spelled so in the format
    "pad_token": "padding_token_id",
    "mask_token": "mask_token_id",
}
# A GGUF file names one token that ends generation, or two. Models of several end with these as well.
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>")
JSON = "tokenizer.huggingface.json"


def from_gguf(metadata: Mapping[str, object]) -> Tokenizer:
    given = _Given(metadata)
    tokens = given.texts("tokens")
    if len(set(tokens)) < len(tokens):
        raise TokenizerError("tokenizer.ggml.tokens has a token twice, so its ids say nothing. Fetch the file again.")
    kind = given.text("model")
    if kind not in ("gpt2", "llama"):
        raise TokenizerError(
            f"tokenizer.ggml.model is {kind!r}; known are 'gpt2' (byte-level BPE) and 'llama' (SentencePiece BPE)"
        )
    byte_level = kind == "gpt2"
    names = {name: tokens[at] for name, key in _IDS.items() if (at := given.token_id(key, len(tokens))) is not None}
    pre = given.text("pre", "default")
    adds_bos = given.flag("add_bos_token", cutting(pre).adds_bos if byte_level else True) and "bos_token" in names
    whole = metadata.get(JSON)
    if isinstance(whole, str):
        backend = _whole(whole, tokens)
    else:
        backend = _byte_level(given, tokens, pre) if byte_level else _sentencepiece(given, tokens)
        _add(backend, tokens, given.numbers("token_type", len(tokens)))
        if adds_bos:
            bos = names["bos_token"]
            backend.post_processor = processors.TemplateProcessing(
                single=[bos, "$A"], pair=[bos, "$A", bos, "$B"], special_tokens=[(bos, backend.token_to_id(bos))]
            )
    ends = [given.token_id(key, len(tokens)) for key in ("eos_token_id", "eot_token_id", "eom_token_id")]
    special = {token.content: at for at, token in backend.get_added_tokens_decoder().items() if token.special}
    template = metadata.get("tokenizer.chat_template")
    conventions = Conventions(
        names=names,
        chat_template=template if isinstance(template, str) else None,
        end_ids=frozenset(at for at in (*ends, *(special.get(token) for token in _ENDS)) if at is not None),
        adds_bos=adds_bos,
        config={"add_bos_token": adds_bos},
    )
    return Tokenizer(backend, conventions)


def to_gguf(tokenizer: Tokenizer, rows: int | None = None) -> dict[str, Any]:
    """The metadata of a GGUF file. Its arrays are lists of text, whole numbers and (scores) floats.

    `rows` of the model's embedding, where it has more of them than there are tokens: llama.cpp wants a token for each.
    """
    whole = json.loads(tokenizer.to_json())
    vocabulary: dict[str, int] = whole["model"]["vocab"]
    added = {token["id"]: token for token in whole["added_tokens"]}
    tokens = {at: token for token, at in vocabulary.items()} | {at: token["content"] for at, token in added.items()}
    row = [tokens.get(at, f"[PAD{at}]") for at in range(max(tokenizer.vocab_size, rows or 0))]
    byte_level = tokenizer.is_byte_level

    def type_of(at: int) -> int:
        if at not in tokens:
            return _UNUSED
        if tokens[at] == tokenizer.names.get("unk_token") and not byte_level:
            return _UNKNOWN
        if at in added:
            return _CONTROL if added[at]["special"] else _USER_DEFINED
        return _BYTE if not byte_level and tokens[at] in BYTE_TOKENS else _NORMAL

    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in whole["model"]["merges"]]
    written: dict[str, Any] = {
        "model": "gpt2" if byte_level else "llama",
        "pre": _pre(tokenizer, byte_level),
        "tokens": row,
        "token_type": [type_of(at) for at in range(len(row))],
        "add_bos_token": tokenizer.adds_bos,
        "add_space_prefix": tokenizer.adds_space,
        "eos_token_id": tokenizer.end_id,
        "eot_token_id": tokenizer.end_id,
    }
    for name, key in _IDS.items():
        if name in tokenizer.names:
            written[key] = tokenizer.id_of(tokenizer.names[name])
    if byte_level:
        written["merges"] = [" ".join(merge) for merge in merges]
    else:
        written["scores"] = _scores(row, merges)
    metadata = {f"tokenizer.ggml.{key}": value for key, value in written.items()}
    if tokenizer.chat_template is not None:
        metadata["tokenizer.chat_template"] = _without_marks(tokenizer)
    return metadata | {JSON: tokenizer.to_json()}


def _pre(tokenizer: Tokenizer, byte_level: bool) -> str:
    if not byte_level:
        return "default"
    # Homeroom's way has no name in llama.cpp, which refuses what it does not know. Qwen2's cuts coarser, but across
    # Homeroom's borders there are no merges, so nearly all text gets the same ids (figures: tests, dev/LOG.md).
    return "qwen2" if tokenizer.is_own else name_of(tokenizer.pre_tokenizer)


def _without_marks(tokenizer: Tokenizer) -> str:
    """Not every program that reads GGUF knows the `generation` tag, which writes nothing."""
    template = tokenizer.chat_template or ""
    return re.sub(r"\{%-\s*(?:end)?generation\s*-%\}", "", template) if tokenizer.is_own else template


def _byte_level(given: "_Given", tokens: list[str], pre: str) -> tokenizers.Tokenizer:
    way = cutting(pre)
    merges = [_pair(merge) for merge in given.texts("merges")]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, ignore_merges=way.whole_words_first))
    if way.nfc:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer, backend.decoder = way.pre_tokenizer, decoders.ByteLevel()
    return backend


def _sentencepiece(given: "_Given", tokens: list[str]) -> tokenizers.Tokenizer:
    scores = given.numbers("scores", len(tokens))
    if not scores:
        raise TokenizerError("tokenizer.ggml.scores is missing: without it nobody knows which tokens are merged first")
    types = given.numbers("token_type", len(tokens)) or [_NORMAL] * len(tokens)
    vocabulary = {token: at for at, token in enumerate(tokens)}
    unknown = next((token for token, kind in zip(tokens, types, strict=True) if kind == _UNKNOWN), None)
    merges = _merges(vocabulary, [kind in (_NORMAL, _USER_DEFINED) for kind in types], scores)
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", SPACE)
    text: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if given.flag("add_space_prefix", True):
        # llama.cpp writes it before every run of text, one that begins with a space too; so does this.
        backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
        text.append(decoders.Strip(" ", 1, 0))
    else:
        backend.normalizer = spaces
    backend.decoder = decoders.Sequence(text)
    return backend


def _merges(vocabulary: dict[str, int], mergeable: list[bool], scores: list[float]) -> list[tuple[str, str]]:
    """SentencePiece merges whichever two neighbours make the token of the highest score: every way to make each one."""
    ways = []
    for token, at in vocabulary.items():
        if not mergeable[at]:
            continue
        for cut in range(1, len(token)):
            left, right = vocabulary.get(token[:cut]), vocabulary.get(token[cut:])
            if left is not None and right is not None and mergeable[left] and mergeable[right]:
                ways.append((-scores[at], at, left, right, (token[:cut], token[cut:])))
    return [way[-1] for way in sorted(ways)]


def _scores(row: list[str], merges: list[tuple[str, ...]]) -> list[float]:
    """What is merged first has the highest score, what is never merged the lowest."""
    rank: dict[str, int] = {}
    for index, pair in enumerate(merges):
        rank.setdefault("".join(pair), index)
    return [-float(rank.get(token, len(merges))) for token in row]


def _add(backend: tokenizers.Tokenizer, tokens: list[str], types: list[float]) -> None:
    def of(*kinds: int, special: bool) -> Iterable[AddedToken]:
        for token, kind in zip(tokens, types, strict=False):
            if kind in kinds:
                yield AddedToken(token, special=special, normalized=False)

    backend.add_special_tokens([*of(_CONTROL, _UNKNOWN, special=True)])
    backend.add_tokens([*of(_USER_DEFINED, special=False)])


def _whole(text: str, tokens: list[str]) -> tokenizers.Tokenizer:
    try:
        backend = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library's own errors have no narrower type
        raise TokenizerError(f"{JSON}: damaged ({error!r}). Fetch the file again.") from error
    differ = [token for token, at in backend.get_vocab().items() if at >= len(tokens) or tokens[at] != token]
    if differ:
        raise TokenizerError(f"{JSON} and tokenizer.ggml.tokens disagree about {len(differ)} ids ({differ[0]!r} …)")
    return backend


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    if not left or not right or " " in right:
        raise TokenizerError(f"tokenizer.ggml.merges holds {merge!r}, should be two tokens with a space between")
    return left, right


class _Given:
    """Metadata by key, with what it has to be; without a default a missing key is an error."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self._of = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}

    def text(self, key: str, default: str | None = None) -> str:
        found = self._of.get(key, default)
        if not isinstance(found, str):
            self._wrong(key, "text")
        return found

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._of.get(key, default))

    def texts(self, key: str) -> list[str]:
        found = self._of.get(key)
        if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
            self._wrong(key, "a list of text")
        return list(found)

    def numbers(self, key: str, count: int) -> list[Any]:
        """One for each token; none where the key is missing."""
        found = self._of.get(key, [])
        if not isinstance(found, (list, tuple)) or len(found) not in (0, count):
            self._wrong(key, f"a list of {count} numbers, one for each token")
        return list(found)

    def token_id(self, key: str, count: int) -> int | None:
        found = self._of.get(key)
        if found is not None and not (isinstance(found, int) and 0 <= found < count):
            self._wrong(key, f"an id below {count}")
        return found

    def _wrong(self, key: str, allowed: str) -> NoReturn:
        found = self._of.get(key)
        given = "missing" if found is None else repr(found)[:40]
        raise TokenizerError(f"tokenizer.ggml.{key} is {given}; it should be {allowed}. Fetch the file again.")
