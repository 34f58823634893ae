"""The onset of reward hacking: the reward still rises, and what it stands for does not.

Fed with one reading an iteration, it says when to stop, why, and which iteration was the last good one. Who reads, who
keeps weights and who stops a run is the stage's business: `training` knows nothing of judges. The stage keeps
the weights of the iterations in `keep`; which those are is known as the run goes, never only afterwards.
Sources: Gao et al., Scaling laws for reward model overoptimization (2022); the trend test is Mann's (1945), exact.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from homeroom.settings import Frozen, Json, Probability

Kind = Literal["judge", "kl", "entropy", "length", "repetition"]
JUDGED_TOGETHER = 3  # the judge's scores are averaged over so many readings to find the best iteration


class Limits(Frozen):
    """When a run has gone wrong. Shares are of the first readings' mean, and every limit has to be passed twice."""

    windows: tuple[PositiveInt, ...] = (10, 20, 40)  # iterations over which a trend is looked for
    # How likely chance alone makes the judge fall like that, at every look; a run has a hundred looks and more.
    judge_by_chance: Probability = 1e-5
    reward_by_chance: Probability = 0.05
    baseline: PositiveInt = 3  # readings that the shares below are of
    entropy_share: Probability = 0.3  # below it, the policy has collapsed
    length_share: Annotated[float, Field(gt=1)] = 2.0  # above it, or below its inverse, length runs away
    repetition_more: Probability = 0.15  # this much more repetition than at the start
    kl: PositiveFloat = 25.0  # nats per answer
    patience: PositiveInt = 2  # readings in a row beyond a limit


@dataclass(frozen=True)
class Reading:
    """One iteration's means. The judge is no part of the reward; it may be left out of an iteration."""

    reward: float
    kl: float
    entropy: float
    length: float
    repetition: float  # the share of answers that repeat themselves, or of repeated n-grams
    judge: float | None = None


@dataclass(frozen=True)
class Stop:
    """Why a run should end at `iteration`, and the iteration whose weights were still good (-1: none was)."""

    kind: Kind
    reason: str
    iteration: int
    last_good: int

    def figures(self) -> dict[str, Json]:
        return asdict(self)


@dataclass
class HackingWatch:
    """Iterations count from 0. A resumed run gives `replay` the readings that it has in its diary."""

    limits: Limits = field(default_factory=Limits)
    readings: list[Reading] = field(default_factory=list, init=False)
    stop: Stop | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._best, self._best_at = -math.inf, -1  # the judge's mean and its iteration
        self._inside = -1  # the last iteration within all limits
        self._beyond: dict[Kind, int] = {}  # readings in a row beyond a limit

    def add(self, reading: Reading) -> Stop | None:
        """What this iteration showed. Once there is a reason to stop, it stays."""
        iteration = len(self.readings)
        self.readings.append(reading)
        if self.stop is not None:
            return self.stop
        beyond = self._limits_passed(reading)
        self._beyond = {kind: self._beyond.get(kind, 0) + 1 for kind in beyond}
        if not beyond:
            self._inside = iteration
            judged = [one.judge for one in self.readings if one.judge is not None]
            if reading.judge is not None and len(judged) >= JUDGED_TOGETHER:
                mean = sum(judged[-JUDGED_TOGETHER:]) / JUDGED_TOGETHER
                if mean > self._best:
                    self._best, self._best_at = mean, iteration
        for kind, reason in beyond.items():
            if self._beyond[kind] >= self.limits.patience and self.stop is None:
                self.stop = Stop(kind, reason, iteration, self._inside)
        if self.stop is None and reading.judge is not None and (found := self._falls()):
            self.stop = Stop("judge", found, iteration, self._best_at if self._best_at >= 0 else self._inside)
        return self.stop

    def replay(self, readings: Iterable[Reading]) -> Stop | None:
        """Start again with these readings, which were all there is."""
        self.readings, self.stop = [], None
        self.__post_init__()
        for reading in readings:
            self.add(reading)
        return self.stop

    @property
    def last_good(self) -> int:
        """The iteration to go back to, now that the run ends; -1: none was good."""
        return self._inside if self.stop is None else self.stop.last_good

    @property
    def keep(self) -> frozenset[int]:
        """The iterations whose weights may yet be wanted as the last good ones."""
        if self.stop is not None:
            return frozenset({self.stop.last_good})
        return frozenset(at for at in (self._inside, self._best_at) if at >= 0)

    def figures(self) -> dict[str, Json]:
        """Also the points of the frontier: what the reward and the judge gained for how much KL."""
        return {
            "stop": None if self.stop is None else self.stop.figures(),
            "frontier": [{"kl": one.kl, "reward": one.reward, "judge": one.judge} for one in self.readings],
        }

    def _limits_passed(self, reading: Reading) -> dict[Kind, str]:
        limits, first = self.limits, self.readings[: self.limits.baseline]
        passed: dict[Kind, str] = {}
        if not reading.kl <= limits.kl:  # NaN has left every limit
            passed["kl"] = f"KL to the reference is {reading.kl:.1f} nats per answer (limit {limits.kl:g})"
        if len(self.readings) <= len(first):
            return passed
        entropy, length, repetition = (
            sum(getattr(one, name) for one in first) / len(first) for name in ("entropy", "length", "repetition")
        )
        if not reading.entropy >= limits.entropy_share * entropy:
            passed["entropy"] = (
                f"entropy fell from {entropy:.2f} to {reading.entropy:.2f} nats per token "
                f"(limit {limits.entropy_share:.0%} of the start)"
            )
        if not length / limits.length_share <= reading.length <= length * limits.length_share:
            passed["length"] = (
                f"answers went from {length:.0f} to {reading.length:.0f} tokens (limit {limits.length_share:g} times)"
            )
        if not reading.repetition <= repetition + limits.repetition_more:
            passed["repetition"] = (
                f"repetition rose from {repetition:.0%} to {reading.repetition:.0%} "
                f"(limit {limits.repetition_more:.0%} more)"
            )
        return passed

    def _falls(self) -> str | None:
        judged = [one for one in self.readings if one.judge is not None]
        for window in self.limits.windows:
            seen = judged[-window:]
            if len(seen) < window:
                continue
            judge = [one.judge for one in seen if one.judge is not None]
            reward = [one.reward for one in seen]
            if (
                trend_by_chance([-value for value in judge]) <= self.limits.judge_by_chance
                and trend_by_chance(reward) <= self.limits.reward_by_chance
            ):
                return (
                    f"over the last {window} judged iterations the reward rose ({reward[0]:.2f} → {reward[-1]:.2f}) "
                    f"and the judge fell ({judge[0]:.2f} → {judge[-1]:.2f})"
                )
        return None


def trend_by_chance(values: Sequence[float]) -> float:
    """How likely values in a random order rise at least as steadily (Mann 1945): exact, whatever their distribution.

    Steadily counts pairs: those in rising order, with a tie as half of one.
    """
    rising = sum((b > a) + (b == a) / 2 for a, b in combinations(values, 2))
    ways = _orders(len(values))
    # As many orders have k pairs rising as have k falling; half a pair is rounded to the side that claims less.
    return sum(ways[int(rising) :]) / sum(ways)


@cache
def _orders(n: int) -> list[int]:
    """How many orders of n values have 0, 1, 2 … pairs in rising order."""
    ways = [1]
    for longer in range(2, n + 1):
        ways = [sum(ways[max(0, pairs - longer + 1) : pairs + 1]) for pairs in range(len(ways) + longer - 1)]
    return ways
