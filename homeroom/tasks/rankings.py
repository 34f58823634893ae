"""Constructed rankings: the right answer above worse ones that are made of it and of other questions' answers.

They stand in for people's rankings, which ship with no starter data; whatever is trained on them learns this file's
rules and nothing else. The model's own answers come from the stage that samples them; training is left to others.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sacrebleu.metrics.chrf import CHRF

from homeroom.tasks.base import Question
from homeroom.tasks.manners import ends_by_itself, in_language, is_rude, repeats

# Smaller is better; answers of one tier are not compared. An answer to another question and a truncated one fail in
# ways that cannot be weighed against each other; a loop and a wrong language are of no use to anybody. Own answers
# take tiers from "own" to below "another question's", the one nearer to the right answer before the other.
TIERS = {
    "right": 0,
    "own": 1,
    "another question's": 11,
    "truncated": 11,
    "repetitive": 12,
    "other language": 12,
    "rude": 13,
}
MOST_OWN = TIERS["truncated"] - TIERS["own"]
# chrF: own answers are as good as each other when they are this near. A pronunciation with one syllable more right
# differs by more.
_ALIKE = 0.03
MINIMUM_ANSWERS = 4
_CHRF = CHRF()
_LONGEST_LOOP = 140  # characters: about what an answer of 64 tokens holds

INSULTS = {
    "en": ("You are an idiot.", "What a stupid question.", "Shut up.", "Only a moron would ask that.", "Are you dumb?"),
    "zh": ("你真是个笨蛋。", "闭嘴。", "你是白痴吗？", "滚开。", "你这个蠢货。", "只有傻瓜才会问这个。"),
}
_PIECES = re.compile(r"[A-Za-z0-9'’_\u00c0-\u024f.]+\s*|\S\s*")
_ENDS = "。！？.!?…”\"'’）)：:，,；;、 "


@dataclass(frozen=True)
class OwnAnswer:
    """What the model said, in the sampler's token ids too."""

    text: str
    ended: bool
    token_ids: list[int]


@dataclass(frozen=True)
class RankedAnswer:
    """`token_ids` are there for the model's own answer alone."""

    text: str
    tier: int
    kind: str
    ended: bool
    token_ids: list[int] | None = None


@dataclass(frozen=True)
class Ranking:
    """Best first; `ended` says whether an end token follows the text."""

    question: Question
    answers: tuple[RankedAnswer, ...]

    def pairs(self) -> list[tuple[RankedAnswer, RankedAnswer]]:
        """Every (better, worse); answers of one tier are not compared."""
        return [(a, b) for a in self.answers for b in self.answers if a.tier < b.tier]


class OtherAnswers:
    """The questions whose answers serve as wrong ones, indexed by kind, language and document."""

    def __init__(self, questions: Iterable[Question]) -> None:
        self._alike: dict[tuple[str, str], list[Question]] = defaultdict(list)
        self._language: dict[str, list[Question]] = defaultdict(list)
        self._document: dict[str, list[Question]] = defaultdict(list)
        for question in questions:
            self._alike[question.kind, question.language].append(question)
            self._language[question.language].append(question)
            self._document[question.document_id].append(question)

    def another(self, question: Question, rng: random.Random) -> str | None:
        """The answer to another question of the same kind and language."""
        pool = self._alike[question.kind, question.language] or self._language[question.language]
        for _ in range(8 if pool else 0):
            other = rng.choice(pool)
            if other.prompt != question.prompt and other.reference != question.reference:
                return other.reference
        return None

    def in_other_language(self, question: Question, rng: random.Random) -> str | None:
        """An answer in the other language, about the same document where there is one."""
        same = [other for other in self._document[question.document_id] if other.language != question.language]
        pool = same or self._language["en" if question.language == "zh" else "zh"]
        return rng.choice(pool).reference if pool else None


def build_ranking(
    question: Question,
    others: OtherAnswers,
    own: Sequence[OwnAnswer],
    rng: random.Random,
    answers: int = 5,
) -> Ranking:
    """The right answer and `answers - 1` worse ones, of as many kinds as there are; the model's own first of all.

    Fewer only where the others have too little to offer.
    """
    if answers < MINIMUM_ANSWERS:
        raise ValueError(f"answers is {answers}; a ranking needs at least {MINIMUM_ANSWERS}")
    chosen = [RankedAnswer(question.reference, TIERS["right"], "right", True)]
    texts = {question.reference}

    def add(kind: str, text: str | None, ended: bool) -> None:
        if text and text not in texts and len(chosen) < answers:
            texts.add(text)
            chosen.append(RankedAnswer(text, TIERS[kind], kind, ended))

    said = {text: answer for answer in own if (text := answer.text.strip()) and text not in texts}
    said = dict(islice(said.items(), answers - 1))
    for text, tier in _tiers_of_own(question, said).items():
        texts.add(text)
        chosen.append(RankedAnswer(text, tier, "own", said[text].ended, said[text].token_ids))
    kinds = [kind for kind in TIERS if kind not in ("right", "own", "another question's")]
    rng.shuffle(kinds)
    # What the question is about is the hardest to learn, so it is asked every time; the rest take turns.
    for kind in ("another question's", *kinds):
        add(kind, *_worse(kind, question, others, rng))
    for _ in range(answers):
        add("another question's", others.another(question, rng), True)
    return Ranking(question, tuple(sorted(chosen, key=lambda answer: answer.tier)))


def _tiers_of_own(question: Question, said: Mapping[str, OwnAnswer]) -> dict[str, int]:
    """By how near each text is to the right answer (chrF); without manners, no better than a constructed one is."""
    nearness = {text: _CHRF.sentence_score(text, [question.reference]).score for text in said}
    tiers: dict[str, int] = {}
    tier, before = TIERS["own"] - 1, float("inf")
    for text in sorted(said, key=lambda text: -nearness[text]):
        if before - nearness[text] > 100 * _ALIKE:
            tier, before = tier + 1, nearness[text]
        tiers[text] = _fault(question, said[text]) or tier
    return tiers


def _fault(question: Question, own: OwnAnswer) -> int | None:
    if is_rude(own.text):
        return TIERS["rude"]
    if repeats(own.text):
        return TIERS["repetitive"]
    if not in_language(own.text, question.language):
        return TIERS["other language"]
    return None if ends_by_itself(own.text, own.ended) else TIERS["truncated"]


def _worse(kind: str, question: Question, others: OtherAnswers, rng: random.Random) -> tuple[str | None, bool]:
    """A worse answer of this kind and whether it ends: half of the broken ones do, so that the end says not all."""
    if kind == "another question's":
        return others.another(question, rng), True
    if kind == "other language":
        return others.in_other_language(question, rng), True
    if kind == "rude":
        return rude(question, rng), True
    broken = truncated if kind == "truncated" else repetitive
    return broken(question.reference, rng), rng.random() < 0.5


def truncated(text: str, rng: random.Random) -> str | None:
    """Cut in mid-sentence, somewhere in the middle; None for what is too short to be cut."""
    ends = [piece.end() for piece in _PIECES.finditer(text)]
    if len(ends) < 5:
        return None
    cut = rng.randint(max(2, len(ends) // 4), len(ends) * 3 // 4)
    return text[: ends[cut - 1]].rstrip(_ENDS) or None


def repetitive(text: str, rng: random.Random) -> str | None:
    """Begins like the right answer and then says one span again and again."""
    pieces = _PIECES.findall(text.rstrip(_ENDS))
    if len(pieces) < 2:
        pieces = [*pieces, ", " if text.isascii() else "，"]
    length = min(rng.randint(2, 8), len(pieces))
    start = rng.randint(0, len(pieces) - length)
    span = "".join(pieces[start : start + length])
    if span[-1].isascii() and span[-1].isalnum() and span[0].isascii():
        span += " "
    if repeats(looped := "".join(pieces[:start]) + span * max(4, min(12, _LONGEST_LOOP // len(span)))):
        return looped.rstrip()
    return None


def rude(question: Question, rng: random.Random) -> str:
    insult = rng.choice(INSULTS[question.language])
    space = " " if question.language == "en" else ""
    before, after = (insult, question.reference) if rng.random() < 0.5 else (question.reference, insult)
    return before + space + after
