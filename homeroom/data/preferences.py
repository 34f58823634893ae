"""Votes become lessons: pairs of a better and a worse answer to one question, thumbs, and answers that people wrote.

Each lies on one side of a split. Questions that nearly say the same count as one, so that what a model is tested on it
was not trained on. Where the votes come from and what learns from the lessons is left to others.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol

from homeroom.data.alike import DisjointSets
from homeroom.tasks.wording import plain, simplified, worded

NEARLY_SAME = 0.85  # Jaccard similarity of character trigrams
# A turn is about code if it holds one of these; without, a name that is also a word ("all", "next") may be the word.
_OF_CODE = re.compile("python|function|argument|parameter|module|函数|参数|模块")
Split = Literal["train", "judge", "heldout"]
"""What is learned from, what an independent judge learns from, and what decides."""


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
    @property
    def token_ids(self) -> Sequence[int] | None: ...


@dataclass(frozen=True)
class Said:
    """One side of a pair. What a person wrote has no token ids; two ways to sample one text are one answer."""

    text: str
    ended: bool
    token_ids: list[int] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Pair:
    """`chosen` is the better answer to `messages`."""

    messages: tuple[dict[str, str], ...]
    chosen: Said
    rejected: Said
    split: Split


@dataclass(frozen=True)
class Thumb:
    """What people think of one answer to `messages`, all their votes on it taken together."""

    messages: tuple[dict[str, str], ...]
    answer: Said
    liked: bool
    split: Split


@dataclass(frozen=True)
class Harvest:
    pairs: list[Pair]
    thumbs: list[Thumb]  # with every better answer as one that is liked
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
    judge: float = 0.0,
) -> Harvest:
    """Up-voted above down-voted, and a person's better answer above the answer that it corrects.

    `share` hashes a question to [0, 1); a whole cluster of near-duplicates goes where its smallest text goes, which
    does not depend on who voted when. Several votes on one answer are added up. A conversation in which a person asks
    what the evaluation asks, or names one of `evaluated_names` in other words, is left out.

    The pairs' order follows from what was said: a server that answers many at once stores votes in any order.
    """
    by_question: dict[tuple[tuple[str, str], ...], list[Vote]] = defaultdict(list)
    for vote in sorted(votes, key=_content):
        by_question[tuple((m["role"], simplified(worded(m["content"]))) for m in vote.history)].append(vote)
    # Coarser than what makes a pair: "C" and "C++" are two questions, but on one side of the split.
    asked = ["\n".join(plain(text) for role, text in key if role == "user") for key in by_question]
    clusters = near_duplicates(asked)
    smallest: dict[int, str] = {}
    for question, cluster in zip(asked, clusters, strict=True):
        smallest[cluster] = min(question, smallest.get(cluster, question))
    evaluated = _evaluated(list(by_question.values()), evaluation_questions, evaluated_names)
    pairs: list[Pair] = []
    thumbs: list[Thumb] = []
    with_pairs: Counter[str] = Counter(train=0, heldout=0)
    lone = excluded = 0
    for cluster, leaks, judged in zip(clusters, evaluated, by_question.values(), strict=True):
        if leaks:
            excluded += len(judged)
            continue
        point = share(smallest[cluster])
        split: Split = "heldout" if point < heldout else "judge" if point < heldout + judge else "train"
        made, used = _pairs(judged, split, pairs_per_question)
        pairs += made
        thumbs += _thumbs(judged, split)
        with_pairs[split] += bool(made)
        lone += len(judged) - used
    return Harvest(pairs, thumbs, dict(with_pairs), lone, excluded)


def _content(vote: Vote) -> str:
    """All that is read of a vote, and nothing that was drawn or that tells when it came."""
    turns = [[m["role"], m["content"]] for m in vote.history]
    token_ids = vote.token_ids and list(vote.token_ids)
    return json.dumps([turns, vote.answer, vote.value, vote.better_answer, vote.finish_reason, token_ids])


def digest(votes: Iterable[Vote]) -> str:
    """Of what counts in votes, in whatever order they are given."""
    return hashlib.sha256("\n".join(sorted(map(_content, votes))).encode()).hexdigest()[:16]


def _evaluated(judged: Sequence[Sequence[Vote]], questions: Sequence[str], names: Sequence[str]) -> list[bool]:
    """For the votes on each question whether a person's turn before it touches what the evaluation asks."""
    turns = [[m["content"] for m in votes[0].history if m["role"] == "user"] for votes in judged]
    asked = [*map(plain, questions)]
    said = list(dict.fromkeys(plain(turn) for each in turns for turn in each))
    clusters = near_duplicates([*asked, *said])
    same = set(clusters[: len(asked)])
    leaking = {turn for turn, cluster in zip(said, clusters[len(asked) :], strict=True) if cluster in same}
    # A name in Latin letters ends where its letters do: abs is not in "absent". Chinese has no such borders.
    longest_first = sorted(map(_folded, filter(None, names)), key=len, reverse=True)
    patterns = "|".join(rf"(?<![a-z0-9_.]){re.escape(name)}(?![a-z0-9_])" for name in longest_first)
    named = re.compile(patterns or r"(?!)")  # nothing is found where there are no names

    def leaks(turn: str) -> bool:
        said = _folded(turn)
        return plain(turn) in leaking or any(_means_the_name(hit, said) for hit in named.finditer(said))

    return [any(map(leaks, each)) for each in turns]


def _means_the_name(hit: re.Match[str], said: str) -> bool:
    """json.dumps and 画蛇添足 mean nothing else; `all` and `open` are said in every other conversation."""
    if not hit[0].isascii() or "." in hit[0]:
        return True
    return said[hit.end() : hit.end() + 1] in ("(", "`") or _OF_CODE.search(said) is not None


def _folded(text: str) -> str:
    return simplified(unicodedata.normalize("NFKC", text).casefold())


def _pairs(judged: Sequence[Vote], split: Split, most: int) -> tuple[list[Pair], int]:
    """At most so many pairs of one question's answers, and how many of the judged answers are in them."""
    messages, totals, better = _judgements(judged)
    ups = [answer for answer, total in totals.items() if total > 0]
    downs = [answer for answer, total in totals.items() if total < 0]
    # Corrections first: a person wrote them, so they survive the cap on pairs per question.
    found = list(islice(chain(better, _crossed(ups, downs)), most))
    in_pairs = {answer for pair in found for answer in pair}
    used = sum(_said(vote) in in_pairs for vote in judged)
    return [Pair(messages, chosen, rejected, split) for chosen, rejected in found], used


def _thumbs(judged: Sequence[Vote], split: Split) -> list[Thumb]:
    messages, totals, better = _judgements(judged)
    liked = {answer: total > 0 for answer, total in totals.items() if total}
    liked |= {written: True for written, _ in better}
    return [Thumb(messages, answer, up, split) for answer, up in liked.items()]


def _judgements(
    judged: Sequence[Vote],
) -> tuple[tuple[dict[str, str], ...], Counter[Said], list[tuple[Said, Said]]]:
    """The messages before the answers, each answer's votes added up, and better answers with what they correct."""
    messages = tuple({"role": m["role"], "content": m["content"]} for m in judged[0].history)
    totals: Counter[Said] = Counter()
    better: list[tuple[Said, Said]] = []
    for vote in judged:
        answer = _said(vote)
        totals[answer] += vote.value
        if vote.better_answer and vote.better_answer.strip() != vote.answer.strip():
            better.append((Said(vote.better_answer, True), answer))
    return messages, totals, better


def _crossed(ups: Sequence[Said], downs: Sequence[Said]) -> Iterator[tuple[Said, Said]]:
    """Each with each, the first of each first: with a cap, every answer gets into a pair before one gets into two."""
    for apart in range(max(len(ups), len(downs))):
        for i, up in enumerate(ups):
            yield from ((up, downs[j]) for j in sorted({i - apart, i + apart}) if 0 <= j < len(downs))


def _said(vote: Vote) -> Said:
    """The answer that was judged; it ended unless the limit of tokens cut it off or the reader stopped it."""
    ended = vote.finish_reason not in ("length", "cancelled")
    return Said(vote.answer, ended, None if vote.token_ids is None else list(vote.token_ids))


def near_duplicates(questions: Sequence[str]) -> list[int]:
    """The cluster of each question: equal, or linked by character trigrams that nearly all agree.

    Questions of one template share most trigrams, and all would be compared with all. Two that nearly agree have one
    of their rarest in common, and how many have to be looked at follows from the sizes: prefix filtering, with the
    shorter prefixes of PPJoin (Xiao et al. 2008, section 3) where the smaller comes first.
    """
    distinct = list(dict.fromkeys(questions))
    shingles = [{text[i : i + 3] for i in range(max(1, len(text) - 2))} for text in distinct]
    count = Counter(shingle for one in shingles for shingle in one)
    holders: dict[str, list[int]] = defaultdict(list)
    clusters = DisjointSets(len(distinct))
    for index in sorted(range(len(distinct)), key=lambda index: len(shingles[index])):
        one = shingles[index]
        rarest = sorted(one, key=lambda shingle: (count[shingle], shingle))
        for other in {holder for shingle in rarest[: _prefix(len(one), NEARLY_SAME)] for holder in holders[shingle]}:
            if clusters.find(other) != clusters.find(index):
                common = len(one & shingles[other])
                if common / (len(one) + len(shingles[other]) - common) >= NEARLY_SAME:
                    clusters.join(index, other)
        for shingle in rarest[: _prefix(len(one), 2 * NEARLY_SAME / (1 + NEARLY_SAME))]:
            holders[shingle].append(index)
    cluster = {text: clusters.find(index) for index, text in enumerate(distinct)}
    return [cluster[text] for text in questions]


def _prefix(size: int, share: float) -> int:
    """Of so many, sorted, one of the first this many is in common when at least this share of all is."""
    return size - math.ceil(share * size - 1e-9) + 1


def save_lessons(lessons: Iterable[Pair | Thumb], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for lesson in lessons:
            file.write(json.dumps(asdict(lesson), ensure_ascii=False) + "\n")


def load_pairs(path: Path) -> list[Pair]:
    return [
        Pair(tuple(row["messages"]), Said(**row["chosen"]), Said(**row["rejected"]), row["split"])
        for row in _rows(path)
    ]


def load_thumbs(path: Path) -> list[Thumb]:
    return [Thumb(tuple(row["messages"]), Said(**row["answer"]), row["liked"], row["split"]) for row in _rows(path)]


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
