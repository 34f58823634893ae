"""Votes become pairs of a better and a worse answer to the same question, each pair on one side of a split.

Questions that nearly say the same count as one, so that what a model is tested on it was not trained on.
Where the votes come from and what learns from the pairs is left to others.
"""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from homeroom.tasks.wording import plain, simplified

NEARLY_SAME = 0.85  # Jaccard similarity of character trigrams
Split = Literal["train", "heldout"]


class Vote(Protocol):
    """What is read of a judged answer (`homeroom.workspace.feedback.JudgedAnswer`)."""

    @property
    def history(self) -> Sequence[dict[str, str]]: ...
    @property
    def answer(self) -> str: ...
    @property
    def value(self) -> int: ...
    @property
    def better_answer(self) -> str | None: ...
    @property
    def finish_reason(self) -> str | None: ...


@dataclass(frozen=True)
class Pair:
    """`chosen` is the better answer to `messages`; one that did not end has no end token to learn."""

    messages: tuple[dict[str, str], ...]
    chosen: str
    chosen_ended: bool
    rejected: str
    rejected_ended: bool
    split: Split

    def inverted(self) -> "Pair":
        return Pair(self.messages, self.rejected, self.rejected_ended, self.chosen, self.chosen_ended, self.split)


@dataclass(frozen=True)
class Harvest:
    pairs: list[Pair]
    questions: dict[str, int]  # with pairs, by split
    lone: int  # judged answers that no pair holds: a thumb alone compares nothing
    excluded: int  # judged answers in conversations that touch what the evaluation asks about


def harvest(
    votes: Iterable[Vote],
    evaluation_questions: Sequence[str],
    heldout: float,
    share: Callable[[str], float],
    pairs_per_question: int = 4,
    evaluated_names: Sequence[str] = (),
) -> Harvest:
    """Up-voted above down-voted, and a person's better answer above the answer that it corrects.

    `share` hashes a question to [0, 1); a whole cluster of near-duplicates goes where its smallest text goes, which
    does not depend on who voted when. Several votes on one answer are added up. A conversation in which a person asks
    what the evaluation asks, or names one of `evaluated_names` in other words, is left out.
    """
    by_question: dict[tuple[tuple[str, str], ...], list[Vote]] = defaultdict(list)
    for vote in votes:
        by_question[tuple((m["role"], plain(m["content"])) for m in vote.history)].append(vote)
    asked = ["\n".join(text for role, text in key if role == "user") for key in by_question]
    clusters = near_duplicates(asked)
    smallest: dict[int, str] = {}
    for question, cluster in zip(asked, clusters, strict=True):
        smallest[cluster] = min(question, smallest.get(cluster, question))
    evaluated = _evaluated(list(by_question.values()), evaluation_questions, evaluated_names)
    pairs: list[Pair] = []
    with_pairs: Counter[str] = Counter(train=0, heldout=0)
    lone = excluded = 0
    for cluster, leaks, judged in zip(clusters, evaluated, by_question.values(), strict=True):
        if leaks:
            excluded += len(judged)
            continue
        split: Split = "heldout" if share(smallest[cluster]) < heldout else "train"
        made, used = _pairs(judged, split)
        kept = made[:pairs_per_question]
        pairs += kept
        with_pairs[split] += bool(kept)
        lone += len(judged) - used
    return Harvest(pairs, dict(with_pairs), lone, excluded)


def _evaluated(judged: Sequence[Sequence[Vote]], questions: Sequence[str], names: Sequence[str]) -> list[bool]:
    """For the votes on each question whether a person's turn before it touches what the evaluation asks."""
    turns = [[m["content"] for m in votes[0].history if m["role"] == "user"] for votes in judged]
    asked = [*map(plain, questions)]
    said = list(dict.fromkeys(plain(turn) for each in turns for turn in each))
    clusters = near_duplicates([*asked, *said])
    same = set(clusters[: len(asked)])
    leaking = {turn for turn, cluster in zip(said, clusters[len(asked) :], strict=True) if cluster in same}
    # A name in Latin letters ends where its letters do: abs is not in "absent". Chinese has no such borders.
    patterns = "|".join(rf"(?<![a-z0-9_.]){re.escape(_folded(name))}(?![a-z0-9_])" for name in names if name)
    named = re.compile(patterns) if patterns else None
    return [
        any(plain(turn) in leaking or (named is not None and named.search(_folded(turn))) for turn in each)
        for each in turns
    ]


def _folded(text: str) -> str:
    return simplified(unicodedata.normalize("NFKC", text).casefold())


def _pairs(judged: Sequence[Vote], split: Split) -> tuple[list[Pair], int]:
    messages = tuple({"role": m["role"], "content": m["content"]} for m in judged[0].history)
    totals: Counter[tuple[str, bool]] = Counter()
    better: list[tuple[str, tuple[str, bool]]] = []
    for vote in judged:
        answer = (vote.answer, _ended(vote))
        totals[answer] += vote.value
        if vote.better_answer and vote.better_answer.strip() != vote.answer.strip():
            better.append((vote.better_answer, answer))
    # Corrections first: a person wrote them, so they survive the cap on pairs per question.
    found = [((text, True), answer) for text, answer in better]
    ups = [answer for answer, total in totals.items() if total > 0]
    downs = [answer for answer, total in totals.items() if total < 0]
    # The first of each first: with a cap, every answer gets into a pair before one gets into two.
    found += sorted(
        ((up, down) for up in ups for down in downs),
        key=lambda pair: abs(ups.index(pair[0]) - downs.index(pair[1])),
    )
    in_pairs = {answer for pair in found for answer in pair}
    used = sum((vote.answer, _ended(vote)) in in_pairs for vote in judged)
    return [Pair(messages, *chosen, *rejected, split) for chosen, rejected in found], used


def _ended(vote: Vote) -> bool:
    """Neither cut off by the limit of tokens nor stopped by the reader."""
    return vote.finish_reason not in ("length", "cancelled")


def near_duplicates(questions: Sequence[str]) -> list[int]:
    """The cluster of each question: equal, or linked by character trigrams that nearly all agree."""
    distinct = list(dict.fromkeys(questions))
    shingles = [{text[i : i + 3] for i in range(max(1, len(text) - 2))} for text in distinct]
    number = {shingle: index for index, shingle in enumerate(sorted(set().union(*shingles)))}
    sizes = np.array([len(one) for one in shingles])
    holders: dict[int, list[int]] = defaultdict(list)
    parent = list(range(len(distinct)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index, one in enumerate(shingles):
        members = [number[shingle] for shingle in one]
        earlier = [holder for member in members for holder in holders[member]]
        if earlier:
            common = np.bincount(earlier, minlength=index)
            similar = common / (sizes[:index] + sizes[index] - common)
            for other in np.flatnonzero(similar >= NEARLY_SAME):
                parent[root(index)] = root(int(other))
        for member in members:
            holders[member].append(index)
    cluster = {text: root(index) for index, text in enumerate(distinct)}
    return [cluster[text] for text in questions]


def save_pairs(pairs: Iterable[Pair], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for pair in pairs:
            file.write(json.dumps(asdict(pair), ensure_ascii=False) + "\n")


def load_pairs(path: Path) -> list[Pair]:
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Pair(**{**row, "messages": tuple(row["messages"])}) for row in rows]
