"""Idiom cloze: four choices, one right, built from idioms that the model was not trained on.

Scoring by log-likelihood is for evaluation; an item says which text is to be scored given which.
The examples of a few-shot item come from other documents (the train split), the wrong choices from the items' own.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from homeroom.settings import HomeroomError
from homeroom.tasks.base import Document
from homeroom.tasks.idioms import meaning_of
from homeroom.tasks.split import share

CHOICES = 4
_LONGEST_MEANING, _LONGEST_EXAMPLE = 40, 20  # characters: five examples fit into 256 tokens

Direction = Literal["word", "explanation", "channel"]


@dataclass(frozen=True)
class ClozeItem:
    """`context` holds the examples and the question; the right one of `choices` follows it, then `after`.

    With an empty `after`, choices are compared by their own likelihood given the context. Otherwise `after` is scored
    given context and choice ("partial scoring", Trinh and Le 2018, arXiv:1806.02847, section 3.1): the scored text is
    the same for all choices, so that frequent or short ones have no advantage.
    """

    context: str
    choices: tuple[str, ...]
    answer: int
    document_id: str
    after: str = ""


@dataclass(frozen=True)
class _Idiom:
    word: str
    meaning: str
    document_id: str


def cloze_items(
    documents: Iterable[Document],
    direction: Direction = "word",
    *,
    examples: Iterable[Document] = (),
    shots: int = 0,
    seed: int = 0,
    count: int | None = None,
) -> list[ClozeItem]:
    """An item for each usable idiom, or for `count` of them chosen by their ids.

    `word`: which idiom has this explanation, log P(word | explanation). `channel`: the same question by Bayes' rule,
    log P(explanation | word). `explanation`: which of four explanations does this idiom have. Items depend on the seed
    and on the set of documents, not on their order. Where no idiom can be asked, no examples are needed either.
    """
    idioms = _usable(documents, _LONGEST_MEANING)
    shown = _usable(examples, _LONGEST_EXAMPLE)
    by_length: dict[int, list[_Idiom]] = defaultdict(list)
    for idiom in idioms:
        by_length[len(idiom.word)].append(idiom)
    asked = sorted(idioms, key=lambda idiom: share(idiom.document_id, f"cloze {seed}"))
    items: list[ClozeItem] = []
    for idiom in asked:
        if count is not None and len(items) == count:
            break
        rng = random.Random(f"{seed} {idiom.document_id}")
        if wrong := _distractors(idiom, by_length[len(idiom.word)], rng):
            if shots > len(shown):
                raise HomeroomError(
                    f"{shots} examples are wanted, but only {len(shown)} idioms are short enough to be one: "
                    "ask with fewer ([evaluate].shots)"
                )
            choices = [idiom, *wrong]
            rng.shuffle(choices)
            # Drawn last, so that an item has the same choices with any number of examples.
            before = rng.sample(shown, shots)
            items.append(_item(idiom, choices, before, direction))
    return items


def _usable(documents: Iterable[Document], longest: int) -> list[_Idiom]:
    """One per word, sorted by id; not those whose explanation gives the word away."""
    found: dict[str, _Idiom] = {}
    for document in sorted(documents, key=lambda document: document.id):
        word, explanation = document.fields.get("word"), document.fields.get("explanation")
        if document.kind != "idiom" or not isinstance(word, str) or not isinstance(explanation, str):
            continue
        meaning = meaning_of(explanation, word, glosses=True)
        if 4 <= len(meaning) <= longest and word not in meaning:
            found.setdefault(word, _Idiom(word, meaning, document.id))
    return list(found.values())


def _distractors(idiom: _Idiom, pool: Sequence[_Idiom], rng: random.Random) -> list[_Idiom]:
    """Idioms of the same length with other explanations, none of which names another of the choices."""
    chosen: list[_Idiom] = []
    for other in rng.sample(pool, len(pool)) if len(pool) < 64 else (rng.choice(pool) for _ in range(256)):
        taken = [idiom, *chosen]
        if all(
            other.meaning != one.meaning and other.word not in one.meaning and one.word not in other.meaning
            for one in taken
        ):
            chosen.append(other)
        if len(chosen) == CHOICES - 1:
            return chosen
    return []


def _item(idiom: _Idiom, choices: Sequence[_Idiom], examples: Sequence[_Idiom], direction: Direction) -> ClozeItem:
    answer = choices.index(idiom)
    words = tuple(choice.word for choice in choices)
    # The wordings are those of documents that pretraining reads, so that a base model is at home in them.
    if direction == "word":
        told = "".join(f"释义：{example.meaning}\n成语：{example.word}\n" for example in examples)
        return ClozeItem(f"{told}释义：{idiom.meaning}\n成语：", words, answer, idiom.document_id)
    told = "".join(f"“{example.word}”是什么意思？{example.meaning}\n" for example in examples)
    if direction == "channel":
        return ClozeItem(f"{told}“", words, answer, idiom.document_id, f"”是什么意思？{idiom.meaning}")
    meanings = tuple(choice.meaning for choice in choices)
    return ClozeItem(f"{told}“{idiom.word}”是什么意思？", meanings, answer, idiom.document_id)
