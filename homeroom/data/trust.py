"""Which votes may teach, and how much each: caps, people who contradict themselves, brigades, agreement with others.

Takes rows and gives a weight to each, with the reason where it is 0, so that a page can show what was set aside and an
operator can restore a person. It knows votes only: whoever is alone with a taste and whoever lies look the same. How
brigades are found is in `brigades.py`, how reliability is estimated in `crowd.py`; where votes come from and who learns
of them is others' business.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from homeroom.data.brigades import Brigade, BrigadeSettings, find_brigades, newcomers
from homeroom.data.crowd import CastVote, Crowd, fit
from homeroom.settings import Frozen, Json, Probability

Reason = Literal["distrusted", "replaced", "contradictory", "brigade", "cap", "disagreement"]
NOTHING = 5e-4  # a weight below it
TASTE = 0.1  # a crowd that agrees no better than this says nothing about anybody


class TrustSettings(Frozen):
    """How much one person may teach, and what is taken for an attack."""

    votes_per_person: PositiveInt = Field(5000, description="of one harvest, which reads all there are")
    share_per_person: Probability = Field(
        0.2, description="of all votes of a round; of few people, twice an equal part"
    )
    evidence: PositiveFloat = Field(5.0, description="shared answers after which a person's own agreement counts half")
    flips: Probability = Field(0.2, description="how often an honest person votes the other way on the same answer")
    contradictory_by_chance: Probability = Field(0.01, description="over all people of a round")
    brigades: BrigadeSettings = BrigadeSettings()


@dataclass(frozen=True)
class Trusted:
    """A vote's weight in [0, 1]; set aside (0) only for a reason."""

    weight: float
    reason: Reason | None = None


@dataclass(frozen=True)
class Changes:
    """How many thumbs somebody gave, changed ones too, and how many said the opposite of the one before it."""

    votes: int
    turned: int


@dataclass(frozen=True)
class Person:
    """What was found of one person. `found` names it even where an operator restored the person."""

    person: str
    votes: int
    counted: int  # with a weight above 0
    weight: float  # of each vote that counts
    shared: int  # votes on answers that others voted on as well
    agreement: float | None  # of those, the share that says what the others say; None without any
    found: tuple[Reason, ...]
    restored: bool

    def figures(self) -> dict[str, Json]:
        return {**asdict(self), "found": list(self.found)}


@dataclass(frozen=True)
class Trust:
    """In the order of the votes given; persons by name."""

    votes: list[Trusted]
    persons: list[Person]
    brigades: list[Brigade]

    def figures(self) -> dict[str, Json]:
        aside = Counter(vote.reason for vote in self.votes if vote.reason is not None)
        return {
            "votes": len(self.votes),
            "counted": sum(vote.weight > 0 for vote in self.votes),
            "set_aside": dict(sorted(aside.items())),
            "persons": [person.figures() for person in self.persons],
            "brigades": [brigade.figures() for brigade in self.brigades],
        }


def judge_votes(
    votes: Sequence[CastVote],
    settings: TrustSettings | None = None,
    restored: Collection[str] = (),
    distrusted: Collection[str] = (),
    changes: Mapping[str, Changes] = MappingProxyType({}),
) -> Trust:
    """The votes of one round. Of `restored` people every last vote on an answer counts whole, whatever is found.

    Those of `distrusted` people count for nothing, and others are judged as if they had not been cast. `changes` is
    how often people voted anew on one answer, whose earlier votes are no longer among these.

    Nothing depends on the order of the rows, but for two votes of one person on one answer at the same moment.
    """
    settings = settings or TrustSettings()
    if strange := {vote.value for vote in votes} - {-1, 0, 1}:
        raise ValueError(f"a vote is 1 (up), −1 (down) or 0 (a tie), given {sorted(strange)}")
    if silenced := Counter(vote.person for vote in votes if vote.person in distrusted):
        speaking = [vote for vote in votes if vote.person not in silenced]
        heard = judge_votes(speaking, settings, restored, changes=changes)
        rest = iter(heard.votes)
        judged = [Trusted(0.0, "distrusted") if vote.person in silenced else next(rest) for vote in votes]
        unheard = [Person(name, cast, 0, 0.0, 0, None, ("distrusted",), False) for name, cast in silenced.items()]
        return Trust(judged, sorted([*heard.persons, *unheard], key=lambda one: one.person), heard.brigades)
    regulars = {vote.person for vote in votes} - newcomers(votes, settings.brigades).keys()
    crowd = fit(votes, first=frozenset(regulars))
    brigades = find_brigades(votes, crowd, settings.brigades)
    accused = {person for brigade in brigades for person in brigade.members}
    contradicting = contradictory(votes, settings) | fickle(changes, settings)

    reasons: list[Reason | None] = [None] * len(votes)
    last = {(votes[at].person, votes[at].answer): at for at in sorted(range(len(votes)), key=lambda at: votes[at].at)}
    for at, vote in enumerate(votes):
        if last[vote.person, vote.answer] != at:
            reasons[at] = "replaced"
        elif vote.person in restored:
            continue
        elif vote.person in contradicting:
            reasons[at] = "contradictory"
        elif vote.person in accused:
            reasons[at] = "brigade"
    # Who disagreed with a brigade is not to weigh less for it.
    weights = weights_by_agreement(crowd, settings.evidence) | weights_by_agreement(
        fit([vote for vote, reason in zip(votes, reasons, strict=True) if reason is None]), settings.evidence
    )
    capped = _beyond_cap(votes, [at for at, reason in enumerate(reasons) if reason is None], settings)
    for at in capped:
        if votes[at].person not in restored:
            reasons[at] = "cap"
    for at, vote in enumerate(votes):
        if reasons[at] is None and vote.person not in restored and weights.get(vote.person, 1.0) < NOTHING:
            reasons[at] = "disagreement"
    judged = [
        Trusted(0.0, reason)
        if reason is not None
        else Trusted(1.0 if vote.person in restored else weights.get(vote.person, 1.0))
        for vote, reason in zip(votes, reasons, strict=True)
    ]
    found: dict[str, set[Reason]] = defaultdict(set)
    named: list[tuple[Collection[str], Reason]] = [
        (contradicting, "contradictory"),
        (accused, "brigade"),
        ({votes[at].person for at in capped}, "cap"),
        (
            {vote.person for vote, reason in zip(votes, reasons, strict=True) if reason == "disagreement"},
            "disagreement",
        ),
    ]
    for people, name in named:
        for person in people:
            found[person].add(name)
    return Trust(judged, _persons(votes, judged, weights, crowd, found, restored), brigades)


def weights_by_agreement(crowd: Crowd | None, evidence: float) -> dict[str, float]:
    """How much better than chance a person tells good answers from bad, relative to the whole crowd, from 0 to 1.

    Good is what the others say. Each person's two rates are drawn towards the crowd's, as if `evidence` votes of
    an average voter on good and as many on bad answers came with them, so who shares little weighs nearly 1.
    """
    if crowd is None:
        return {}
    good_N, people = crowd.others(), len(crowd.names)
    above_P = np.zeros(people)
    average = 0.0
    for sign, part_N in ((1, good_N), (-1, 1 - good_N)):
        rate = float((part_N * crowd.ups).sum() / part_N.sum())
        said_P = np.bincount(crowd.persons, part_N * crowd.ups, people) + evidence * rate
        above_P += sign * said_P / (np.bincount(crowd.persons, part_N, people) + evidence)
        average += sign * rate
    if average < TASTE:
        return dict.fromkeys(crowd.names, 1.0)
    return dict(zip(crowd.names, (above_P / average).clip(0, 1).tolist(), strict=True))


def contradictory(votes: Sequence[CastVote], settings: TrustSettings) -> set[str]:
    """Who turns round on the same answer more often than a change of mind now and then explains."""
    by_answer: dict[tuple[str, str], list[int]] = defaultdict(list)
    for vote in sorted(votes, key=lambda vote: vote.at):
        if vote.value:
            by_answer[vote.person, vote.answer].append(vote.value)
    again, turned = Counter[str](), Counter[str]()
    for (person, _), values in by_answer.items():
        again[person] += len(values) - 1
        turned[person] += sum(a != b for a, b in pairwise(values))
    allowed = settings.contradictory_by_chance / max(1, len({vote.person for vote in votes}))
    return {
        person for person, times in again.items() if binomial_tail(times, settings.flips, turned[person]) <= allowed
    }


def fickle(changes: Mapping[str, Changes], settings: TrustSettings) -> set[str]:
    """Whose thumbs go up and down on the same answer, of all that they voted, more often than flips explain."""
    allowed = settings.contradictory_by_chance / max(1, len(changes))
    return {name for name, one in changes.items() if binomial_tail(one.votes, settings.flips, one.turned) <= allowed}


def binomial_tail(n: int, p: float, at_least: int) -> float:
    """How likely at least so many of n happen, each with a probability of p."""
    if at_least <= 0 or p in (0, 1):
        return float(at_least <= 0 or at_least <= n * p)
    # By logarithms: of a thousand things there are more combinations than a float can hold.
    ways = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(at_least, n + 1))
    odds = (k * math.log(p) + (n - k) * math.log1p(-p) for k in range(at_least, n + 1))
    return min(1.0, math.fsum(math.exp(many + one) for many, one in zip(ways, odds, strict=True)))


def cap_of(counts: Collection[int], settings: TrustSettings) -> int:
    """How many votes of one person count, where everybody cast so many.

    The share is of what counts, so what others lose lowers it too. Of few people nobody can be as little as a fifth:
    two may share everything, and one alone has it.
    """
    people = len(counts)
    share = max(settings.share_per_person, min(1.0, 2 / people)) if people else 1.0
    low, high = 1, max(1, min(settings.votes_per_person, max(counts, default=1)))
    while low < high:
        middle = (low + high + 1) // 2
        fits = middle <= share * sum(min(count, middle) for count in counts) + 1e-9
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _beyond_cap(votes: Sequence[CastVote], counting: Sequence[int], settings: TrustSettings) -> set[int]:
    """The votes too many. What stays covers as many questions as it can, the oldest votes on each first."""
    by_person: dict[str, list[int]] = defaultdict(list)
    for at in sorted(counting, key=lambda at: (votes[at].at, votes[at].question, votes[at].answer)):
        by_person[votes[at].person].append(at)
    cap = cap_of([len(each) for each in by_person.values()], settings)
    beyond: set[int] = set()
    for each in by_person.values():
        seen: Counter[str] = Counter()
        rounds: list[tuple[int, int, int]] = []
        for at in each:
            seen[votes[at].question] += 1
            rounds.append((seen[votes[at].question], len(rounds), at))
        beyond |= {at for _, _, at in sorted(rounds)[cap:]}
    return beyond


def _persons(
    votes: Sequence[CastVote],
    judged: Sequence[Trusted],
    weights: dict[str, float],
    crowd: Crowd | None,
    found: dict[str, set[Reason]],
    restored: Collection[str],
) -> list[Person]:
    cast, counted = Counter(vote.person for vote in votes), Counter[str]()
    for vote, one in zip(votes, judged, strict=True):
        counted[vote.person] += one.weight > 0
    same: dict[str, list[bool]] = defaultdict(list)
    if crowd is not None:
        for person, good, up in zip(crowd.persons.tolist(), crowd.others().tolist(), crowd.ups.tolist(), strict=True):
            same[crowd.names[person]].append((good > 0.5) == (up > 0))
    return [
        Person(
            person,
            cast[person],
            counted[person],
            1.0 if person in restored else weights.get(person, 1.0),
            len(same[person]),
            sum(same[person]) / len(same[person]) if same[person] else None,
            tuple(sorted(found.get(person, ()))),
            person in restored,
        )
        for person in sorted(cast)
    ]
