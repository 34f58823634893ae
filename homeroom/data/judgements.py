"""What people said in all its forms made one: votes, rankings and comparisons, each with how much it may teach.

A ranking is a choice between each two of its answers, a comparison one choice; a flag "toxic" is a thumb down and an
ideal answer is one that is liked. Whom to trust how far is found in `trust.py`, lessons are made in `preferences.py`.
Nobody is named in what leads to an artifact: who said what is set aside, the workspace knows by the rows' ids.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from types import MappingProxyType
from typing import Protocol

from homeroom.data.crowd import CastVote
from homeroom.data.preferences import DIGITS, Choice, Said, Vote, digest, question_of, said_of
from homeroom.data.trust import Changes, Trust, Trusted, TrustSettings, judge_votes
from homeroom.settings import Json

TRUST_DIGITS = 3  # of a person's weight: more would only tell one fit from the next
SIDES = {"left": 1, "right": -1}


class Judged(Protocol):
    """What is read of everything that a person says."""

    @property
    def history(self) -> Sequence[dict[str, str]]: ...
    @property
    def user(self) -> str: ...
    @property
    def at(self) -> str: ...


class JudgedAnswer(Vote, Judged, Protocol):
    @property
    def message_id(self) -> str: ...
    @property
    def model_id(self) -> str | None: ...
    @property
    def vote_id(self) -> str | None: ...
    @property
    def edit_id(self) -> str | None: ...


class GivenAnswer(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def model_id(self) -> str | None: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def token_ids(self) -> Sequence[int] | None: ...


class JudgedRanking(Judged, Protocol):
    @property
    def id(self) -> str: ...
    @property
    def question_id(self) -> str: ...
    @property
    def answers(self) -> Sequence[GivenAnswer]: ...
    @property
    def tiers(self) -> Sequence[Sequence[int]]: ...
    @property
    def flags(self) -> Sequence[Sequence[str]]: ...
    @property
    def ideal_answer(self) -> str | None: ...


class JudgedComparison(Judged, Protocol):
    @property
    def id(self) -> str: ...
    @property
    def question_id(self) -> str: ...
    @property
    def left(self) -> GivenAnswer: ...
    @property
    def right(self) -> GivenAnswer: ...
    @property
    def choice(self) -> str: ...


@dataclass(frozen=True)
class Opinion:
    """A vote that was said in a ranking: of an answer in it, or of the ideal one, which a person has `written`."""

    history: Sequence[dict[str, str]]
    answer: str
    value: int
    finish_reason: str | None = "stop"
    token_ids: Sequence[int] | None = None
    better_answer: str | None = None
    written: bool = False


@dataclass(frozen=True)
class Weighed:
    """What `homeroom.data.preferences.harvest` takes; `aside` are the rows, by their ids, that count for nothing or
    of which a part does not, and why."""

    votes: list[Vote]
    weights: list[float]
    choices: list[Choice]
    aside: list[dict[str, Json]]
    trust: Trust

    def digest(self) -> str:
        """Of what can be learned: who said it and when counts as far as it makes a difference to that."""
        return digest(self.votes, self.weights, self.choices)

    def figures(self) -> dict[str, Json]:
        """Without names."""
        found = self.trust.figures()
        counted = [one.weight for one in self.trust.votes if one.reason is None]
        return {
            "judgements": len(self.trust.votes),
            "people": len(self.trust.persons),
            "people_set_aside": sum(one.votes > 0 and not one.counted for one in self.trust.persons),
            "set_aside": found["set_aside"],
            "mean_weight": sum(counted) / len(counted) if counted else None,
            "brigades": [
                {"accounts": len(one.members), **{k: v for k, v in one.figures().items() if k != "members"}}
                for one in self.trust.brigades
            ],
        }


@dataclass(frozen=True)
class _Cast:
    """A vote on one answer, or on which of two is better (None of a tie), and its place among all."""

    place: int
    answers: tuple[Said, Said] | None = None


class _Ballot:
    """All that was said as votes, which is what trust is made of, and then what was found of each."""

    def __init__(self) -> None:
        self.votes: list[CastVote] = []
        self.found: list[Trusted] = []

    def answer(self, judged: Judged, said: Said, value: int, model: str | None) -> _Cast:
        asked = _name(question_of(judged.history))
        return _Cast(self._add(judged, asked, f"{asked} {_name((said.text, said.ended))}", value, model))

    def choice(self, judged: Judged, one: GivenAnswer, other: GivenAnswer, value: int) -> _Cast:
        """1 for the one, −1 for the other; whichever was shown first, the same two have the same name."""
        asked = _name(question_of(judged.history))
        both = _said(one), _said(other)
        # By model: who always takes the side of one shows. Else by a hash, which no taste can follow.
        models = one.model_id or "", other.model_id or ""
        sides = [(model, _name((said.text, said.ended))) for model, said in zip(models, both, strict=True)]
        first = 1 if sides[0] <= sides[1] else -1
        name = " ".join([asked, *(said for _, said in sides[::first])])
        place = self._add(judged, asked, name, value * first, "")
        return _Cast(place, None if value == 0 else both if value > 0 else both[::-1])

    def _add(self, judged: Judged, question: str, answer: str, value: int, model: str | None) -> int:
        at = datetime.fromisoformat(judged.at).timestamp()
        self.votes.append(CastVote(judged.user, question, answer, value, at, model or ""))
        return len(self.votes) - 1

    def weight(self, cast: _Cast) -> float:
        return round(self.found[cast.place].weight, TRUST_DIGITS)

    def choices(self, judged: Judged, cast: Sequence[_Cast], share: float = 1.0) -> list[Choice]:
        """Ties give none, and what weighs nothing gives none."""
        return [
            Choice(judged.history, *one.answers, round(weight * share, DIGITS))
            for one in cast
            if one.answers is not None and (weight := self.weight(one))
        ]

    def aside(self, cast: Sequence[_Cast], **row: Json) -> list[dict[str, Json]]:
        """A line for each reason for which a part of a row counts for nothing, and how large that part is."""
        reasons = Counter(self.found[one.place].reason for one in cast)
        return [
            {**row, "reason": reason, "share": round(count / len(cast), DIGITS)}
            for reason, count in sorted((reason, count) for reason, count in reasons.items() if reason is not None)
        ]


def weigh(
    votes: Sequence[JudgedAnswer],
    rankings: Sequence[JudgedRanking] = (),
    comparisons: Sequence[JudgedComparison] = (),
    settings: TrustSettings | None = None,
    restored: Collection[str] = (),
    distrusted: Collection[str] = (),
    changes: Mapping[str, Changes] = MappingProxyType({}),
) -> Weighed:
    """Each judgement with its weight. A ranking's choices share one (Ouyang et al. 2022, InstructGPT, eq. 1)."""
    ballot = _Ballot()
    of_votes = [
        ballot.answer(one, said_of(one.answer, one.finish_reason, one.token_ids), one.value, one.model_id)
        for one in votes
    ]
    of_rankings = [(_order(ballot, one), _toxic(ballot, one)) for one in rankings]
    of_comparisons = [ballot.choice(one, one.left, one.right, SIDES.get(one.choice, 0)) for one in comparisons]
    trust = judge_votes(ballot.votes, settings, restored, distrusted, changes)
    ballot.found = trust.votes

    said: list[tuple[Vote, float]] = []
    choices: list[Choice] = []
    aside: list[dict[str, Json]] = []
    for vote, cast in zip(votes, of_votes, strict=True):
        said.append((vote, ballot.weight(cast)))
        aside += ballot.aside([cast], vote_id=vote.vote_id, edit_id=vote.edit_id, message_id=vote.message_id)
    for ranked, (order, toxic) in zip(rankings, of_rankings, strict=True):
        choices += ballot.choices(ranked, order, 1 / max(1, len(order)))
        for place, cast in toxic.items():
            given = ranked.answers[place]
            opinion = Opinion(ranked.history, given.text, -1, given.finish_reason, given.token_ids)
            said.append((opinion, ballot.weight(cast)))
        if ranked.ideal_answer is not None:
            trusted = max((ballot.weight(cast) for cast in order), default=0.0)
            said.append((Opinion(ranked.history, ranked.ideal_answer, 1, written=True), trusted))
        aside += ballot.aside([*order, *toxic.values()], ranking_id=ranked.id, message_id=ranked.question_id)
    for compared, cast in zip(comparisons, of_comparisons, strict=True):
        choices += ballot.choices(compared, [cast])
        aside += ballot.aside([cast], comparison_id=compared.id, message_id=compared.question_id)
    return Weighed([one for one, _ in said], [weight for _, weight in said], choices, aside, trust)


def _order(ballot: _Ballot, ranked: JudgedRanking) -> list[_Cast]:
    """The choice between each two answers."""
    tier_of = {place: tier for tier, places in enumerate(ranked.tiers) for place in places}
    return [
        ballot.choice(
            ranked, ranked.answers[i], ranked.answers[j], (tier_of[i] < tier_of[j]) - (tier_of[i] > tier_of[j])
        )
        for i, j in combinations(sorted(tier_of), 2)
    ]


def _toxic(ballot: _Ballot, ranked: JudgedRanking) -> dict[int, _Cast]:
    """A thumb down for each answer flagged so, by its place."""
    return {
        place: ballot.answer(ranked, _said(ranked.answers[place]), -1, ranked.answers[place].model_id)
        for place, flags in enumerate(ranked.flags)
        if "toxic" in flags
    }


def _said(answer: GivenAnswer) -> Said:
    return said_of(answer.text, answer.finish_reason, answer.token_ids)


def _name(key: object) -> str:
    """Short, because votes are compared by it many times."""
    return hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
