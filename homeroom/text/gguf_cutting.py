r"""How text is cut before byte-level BPE, by the names that llama.cpp gave to the ways (`tokenizer.ggml.pre`).

A GGUF file holds the name alone. Each way is written here as the tokenizer.json of the same models has it, so that both
give the same ids; `default` is llama.cpp's, for files that are older than the names.
"""

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers

from homeroom.text.errors import TokenizerError

_PUNCTUATION = r" ?[^\s\p{L}\p{N}]+"
_SPACES = (r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+")
_CLITICS = r"'s|'t|'re|'ve|'m|'ll|'d"
# A word takes one character before it that is neither letter, digit nor line break.
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_WORD = (f"(?i:{_CLITICS})", _BEFORE + r"\p{L}+")
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_CASED = (f"{_BEFORE}[{_UPPER}]*[{_LOWER}]+", f"{_BEFORE}[{_UPPER}]+[{_LOWER}]*")


@dataclass(frozen=True)
class Cutting:
    pre_tokenizer: Any
    nfc: bool = False
    whole_words_first: bool = False  # a piece that is a token needs no merges
    adds_bos: bool = False


def _patterns(*patterns: str) -> Any:
    splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _either(*alternatives: str) -> Any:
    return _patterns("|".join(alternatives))


_GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
_GPT2_DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _GPT2])
_LLAMA3 = Cutting(
    _either(*_WORD, r"\p{N}{1,3}", _PUNCTUATION + r"[\r\n]*", *_SPACES), whole_words_first=True, adds_bos=True
)
CUTTINGS = {
    "gpt-2": Cutting(_GPT2),
    "phi-2": Cutting(_GPT2),
    "smollm": Cutting(_GPT2_DIGITS),
    "starcoder": Cutting(_GPT2_DIGITS),
    "refact": Cutting(_GPT2_DIGITS),
    "qwen2": Cutting(_either(*_WORD, r"\p{N}", _PUNCTUATION + r"[\r\n]*", *_SPACES), nfc=True),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "tekken": Cutting(
        _either(*_CASED, r"\p{N}", _PUNCTUATION + r"[\r\n/]*", *_SPACES), whole_words_first=True, adds_bos=True
    ),
    "default": Cutting(
        _patterns(
            r"[\p{P}\$\+<=>\^~\|]+",
            rf"{_CLITICS}| ?\p{{L}}+| ?\p{{N}}+|{_PUNCTUATION}|\s+(?!\S)",
            r"\p{N}+",
            r"[0-9]{3}",
        )
    ),
}


def cutting(name: str) -> Cutting:
    if name not in CUTTINGS:
        raise TokenizerError(
            f"tokenizer.ggml.pre is {name!r}, a way to cut text that Homeroom does not know; known are "
            f"{', '.join(CUTTINGS)}. Use the model's Hugging Face folder, which says it in full."
        )
    return CUTTINGS[name]


def name_of(pre_tokenizer: Any) -> str:
    """The name of a way to cut, for writing."""
    state = None if pre_tokenizer is None else pre_tokenizer.__getstate__()
    for name, known in CUTTINGS.items():
        if known.pre_tokenizer.__getstate__() == state:
            return name
    raise TokenizerError(
        "its way to cut text has no name in GGUF that Homeroom knows, so another program would cut it differently; "
        f"known are {', '.join(CUTTINGS)}. Keep the model as a Hugging Face folder."
    )
