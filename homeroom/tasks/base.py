"""What a question and a task are, which language a text is in, and how to draw a balanced sample of questions.

Where questions come from: idioms.py, functions.py, dialogues.py. What good manners are: manners.py.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from homeroom.settings import Json
from homeroom.tasks.split import share
from homeroom.tasks.wording import HAN, plain

Language = Literal["zh", "en"]

# Letters up to U+024F and U+1E00–U+1EFF are Latin: pinyin's tone marks are among them.
_LATIN_WORD = re.compile("[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]+")
_UNIT = re.compile(f"{HAN.pattern}|[^\\W_]+?(?={HAN.pattern}|\\W|_|$)")


class Document(Protocol):
    """What tasks read of a row of documents.parquet."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, Json]: ...


@dataclass(frozen=True)
class Question:
    id: str
    prompt: str
    reference: str
    language: Language
    kind: str
    document_id: str


class Task(Protocol):
    questions: Sequence[Question]

    @staticmethod
    def grade(question: Question, answer: str, ended: bool) -> float:
        """From 0 to 1; `ended` is whether the answer stopped by itself."""
        ...


def language_of(text: str, han_per_word: float = 2) -> Language | None:
    """By script: Han characters against Latin words, so many characters being a word; None if there are neither.

    A Chinese word has about 1.6 characters. With two, an English sentence about a four-character idiom is English, and
    a Chinese one with a word like Python still Chinese.
    """
    han, latin = len(HAN.findall(text)), len(_LATIN_WORD.findall(text))
    if not han and not latin:
        return None
    return "zh" if han >= han_per_word * latin else "en"


def units(text: str) -> list[str]:
    """Han characters and words, without punctuation: what repetition and overlap are counted in."""
    return [unit.casefold() for unit in _UNIT.findall(text)]


def sample(
    questions: Iterable[Question], count: int, salt: str, weights: Mapping[str, float] | None = None
) -> list[Question]:
    """At most `count` questions in a stable random order, spread over kinds by weight (equally if none are given).

    A kind that has fewer than its part gives the rest to the others; a kind without weight is left out.
    """
    kinds: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        if weights is None or weights.get(question.kind, 0) > 0:
            kinds[question.kind].append(question)
    chosen: list[Question] = []
    # The scarcest (for its weight) first: what it cannot fill is known before the others take theirs.
    order = sorted(kinds, key=lambda kind: (len(kinds[kind]) / (weights[kind] if weights else 1), kind))
    left = sum(weights[kind] if weights else 1 for kind in order)
    for kind in order:
        weight = weights[kind] if weights else 1
        quota = round((count - len(chosen)) * weight / left)
        left -= weight
        chosen += sorted(kinds[kind], key=lambda question: share(question.id, salt))[:quota]
    return sorted(chosen, key=lambda question: share(question.id, salt + " order"))


def unseen(questions: Iterable[Question], seen: Iterable[Question]) -> list[Question]:
    """Without the questions whose words were asked among `seen`: different documents may ask the same."""
    asked = {plain(question.prompt) for question in seen}
    return [question for question in questions if plain(question.prompt) not in asked]
