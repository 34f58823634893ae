"""The scripted rater: votes in place of people, by a rule that anyone can read.

It looks at manners first and then, as a teacher who has the key, at how much of the right answer is there. The judge,
which is to decide what was learned of these votes, is not asked. How votes reach the server is the vote stage's
business.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from homeroom.tasks.base import Language, language_of, units
from homeroom.tasks.manners import ends_by_itself, in_language, overlap, repeats

RULE = (
    "Of several answers to one question the best gets a thumb up and those below it a thumb down. Better is "
    "an answer in the question's language; among those, one that ends by itself; among those, one that does "
    "not repeat itself; among those, the one that has more of the right answer's words; and among equals the one with "
    "the smaller share of words in another language (what stood in the question aside) and of broken characters, then "
    "one whose last sentence is complete, then the one with less repeated text. Answers equal in all of this get the "
    "same thumb: up if they are in the question's language, end and do not repeat, otherwise down."
)
Reason = Literal[
    "good",
    "other language",
    "does not end",
    "repeats",
    "less right",
    "mixed languages",
    "incomplete sentence",
    "repeated text",
]
_SENTENCE_ENDS = tuple("。！？….!?")
_CLOSERS = "”’」』）)]\"'》"


@dataclass(frozen=True, order=True)
class Grade:
    """Compared field by field, so an earlier field outweighs all later ones."""

    in_language: bool
    ends: bool
    plain: bool  # does not repeat itself
    right: float  # what it shares with the right answer, in steps
    purity: float  # the share of its words that are in the question's language, in steps
    complete: bool
    variety: float  # the share of its n-grams that are not repeats, in steps, so that chance does not decide

    @property
    def good(self) -> bool:
        return self.in_language and self.ends and self.plain

    @property
    def reason(self) -> Reason:
        """What it fails first."""
        if not self.in_language:
            return "other language"
        if not self.ends:
            return "does not end"
        if not self.plain:
            return "repeats"
        return "good"


def grade(answer: str, language: Language, ended: bool, question: str = "", key: str = "") -> Grade:
    """`key` is the right answer."""
    return Grade(
        in_language=in_language(answer, language),
        ends=ends_by_itself(answer, ended),
        plain=not repeats(answer),
        right=round(overlap(key, answer), 1),
        purity=round(purity(answer, language, question), 1),
        complete=answer.rstrip().rstrip(_CLOSERS).endswith(_SENTENCE_ENDS),
        variety=round(variety(answer), 1),
    )


def votes(grades: Sequence[Grade]) -> list[Literal[1, -1]]:
    """A thumb for each answer to one question."""
    best, worst = max(grades), min(grades)
    if best == worst:
        return [1 if best.good else -1] * len(grades)
    return [1 if one == best else -1 for one in grades]


def reason(mine: Grade, best: Grade) -> Reason:
    """Why an answer got its thumb, in the fewest words."""
    if mine.reason != "good" or mine == best:
        return mine.reason
    if mine.right < best.right:
        return "less right"
    if mine.purity < best.purity:
        return "mixed languages"
    return "incomplete sentence" if mine.complete < best.complete else "repeated text"


def purity(answer: str, language: Language, question: str = "") -> float:
    """The share of Han characters and words that are of this language or stood in the question."""
    said, asked = units(answer), set(units(question))
    broken = answer.count("\N{REPLACEMENT CHARACTER}")
    foreign = sum(unit not in asked and language_of(unit) not in (language, None) for unit in said)
    return 1 - (foreign + broken) / (len(said) + broken) if said or broken else 1.0


def variety(text: str) -> float:
    """The share of trigrams (of words, or of characters where a script has no spaces) that are distinct."""
    said = units(text)
    trigrams = Counter(zip(said, said[1:], said[2:], strict=False))
    return len(trigrams) / trigrams.total() if trigrams else 1.0
