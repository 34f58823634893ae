"""Keeps what people typed apart from what a chat template wrote, inside one string.

A template makes one text of a conversation, in which a typed `<|im_end|>` looks like the template's own. So before it
is run, the first character of every special token that was typed is replaced by a private-use character that nobody
used; afterwards it is put back. Text without such tokens is not touched, and no length changes.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from homeroom.text.errors import ChatTemplateError
from homeroom.text.sandbox import LEARN, LEARN_NO_MORE

_PRIVATE_USE = range(0x10FFFD, 0x100000, -1)


class Marking:
    """Made for one conversation, because a stand-in has to be a character that it does not hold."""

    def __init__(self, messages: Sequence[Mapping[str, Any]], special_tokens: frozenset[str], template: str) -> None:
        reserved = special_tokens | {LEARN, LEARN_NO_MORE}
        self._typed = _beginnings(reserved)
        used = set(template).union(*reserved, *(text for message in messages for text in _texts(message)))
        unused = (character for code in _PRIVATE_USE if (character := chr(code)) not in used)
        self._stand_in = dict(zip(sorted({token[0] for token in reserved}), unused, strict=False))
        self._back = str.maketrans({stand_in: first for first, stand_in in self._stand_in.items()})
        # As `transformers` does: a key without a value is a key that was not given.
        given = ({key: value for key, value in message.items() if value is not None} for message in messages)
        self.messages = [_plain(message, self._mark) for message in given]

    def _mark(self, text: str) -> str:
        return self._typed.sub(lambda found: self._stand_in[found.group()], text)

    def undo(self, text: str) -> str:
        return text.translate(self._back)


@lru_cache(maxsize=16)
def _beginnings(tokens: frozenset[str]) -> re.Pattern[str]:
    """A first character where a token begins, and not the whole token: tokens can overlap."""
    rests: dict[str, list[str]] = {}
    for token in sorted(tokens):
        rests.setdefault(token[0], []).append(re.escape(token[1:]))
    return re.compile("|".join(f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (key, *_texts(inner))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _plain(value: Any, mark: Callable[[str], str]) -> Any:
    """A template sees JSON alone: an object would have methods that the sandbox knows nothing of."""
    if isinstance(value, str):
        return mark(str.__str__(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, mark) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, mark) for inner in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise ChatTemplateError(f"a message holds {type(value).__name__}; allowed are text, numbers, lists and objects")
