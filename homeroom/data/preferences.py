"""Votes become lessons: pairs of a better and a worse answer to one question, thumbs, and answers that people wrote.

Each lies on one side of a split. Questions that nearly say the same count as one, so that what a model is tested on it
was not trained on. Where the votes come from, how much each weighs (see `judgements.py`) and what learns from the
lessons is left to others.
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
PAIRS, THUMBS = "pairs.jsonl", "thumbs.jsonl"  # of a harvest
Split = Literal["train", "judge", "heldout"]
"""What is learned from, what an independent judge learns from, and what decides."""
DIGITS = 6  # of weights: votes that cancel out are to leave nothing


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
    @property
    def written(self) -> bool: ...  # by a person who was asked for the best answer; who made an imported one?


@dataclass(frozen=True)
class Said:
    """One side of a pair. Written or imported it has no token ids; two ways to sample one text are one answer."""

    text: str
    ended: bool
    token_ids: list[int] | None = field(default=None, compare=False)
    written: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Pair:
    """`chosen` is the better answer to `messages`."""

    messages: tuple[dict[str, str], ...]
    chosen: Said
    rejected: Said
    split: Split
    weight: float = 1.0  # above 0 and at most 1, as that of a Thumb


@dataclass(frozen=True)
class Thumb:
    """What people think of one answer to `messages`, all their votes on it taken together."""

    messages: tuple[dict[str, str], ...]
    answer: Said
    liked: bool
    split: Split
    weight: float = 1.0


@dataclass(frozen=True)
class Choice:
    """A person's word that of two answers to one question `better` is the better, and how much it weighs."""

    history: Sequence[dict[str, str]]
    better: Said
    worse: Said
    weight: float = 1.0


@dataclass
class _Asked:
    """One question with all that was said of answers to it."""

    messages: tuple[dict[str, str], ...]
    votes: list[tuple[Vote, float]] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)


@dataclass(frozen=True)
class Harvest:
    pairs: list[Pair]
    thumbs: list[Thumb]  # with every better answer as one that is liked
    questions: dict[str, int]  # with pairs, by split
    lone: int  # votes on answers that no pair holds: a thumb alone compares nothing
    excluded: int  # votes and choices in conversations that touch what the evaluation asks about


def harvest(
    votes: Iterable[Vote],
    evaluation_questions: Sequence[str],
    heldout: float,
    share: Callable[[str], float],
    pairs_per_question: int = 4,
    evaluated_names: Sequence[str] = (),
    judge: float = 0.0,
    *,
    weights: Sequence[float] | None = None,
    choices: Iterable[Choice] = (),
) -> Harvest:
    """Up-voted above down-voted, a person's better answer above the answer that it corrects, and what was chosen.

    `weights` are those of the votes, 1 if not given; what weighs nothing teaches nothing. Pairs of `choices` do not
    count towards `pairs_per_question`: a ranking shares one weight among all of its own.

    `share` hashes a question to [0, 1); a whole cluster of near-duplicates goes where its smallest text goes, which
    does not depend on who voted when. Several votes on one answer, or choices between the same two, are added up. A
    conversation in which a person asks what the evaluation asks, or names one of `evaluated_names` in other words, is
    left out.

    The pairs' order follows from what was said: a server that answers many at once stores votes in any order.
    """
    by_question: dict[tuple[tuple[str, str], ...], _Asked] = {}
    for vote, weight in sorted(_weighed(votes, weights), key=lambda one: (_content(one[0]), one[1])):
        _asked_in(by_question, vote.history).votes.append((vote, weight))
    for choice in sorted(choices, key=_content_of_choice):
        _asked_in(by_question, choice.history).choices.append(choice)
    # Coarser than what makes a pair: "C" and "C++" are two questions, but on one side of the split.
    asked = ["\n".join(plain(text) for role, text in key if role == "user") for key in by_question]
    clusters = _on_one_side(asked, [[plain(text) for role, text in key if role == "user"][-1:] for key in by_question])
    smallest: dict[int, str] = {}
    for question, cluster in zip(asked, clusters, strict=True):
        smallest[cluster] = min(question, smallest.get(cluster, question))
    messages = [one.messages for one in by_question.values()]
    evaluated = _evaluated(messages, evaluation_questions, evaluated_names)
    pairs: list[Pair] = []
    thumbs: list[Thumb] = []
    with_pairs: Counter[str] = Counter(train=0, heldout=0)
    lone = excluded = 0
    for cluster, leaks, asked_of in zip(clusters, evaluated, by_question.values(), strict=True):
        if leaks:
            excluded += len(asked_of.votes) + len(asked_of.choices)
            continue
        point = share(smallest[cluster])
        split: Split = "heldout" if point < heldout else "judge" if point < heldout + judge else "train"
        made, alone = _pairs(asked_of, split, pairs_per_question)
        pairs += made
        thumbs += _thumbs(asked_of, split)
        with_pairs[split] += bool(made)
        lone += alone
    return Harvest(pairs, thumbs, dict(with_pairs), lone, excluded)


def question_of(history: Sequence[dict[str, str]]) -> tuple[tuple[str, str], ...]:
    """What makes two conversations one question."""
    return tuple((m["role"], simplified(worded(m["content"]))) for m in history)


def _asked_in(by_question: dict[tuple[tuple[str, str], ...], _Asked], history: Sequence[dict[str, str]]) -> _Asked:
    messages = tuple({"role": m["role"], "content": m["content"]} for m in history)
    return by_question.setdefault(question_of(history), _Asked(messages))


def _weighed(votes: Iterable[Vote], weights: Sequence[float] | None) -> list[tuple[Vote, float]]:
    given = list(votes)
    return list(zip(given, weights if weights is not None else [1.0] * len(given), strict=True))


def _content(vote: Vote) -> str:
    """All that is read of a vote, and nothing that was drawn or that tells when it came."""
    turns = [[m["role"], m["content"]] for m in vote.history]
    token_ids = vote.token_ids and list(vote.token_ids)
    said = vote.answer, vote.value, vote.better_answer, vote.finish_reason, token_ids, vote.written
    return json.dumps([turns, *said])


def _content_of_choice(choice: Choice) -> str:
    turns = [[m["role"], m["content"]] for m in choice.history]
    return json.dumps([turns, asdict(choice.better), asdict(choice.worse), choice.weight])


def digest(votes: Iterable[Vote], weights: Sequence[float] | None = None, choices: Iterable[Choice] = ()) -> str:
    """Of what counts in votes and choices, in whatever order they are given."""
    said = [json.dumps([_content(vote), weight]) for vote, weight in _weighed(votes, weights)]
    said += map(_content_of_choice, choices)
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()[:16]


def _on_one_side(asked: Sequence[str], last: Sequence[Sequence[str]]) -> list[int]:
    """The cluster of each conversation: near-duplicates, and whoever ends with what another asks alone.

    Not all that end alike: "why?" after two things is two questions.
    """
    ends = ["".join(turn) for turn in last]
    clusters = near_duplicates([*asked, *ends])
    of_whole, of_end = clusters[: len(asked)], clusters[len(asked) :]
    alone = {whole for whole, text, end in zip(of_whole, asked, ends, strict=True) if text == end}
    sides = DisjointSets(len(clusters))
    for whole, end in zip(of_whole, of_end, strict=True):
        if end in alone:
            sides.join(whole, end)
    return [sides.find(whole) for whole in of_whole]


def _evaluated(
    asked_of: Sequence[Sequence[dict[str, str]]], questions: Sequence[str], names: Sequence[str]
) -> list[bool]:
    """For each conversation whether a person's turn in it touches what the evaluation asks."""
    turns = [[m["content"] for m in messages if m["role"] == "user"] for messages in asked_of]
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


Ordered = tuple[Said, Said, float]
"""A better answer, a worse one, and how much that weighs."""


def _pairs(asked: _Asked, split: Split, most: int) -> tuple[list[Pair], int]:
    """What was chosen, then at most so many pairs out of votes; and how many votes are on answers in none of them."""
    totals, better = _judgements(asked.votes)
    ups = [answer for answer, total in totals.items() if total > 0]
    downs = [answer for answer, total in totals.items() if total < 0]
    chosen = _chosen(asked.choices)
    decided = {frozenset((one, other)) for one, other, _ in chosen}
    crossed = (
        (up, down, min(_capped(totals[up]), _capped(totals[down])))
        for up, down in _crossed(ups, downs)
        if frozenset((up, down)) not in decided
    )
    # Corrections first: a person wrote them, so they survive the cap on pairs per question.
    found = [*chosen, *islice(chain(better, crossed), most)]
    in_pairs = {answer for one, other, _ in found for answer in (one, other)}
    alone = sum(weight > 0 and _said(vote) not in in_pairs for vote, weight in asked.votes)
    return [Pair(asked.messages, one, other, split, weight) for one, other, weight in found], alone


def _thumbs(asked: _Asked, split: Split) -> list[Thumb]:
    totals, better = _judgements(asked.votes)
    liked = {answer: total for answer, total in totals.items() if total}
    for written, _, weight in better:
        liked[written] = max(weight, liked.get(written, 0.0))
    return [Thumb(asked.messages, answer, total > 0, split, _capped(total)) for answer, total in liked.items()]


def _judgements(votes: Iterable[tuple[Vote, float]]) -> tuple[dict[Said, float], list[Ordered]]:
    """Each answer's votes added up, and better answers with what they correct."""
    totals: dict[Said, float] = defaultdict(float)
    better: list[Ordered] = []
    for vote, weight in votes:
        if not weight:
            continue
        answer = _said(vote)
        totals[answer] += weight * vote.value
        if vote.better_answer and vote.better_answer.strip() != vote.answer.strip():
            better.append((Said(vote.better_answer, True, written=True), answer, weight))
    return {answer: round(total, DIGITS) for answer, total in totals.items()}, better


def _chosen(choices: Iterable[Choice]) -> list[Ordered]:
    """Each two answers once, in the order that the choices between them add up to; none where they cancel out."""
    totals: dict[tuple[Said, Said], float] = {}
    for choice in choices:
        if choice.better == choice.worse:
            continue
        way, sign = (choice.better, choice.worse), 1
        if way[::-1] in totals:
            way, sign = (choice.worse, choice.better), -1
        totals[way] = totals.get(way, 0.0) + sign * choice.weight
    found = [(one, other, round(total, DIGITS)) for (one, other), total in totals.items()]
    return [
        (one, other, _capped(total)) if total > 0 else (other, one, _capped(total))
        for one, other, total in found
        if total
    ]


def _capped(total: float) -> float:
    """Many who agree weigh no more than one who is trusted: a row is read as often as any other."""
    return min(1.0, abs(total))


def _crossed(ups: Sequence[Said], downs: Sequence[Said]) -> Iterator[tuple[Said, Said]]:
    """Each with each, the first of each first: with a cap, every answer gets into a pair before one gets into two."""
    for apart in range(max(len(ups), len(downs))):
        for i, up in enumerate(ups):
            yield from ((up, downs[j]) for j in sorted({i - apart, i + apart}) if 0 <= j < len(downs))


def said_of(text: str, finish_reason: str | None, token_ids: Sequence[int] | None, *, written: bool = False) -> Said:
    """An answer as it was given; it ended unless the limit of tokens cut it off or the reader stopped it."""
    ended = finish_reason not in ("length", "cancelled")
    return Said(text, ended, None if token_ids is None else list(token_ids), written)


def _said(vote: Vote) -> Said:
    return said_of(vote.answer, vote.finish_reason, vote.token_ids, written=vote.written)


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
        Pair(tuple(row["messages"]), _kept(row["chosen"]), _kept(row["rejected"]), row["split"], _weight(row))
        for row in _rows(path)
    ]


def load_thumbs(path: Path) -> list[Thumb]:
    return [
        Thumb(tuple(row["messages"]), _kept(row["answer"]), row["liked"], row["split"], _weight(row))
        for row in _rows(path)
    ]


def _kept(row: dict[str, Any]) -> Said:
    """Harvests of before it was kept took whatever has no token ids for written."""
    return Said(**{"written": row.get("token_ids") is None} | row)


def _weight(row: dict[str, Any]) -> float:
    """Harvests of before votes were weighed have none."""
    return float(row.get("weight", 1.0))


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
