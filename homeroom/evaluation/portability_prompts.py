"""What an exported model is asked here and elsewhere: texts on which tokenizers and templates disagree, if they do.

How the two are compared is portability.py's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Prompt:
    """A conversation that an answer is asked for, or a plain text to go on with."""

    name: str
    asked: str | Messages


TEXTS = {
    "English": "The quick brown fox doesn't jump over the lazy dog; it's asleep, and they'll say so.",
    "Chinese": "画蛇添足的意思是什么？请举一个例子，谢谢。",
    "Chinese and Latin": "用Python3写一个函数，返回列表里最大的number。",
    "code": "def area(width, height):\n    if width < 0:\n        raise ValueError(width)\n\treturn width*height",
    "white space": "  two before,   three within,\ttabs\t\t, lines\n\n\nand \r\n returns, and one after ",
    "digits": "2026-11-22, 3.14159, 1,234,567 and 0xFF; ½ of １２３４５ is 6172.5",
    "emoji": "Hi 🙂👍🏽! A family: 👨‍👩‍👧‍👦, a flag: 🇨🇳, a heart: ❤️",
    "accents": "Ünïcödé, naïve café — e\u0301crit in two ways, ÉTÉ",
    "scripts": "Привет, мир! こんにちは世界。 مرحبا بالعالم नमस्ते 안녕하세요",
    "punctuation": 'Well... "really"?! (yes) [no] {maybe} <b>tags</b> & #hash @at $5.00 100% a/b\\c ~ ^_^ ***',
    "JSON": '{"name": "value", "list": [1, 2.5, null, true], "nested": {"a\\n": "\\u00e9"}}',
    "address": "https://example.org/a_b/c-d.html?x=1&y=%20z#top or mail someone@example.org",
    "mathematics": "∑_{i=1}^{n} i² = n(n+1)(2n+1)/6, so α ≤ β ⇒ γ ≠ ∅",
    "shouting": "DON'T SHOUT! WHO'S THERE? I'LL GO.",
    "one word": "Hello",
    "one character": "中",
    "list": "1. first\n2. second\n   - third\n   * fourth\n\n",
    "repetition": "ha" * 20 + "!" * 20 + "-" * 33,
    "rare": "\u200bzero\u00a0width\ufeff, \U0001f9ff \u2028 \u3000全角　ﬁ",
    "story": "Once upon a time, in a village by the sea, there lived",
}
_SYSTEM = {"role": "system", "content": "You are a careful assistant. 请简短回答。\n"}
_TURNS = [
    {"role": "user", "content": "What is 12 + 30?"},
    {"role": "assistant", "content": "It is 42.\n\nAnything else?"},
    {"role": "user", "content": "谢谢！And in French? 🙂"},
    {"role": "assistant", "content": "  Quarante-deux "},
    {"role": "user", "content": " Show it in code:\n\n    print(12 + 30)\n"},
]


def prompts(*, talks: bool) -> list[Prompt]:
    """Twenty: plain texts for a base model; for one that `talks` mostly conversations."""
    texts = [Prompt(name, text) for name, text in TEXTS.items()]
    if not talks:
        return texts
    questions = [
        Prompt(f"{name}, asked", [{"role": "user", "content": text}]) for name, text in list(TEXTS.items())[:10]
    ]
    talk = [
        Prompt("system message", [_SYSTEM, _TURNS[0]]),
        Prompt("two turns", _TURNS[:3]),
        Prompt("three turns", _TURNS),
        Prompt("three turns with system message", [_SYSTEM, *_TURNS]),
        Prompt("empty message", [{"role": "user", "content": ""}]),
    ]
    return [*texts[:5], *questions, *talk]
