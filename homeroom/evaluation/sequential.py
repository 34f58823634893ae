"""A win rate that may be looked at after every vote: an interval that holds at all times at once, and a verdict.

A test planned for a fixed number of votes and looked at after each of 400 finds the better of two equals in a fifth of
all comparisons. Here one bets against every possible win rate: no betting scheme multiplies its stake by
1 / α, ever, with a probability above α, if that rate is the true one (Ville's inequality). What is still not ruled out
is the interval. Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (JRSS B 2024):
their diversified bets, each a fixed share of what may be staked, so that the order of votes changes nothing.
Who is compared, and what follows from a verdict, is others' business.
Shapes: B bets, X distinct outcomes.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from homeroom.evaluation.comparison import Interval
from homeroom.settings import Json

Verdict = Literal["better", "worse", "no better", "open"]
# Of what may be staked. The best bet on a win rate of 55 % is 0.1, on 60 % 0.2, on 75 % 0.5: all share one stake.
BETS: NDArray[np.float64] = np.geomspace(0.05, 0.6, 10)


def log_wealth(outcomes: Mapping[float, int], mean: float) -> float:
    """What a stake of 1 has become (its logarithm) that was bet on outcomes above `mean`; it only falls with `mean`."""
    value_X, count_X = np.array(list(outcomes)), np.array(list(outcomes.values()))
    return _mixed(np.log1p(np.outer(BETS, value_X / mean - 1)) @ count_X)


@dataclass
class Sequential:
    """Blind comparisons of a candidate with a champion, one vote at a time: 1 a win, 0 a loss, ½ a tie.

    "better" comes as soon as the interval's lower end is above `bar`, "worse" as soon as its upper end is below, "no
    better" at `maximum` outcomes. A verdict stays, and votes after it count no more (`late`).

    Votes on one question are no independent outcomes. The first `votes_per_question` of them make one, their mean; it
    counts when they are complete, because a mean that is looked at while it grows is a second chance. `settle` counts
    those that stayed incomplete. A vote without a question is an outcome of its own.
    """

    bar: float = 0.5
    maximum: int = 1000
    confidence: float = 0.95
    votes_per_question: int = 1
    outcomes: Counter[float] = field(default_factory=Counter, init=False)
    late: int = field(default=0, init=False)
    verdict: Verdict = field(default="open", init=False)

    def __post_init__(self) -> None:
        if not (0 < self.bar < 1 and 0 < self.confidence < 1):
            raise ValueError(f"bar and confidence lie between 0 and 1, given {self.bar} and {self.confidence}")
        if min(self.maximum, self.votes_per_question) < 1:
            raise ValueError(
                f"maximum and votes_per_question count from 1, given {self.maximum} and {self.votes_per_question}"
            )
        self._waiting: dict[str, list[float]] = {}
        self._settled: set[str] = set()
        # Logarithms of what each bet has become, against the bar from above and from below.
        self._above_B, self._below_B = np.zeros(len(BETS)), np.zeros(len(BETS))

    def add(self, outcome: float, question: str | None = None) -> Verdict:
        """Count a vote, and tell how things stand."""
        if not 0 <= outcome <= 1:
            raise ValueError(f"an outcome lies between 0 (the candidate lost) and 1 (it won), given {outcome!r}")
        if self.verdict != "open" or question in self._settled:
            self.late += 1
        elif question is None:
            self._count(outcome)
        else:
            votes = self._waiting.setdefault(question, [])
            votes.append(outcome)
            if len(votes) == self.votes_per_question:
                self._settle(question)
        return self.verdict

    def settle(self) -> Verdict:
        """Count questions that have fewer votes than they were to get, because no more will come."""
        for question in list(self._waiting):
            if self.verdict == "open":
                self._settle(question)
        return self.verdict

    @property
    def n(self) -> int:
        return self.outcomes.total()

    @property
    def interval(self) -> Interval:
        """The win rate, and where it lies with `confidence` at every moment of the comparison."""
        if not self.n:
            return Interval(self.bar, 0.0, 1.0, 0)
        mean = sum(value * count for value, count in self.outcomes.items()) / self.n
        mirrored = Counter({1 - value: count for value, count in self.outcomes.items()})
        return Interval(mean, self._lower(self.outcomes, mean), 1 - self._lower(mirrored, 1 - mean), self.n)

    def figures(self) -> dict[str, Json]:
        return {
            "verdict": self.verdict,
            "win_rate": self.interval.figures(),
            "bar": self.bar,
            "maximum": self.maximum,
            "confidence": self.confidence,
            "wins": self.outcomes[1.0],
            "ties": self.outcomes[0.5],
            "losses": self.outcomes[0.0],
            "waiting": len(self._waiting),
            "late": self.late,
        }

    @property
    def _needed(self) -> float:
        """Two stakes are bet, one to either side, so each must bring twice as much."""
        return math.log(2 / (1 - self.confidence))

    def _settle(self, question: str) -> None:
        votes = self._waiting.pop(question)
        self._settled.add(question)
        self._count(sum(votes) / len(votes))

    def _count(self, outcome: float) -> None:
        self.outcomes[float(outcome)] += 1
        self._above_B += np.log1p(BETS * (outcome / self.bar - 1))
        self._below_B += np.log1p(BETS * ((1 - outcome) / (1 - self.bar) - 1))
        if _mixed(self._above_B) >= self._needed:
            self.verdict = "better"
        elif _mixed(self._below_B) >= self._needed:
            self.verdict = "worse"
        elif self.n >= self.maximum:
            self.verdict = "no better"

    def _lower(self, outcomes: Mapping[float, int], mean: float) -> float:
        """The smallest win rate that is not ruled out: wealth falls as the rate grows, and is at most 1 at the mean."""
        low, high = 0.0, mean
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if log_wealth(outcomes, middle) >= self._needed else (low, middle)
        return low


def _mixed(log_B: NDArray[np.float64]) -> float:
    """The logarithm of the mean of what the bets have become."""
    top = float(log_B.max())
    return top + math.log(float(np.exp(log_B - top).mean()))
