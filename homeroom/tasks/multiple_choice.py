"""Multiple-choice questions of any file: what a row means, in which words it is put, and which examples precede it.

The wording is that of lm-evaluation-harness for ARC and its like, so that figures can be held against published ones.
Bytes to rows, and what a model makes of the questions, is for `homeroom.evaluation.multiple_choice`.
"""

import random
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from homeroom.settings import HomeroomError, Json, whole_characters
from homeroom.tasks.wording import worded

ROW = '{"question": "…", "choices": ["…", "…"], "answer": 0}'


class BadRow(Exception):
    """Why a row is no question; the message names what is wrong with it."""


@dataclass(frozen=True)
class Item:
    """One question. `answer` is the place of the right choice, counted from 0."""

    question: str
    choices: tuple[str, ...]
    answer: int
    context: str = ""
    category: str = ""
    id: str = ""

    @property
    def prompt(self) -> str:
        """What a choice follows after a space. Without a question the choices continue the context (HellaSwag)."""
        if not self.question:
            return self.context
        before = f"{self.context}\n" if self.context else ""
        return f"{before}Question: {self.question}\nAnswer:"

    def with_choice(self, choice: str) -> str:
        return f"{self.prompt} {choice}"


def prompt_after(examples: Sequence[Item], item: Item) -> str:
    """The item's prompt behind solved examples, an empty line between them."""
    return "\n\n".join([*(one.with_choice(one.choices[one.answer]) for one in examples), item.prompt])


def item_of(row: Json) -> Item:
    """A question of a row {"question", "choices", "answer"} and perhaps "context", "id", "category".

    White space around texts is not part of them, and other keys are no matter. Raises BadRow.
    """
    if not isinstance(row, dict):
        raise BadRow(f"not an object as {ROW}, but {type(row).__name__}")
    question, context, category = (_text(row, key) for key in ("question", "context", "category"))
    if not question and not context:
        raise BadRow(f"no 'question', and no 'context' to be continued; it has {', '.join(row) or 'nothing'}")
    choices = _choices(row.get("choices"))
    answer = _answer(row.get("answer"), choices)
    name = row.get("id")
    if name is not None and (isinstance(name, bool) or not isinstance(name, (str, int))):
        raise BadRow(f"'id' is {type(name).__name__}; allowed are text and whole numbers")
    return Item(question, choices, answer, context, category, "" if name is None else whole_characters(str(name)))


def _text(row: dict[str, Json], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{key!r} is {type(value).__name__}, not text")
    return whole_characters(value).strip()


def _choices(given: Json) -> tuple[str, ...]:
    if not isinstance(given, list) or len(given) < 2:
        raise BadRow("'choices' must be a list of two texts or more")
    choices: list[str] = []
    for place, choice in enumerate(given, start=1):
        if not isinstance(choice, str) or not choice.strip():
            found = "is empty" if isinstance(choice, str) else f"is {type(choice).__name__}, not text"
            raise BadRow(f"choice {place} {found}")
        choice = whole_characters(choice).strip()
        if choice in choices:
            # Equally likely under any model, so that their order would decide.
            raise BadRow(f"choices {choices.index(choice) + 1} and {place} are the same: {_short(choice)}")
        choices.append(choice)
    return tuple(choices)


def _answer(given: Json, choices: Sequence[str]) -> int:
    """Which choice is meant: a number counts from 0; text is a capital letter or the choice itself.

    Text is never read as a number: in "2" files differ on whether they count from 0 or from 1.
    """
    count = len(choices)
    if given is None:
        raise BadRow("no 'answer'")
    if isinstance(given, int) and not isinstance(given, bool):
        if not 0 <= given < count:
            raise BadRow(f"answer {given} is out of range: {count} choices are counted from 0 to {count - 1}")
        return given
    if not isinstance(given, str):
        raise BadRow(f"'answer' is {type(given).__name__}; allowed are a place from 0, a letter from A, or the choice")
    text = whole_characters(given).strip()
    letters = string.ascii_uppercase[:count]
    by_letter = letters.index(text) if len(text) == 1 and text in letters else None
    by_text = choices.index(text) if text in choices else None
    if by_letter is not None and by_text is not None and by_letter != by_text:
        raise BadRow(
            f"answer {text!r} is ambiguous: as a letter choice {by_letter + 1}, as a text choice {by_text + 1}; "
            f"write it as a number, {by_letter} or {by_text}"
        )
    meant = by_letter if by_letter is not None else by_text
    if meant is None:
        hint = "; a place from 0 is a number without quotes" if text.isdecimal() else ""
        raise BadRow(f"answer {_short(text)} is neither a letter from A to {letters[-1]} nor one of the choices{hint}")
    return meant


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


def draw_examples(items: Sequence[Item], pool: Sequence[Item], shots: int, seed: int) -> Iterator[list[Item]]:
    """For each item so many others of the pool, the same whichever model is asked. Raises HomeroomError.

    Never one that gives its answer away: the same words with the same right choice, whatever the wrong ones. The same
    words alone ("Which of these is true?") may be another question.
    """
    same = [_told(one) for one in pool]
    copies = Counter(same)
    for item in items:
        told = _told(item)
        others = len(pool) - copies[told]
        if shots > others:
            raise HomeroomError(f"{shots} examples are wanted, but there are only {others} other questions")
        drawn = random.Random(f"{seed} {told}").sample(range(len(pool)), shots + copies[told] if shots else 0)
        yield [pool[place] for place in drawn if same[place] != told][:shots]


def _told(item: Item) -> tuple[str, str]:
    return worded(f"{item.context}\n{item.question}"), worded(item.choices[item.answer])
