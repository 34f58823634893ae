"""Questions out of conversations: every message of a user that an assistant answered, in Chinese and English.

Only documents of kind `dialogue` are read. What is rude, code, a link or shouted is left out, the same exchange is
asked once, and punctuation is made uniform so that answers end recognizably.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from homeroom.tasks.base import Document, Question, language_of
from homeroom.tasks.manners import demonstration, manners, overlap

_ODD = re.compile(r"https?:|www\.|\.com\b|```|[<>{}\\|]|_{2}|\$\w")
_SENTENCE_END = re.compile(r"[。！？!?]|\.(?=\s|$)")
_FULL_WIDTH = str.maketrans(",?!:;", "，？！：；")
_ENDS = "。！？.!?…”\"'）)~"


class Dialogues:
    """The exchanges of all conversations given, in their order."""

    def __init__(self, documents: Iterable[Document]) -> None:
        seen: set[tuple[str, str]] = set()
        questions: list[Question] = []
        for document in documents:
            for question in _ask(document) if document.kind == "dialogue" else ():
                exchange = question.prompt.casefold(), question.reference.casefold()
                if exchange not in seen:
                    seen.add(exchange)
                    questions.append(question)
        self.questions: Sequence[Question] = questions

    @staticmethod
    def grade(question: Question, answer: str, ended: bool) -> float:
        """Mostly manners: talk has many right answers."""
        return 0.8 * manners(question, answer, ended) + 0.2 * overlap(question.reference, answer)


def _ask(document: Document) -> Iterator[Question]:
    messages = document.fields.get("messages")
    if not isinstance(messages, list):
        return
    turns = [(message.get("role"), message.get("content")) for message in messages if isinstance(message, dict)]
    for number, ((role, asked), (next_role, answered)) in enumerate(pairwise(turns)):
        if (role, next_role) != ("user", "assistant") or not isinstance(asked, str) or not isinstance(answered, str):
            continue
        prompt, reference = _tidy(asked), _shortened(_tidy(answered))
        if _is_odd(prompt) or _is_odd(reference) or prompt.casefold() == reference.casefold():
            continue
        if found := demonstration(
            f"{document.id}/{number}", "dialogue", document.id, language_of(prompt), prompt, _closed(reference)
        ):
            yield found


def _tidy(text: str) -> str:
    text = " ".join(text.split())
    if language_of(text) == "zh":
        text = re.sub(r"\s*([,?!:;])\s*", lambda found: found[1].translate(_FULL_WIDTH), text)
        text = re.sub(r"(?<![\dA-Za-z.])\.\s*|\.$", "。", text)
    return text


def _closed(text: str) -> str:
    if text[-1] in _ENDS:
        return text
    return text + (("？" if text[-1] in "吗呢嗎" else "。") if language_of(text) == "zh" else ".")


def _shortened(text: str, limit: int = 119) -> str:
    """Cut after the last whole sentence that fits; empty if that is a question, whose answer would be missing."""
    if len(text) <= limit:
        return text
    ends = [found.end() for found in _SENTENCE_END.finditer(text) if found.end() <= limit]
    return text[: ends[-1]] if ends and text[ends[-1] - 1] not in "?？" else ""


def _is_odd(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    shouted = len(letters) > 8 and all(character.isupper() for character in letters if character.isascii())
    return len(letters) < 2 or _ODD.search(text) is not None or (shouted and text.isascii())
