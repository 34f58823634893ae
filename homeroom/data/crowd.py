"""How reliable each voter of a crowd is, when nobody knows which answers are good: Dawid and Skene's EM (1979).

An answer is good or bad, and a person says "good" of a good one with one probability and of a bad one with another.
Both, and what each answer is, are found together from votes alone. It tells how people agree; what follows from that
is decided in `trust.py`.
Shapes: N votes, P persons, A answers that at least two persons voted on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ROUNDS = 500
POWER_ROUNDS = 30


@dataclass(frozen=True)
class CastVote:
    """One vote as trust sees it. Answers that say nearly the same share `answer`, such questions `question`.

    A blind pair is an answer too: named by both of its sides, 1 for the first, −1 for the second.
    """

    person: str
    question: str
    answer: str
    value: int  # 1 up, −1 down, 0 for a tie, which takes neither side
    at: float  # seconds since any fixed moment
    model: str = ""


@dataclass(frozen=True)
class Crowd:
    """A fit. `persons`, `answers` and `ups` are the votes that it is of: indices, and whether they said "good"."""

    names: tuple[str, ...]
    persons: Ints
    answers: Ints
    ups: Floats
    good_A: Floats  # how likely each answer is good
    share: float  # of good answers
    hit_P: Floats  # how often a person says "good" of a good answer
    alarm_P: Floats  # and of a bad one
    log_likelihood: float

    def others(self) -> Floats:
        """For each vote how likely its answer is good, by the votes of everyone else."""
        odds_A = np.log(self.good_A) - np.log1p(-self.good_A)
        own_N = np.where(
            self.ups > 0,
            np.log(self.hit_P / self.alarm_P)[self.persons],
            np.log((1 - self.hit_P) / (1 - self.alarm_P))[self.persons],
        )
        found: Floats = 1 / (1 + np.exp(-(odds_A[self.answers] - own_N).clip(-50, 50)))
        return found


def shared(votes: Sequence[CastVote]) -> list[CastVote]:
    """The votes that take a side, on answers that at least two persons voted on; of one person's the last counts."""
    last = {(vote.person, vote.answer): vote for vote in sorted(votes, key=lambda vote: vote.at) if vote.value}
    judges: dict[str, int] = {}
    for _, answer in last:
        judges[answer] = judges.get(answer, 0) + 1
    return [vote for (_, answer), vote in last.items() if judges[answer] > 1]


def fit(
    votes: Sequence[CastVote], right: float = 2.0, wrong: float = 1.0, first: frozenset[str] = frozenset()
) -> Crowd | None:
    """The likeliest crowd of several starts, or None where nobody shares an answer.

    Everyone is believed to have been right `right` times and wrong `wrong` times before, of good answers and of bad
    ones; the persons in `first`, who have a history, right three times as often. With 0 and 0 this is the maximum of
    the likelihood alone. Starts are the majority of all, that of the persons in `first` where they voted, the
    direction that most votes share (Karger, Oh and Shah 2011), and the opposite of the group that shares it most: it
    may be the majority only where it went.
    """
    chosen = shared(votes)
    if not chosen:
        return None
    names, person_N = np.unique([vote.person for vote in chosen], return_inverse=True)
    answer_N = np.unique([vote.answer for vote in chosen], return_inverse=True)[1]
    up_N = np.array([float(vote.value > 0) for vote in chosen])
    answers, side_N = int(answer_N.max()) + 1, 2 * up_N - 1
    known_N = np.array([vote.person in first for vote in chosen], dtype=float)
    everyone_A = np.bincount(answer_N, side_N, answers)
    known_A = np.bincount(answer_N, side_N * known_N, answers)
    trust_P = _direction(person_N, answer_N, side_N)
    loudest_N = (trust_P > 0.5 * trust_P.max())[person_N]
    starts = [
        everyone_A,
        np.where(known_A == 0, everyone_A, known_A),
        np.bincount(answer_N, side_N * trust_P[person_N], answers),
        np.bincount(answer_N, side_N * np.where(loudest_N, -1, 1), answers),
    ]
    right_P = np.where([name in first for name in names], 3 * right, right)
    fits = [
        _oriented(_maximise(tuple(names.tolist()), person_N, answer_N, up_N, np.sign(start), right_P, wrong))
        for start in starts
    ]
    return max(fits, key=lambda crowd: crowd.log_likelihood)


def _direction(person_N: Ints, answer_N: Ints, side_N: Floats) -> Floats:
    trust_P = np.ones(int(person_N.max()) + 1)
    for _ in range(POWER_ROUNDS):
        sum_A = np.bincount(answer_N, side_N * trust_P[person_N])
        # Without a person's own vote: it would agree with itself.
        seen_P = np.bincount(person_N, side_N * (sum_A[answer_N] - side_N * trust_P[person_N]))
        trust_P = trust_P + seen_P / (np.abs(seen_P).max() or 1)
        trust_P /= np.abs(trust_P).max() or 1
    return trust_P


def _maximise(
    names: tuple[str, ...], person_N: Ints, answer_N: Ints, up_N: Floats, start_A: Floats, right_P: Floats, wrong: float
) -> Crowd:
    good_A = 0.5 + 0.4 * start_A
    persons, answers = len(names), len(good_A)
    wrong_P = np.full(persons, wrong)
    before, edge = -math.inf, 1e-9
    for _ in range(ROUNDS):
        good_N = good_A[answer_N]
        share = float(((good_A.sum() + wrong) / (answers + 2 * wrong)).clip(edge, 1 - edge))
        rates = []
        for weight_N, yes, no in ((good_N, right_P, wrong_P), (1 - good_N, wrong_P, right_P)):
            said_P = np.bincount(person_N, weight_N * up_N, persons) + yes
            of_P = np.bincount(person_N, weight_N, persons) + yes + no
            rates.append(np.divide(said_P, of_P, out=np.full(persons, 0.5), where=of_P > 0).clip(edge, 1 - edge))
        hit_P, alarm_P = rates
        by_kind = []
        for rate_P, kind in ((hit_P, share), (alarm_P, 1 - share)):
            said_N = np.where(up_N > 0, np.log(rate_P)[person_N], np.log1p(-rate_P)[person_N])
            by_kind.append(math.log(kind) + np.bincount(answer_N, said_N, answers))
        good_A = (1 / (1 + np.exp((by_kind[1] - by_kind[0]).clip(-50, 50)))).clip(edge, 1 - edge)
        likelihood = float(np.logaddexp(*by_kind).sum()) + wrong * (math.log(share) + math.log1p(-share))
        likelihood += float((right_P * np.log(hit_P) + wrong * np.log1p(-hit_P)).sum())
        likelihood += float((wrong * np.log(alarm_P) + right_P * np.log1p(-alarm_P)).sum())
        if likelihood - before < 1e-9:
            break
        before = likelihood
    return Crowd(names, person_N, answer_N, up_N, good_A, share, hit_P, alarm_P, likelihood)


def _oriented(crowd: Crowd) -> Crowd:
    """With good and bad exchanged a fit is as likely: most votes are meant as they are said."""
    if float((crowd.hit_P - crowd.alarm_P)[crowd.persons].sum()) >= 0:
        return crowd
    return replace(crowd, good_A=1 - crowd.good_A, share=1 - crowd.share, hit_P=crowd.alarm_P, alarm_P=crowd.hit_P)
