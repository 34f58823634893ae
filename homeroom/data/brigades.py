"""Brigades: several accounts with little other history that vote together, in a short time, against the rest.

Two signs, each tested exactly and corrected for how often one looks:
- they say the opposite of what everyone else says of the same answers: bets against each of them being honest, of
  which an honest crowd loses almost all (e-values: Vovk and Wang, Annals of Statistics 2021);
- they vote in one direction only (of a model, or at all), and many more of them do than accounts elsewhere.
An honest minority of another taste that arrives together is no different in the
votes; that is why an operator may restore what was set aside. Accounts that act alone, spread over days or in the
majority are not found here.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from homeroom.data.crowd import CastVote, Crowd, Floats
from homeroom.settings import Frozen, Json, Probability

# What is bet on: how large a share of the newcomers are in the brigade, and how often its members agree with the truth.
SHARES = (0.05, 0.15, 0.4)
AGREEING = (0.05, 0.2, 0.4)


class BrigadeSettings(Frozen):
    """When accounts that came together are taken for a brigade."""

    accounts: PositiveInt = Field(3, description="fewer are no brigade")
    burst_seconds: PositiveFloat = Field(6 * 3600.0, description="how short a time they vote in")
    history: Probability = Field(0.2, description="the most of an account's votes that may lie outside of that time")
    first_votes: PositiveInt = Field(5, description="how many votes of an account tell whether it knows one direction")
    honest: Probability = Field(0.65, description="an honest voter is right about an answer at least as often")
    false_alarms: Probability = Field(0.01, description="how often an honest crowd may be accused")


@dataclass(frozen=True)
class Brigade:
    """Who, by which sign, when, and how likely chance alone makes an honest crowd look like this."""

    members: tuple[str, ...]
    sign: Literal["against the rest", "one direction"]
    start: float
    end: float
    by_chance: float
    model: str | None = None  # that the one direction is about; None for all of them

    def figures(self) -> dict[str, Json]:
        return {**asdict(self), "members": list(self.members)}


def find_brigades(votes: Sequence[CastVote], crowd: Crowd | None, settings: BrigadeSettings) -> list[Brigade]:
    """The most certain first; an account is in one brigade at most."""
    cores = newcomers(votes, settings)
    against = {} if crowd is None else against_the_rest(crowd, settings.honest)
    directions = _directions(votes, settings.first_votes)
    found: list[Brigade] = []
    while best := _best(cores, against, directions, settings):
        found.append(best)
        members = set(best.members)
        cores = {person: core for person, core in cores.items() if person not in members}
        directions = {
            model: {person: side for person, side in sides.items() if person not in members}
            for model, sides in directions.items()
        }
    return found


def newcomers(votes: Sequence[CastVote], settings: BrigadeSettings) -> dict[str, tuple[float, float]]:
    """Accounts that voted in one short time and hardly ever else, with that time."""
    times: dict[str, list[float]] = defaultdict(list)
    for vote in votes:
        times[vote.person].append(vote.at)
    found = {}
    for person, moments in times.items():
        moments.sort()
        needed = max(1, math.ceil((1 - settings.history) * len(moments) - 1e-9))
        length, at = min((moments[i + needed - 1] - moments[i], i) for i in range(len(moments) - needed + 1))
        if length <= settings.burst_seconds:
            found[person] = (moments[at], moments[at] + length)
    return found


def against_the_rest(crowd: Crowd, honest: float) -> dict[str, list[float]]:
    """How much likelier a person's votes are from someone of each AGREEING than from an honest voter (logarithms).

    What an answer is, is known from the votes of the others alone, and as surely as they agree.
    """
    good_N = crowd.others()
    true_N = np.where(crowd.ups > 0, good_N, 1 - good_N)  # how likely each vote was right

    def likelihood(agreeing: float) -> Floats:
        return np.log(true_N * agreeing + (1 - true_N) * (1 - agreeing))

    gains = [
        np.bincount(crowd.persons, likelihood(agreeing) - likelihood(honest), len(crowd.names)) for agreeing in AGREEING
    ]
    gain_PA = np.stack(gains, axis=1)
    # Only who likes what the others like less: where the fit calls nearly all answers good (or bad), whoever sees
    # differences between them is as often against the others as a liar. Lost bets change no promise.
    together_N = (crowd.ups - crowd.ups.mean()) * (good_N - good_N.mean())
    gain_PA[np.bincount(crowd.persons, together_N) >= 0] = -np.inf
    return dict(zip(crowd.names, gain_PA.tolist(), strict=True))


def bet(gains: Sequence[Sequence[float]]) -> tuple[float, list[int]]:
    """What a stake of 1 on a brigade among these persons brings (its logarithm), and whom the best bet accuses.

    Each bet is the product over persons of (1 − share) + share · likelihood ratio. Its mean is at most 1 where all are
    honest, and so is the mean of all bets: it is above 1 / p with a probability of p at most (Markov).
    """
    gain_PA = np.array(gains)
    wealth = []
    for share in SHARES:
        for number in range(len(AGREEING)):
            brings_P = np.logaddexp(math.log1p(-share), math.log(share) + gain_PA[:, number])
            accused = np.flatnonzero(math.log(share) + gain_PA[:, number] > math.log1p(-share))
            wealth.append((float(brings_P.sum()), accused.tolist()))
    mean = float(np.logaddexp.reduce([one for one, _ in wealth])) - math.log(len(wealth))
    return mean, max(wealth, key=lambda one: one[0])[1]


def hypergeometric_tail(drawn: int, marked: int, total: int, at_least: int) -> float:
    """How likely at least so many of `drawn` out of `total` are among the `marked` (Fisher's exact test)."""
    ways = sum(
        math.comb(marked, k) * math.comb(total - marked, drawn - k)
        for k in range(max(at_least, 0), min(drawn, marked) + 1)
    )
    return ways / math.comb(total, drawn)


def _best(
    cores: Mapping[str, tuple[float, float]],
    against: Mapping[str, Sequence[float]],
    directions: Mapping[str | None, Mapping[str, int]],
    settings: BrigadeSettings,
) -> Brigade | None:
    """The brigade that chance explains least; None where chance explains all of them."""
    groups: dict[tuple[str, ...], float] = {}
    for start, _ in sorted(set(cores.values())):
        end = start + settings.burst_seconds
        together = tuple(sorted(person for person, (a, b) in cores.items() if a >= start and b <= end))
        if len(together) >= settings.accounts:
            groups.setdefault(together, start)
    found: list[Brigade] = []
    # Each sign may cry wolf half of the time that is allowed.
    allowed = settings.false_alarms / 2 / max(1, len(groups))
    for together, start in groups.items():
        end = max(cores[person][1] for person in together)
        asked = [person for person in together if person in against]
        if len(asked) >= settings.accounts:
            brings, accused = bet([against[person] for person in asked])
            chance = math.exp(-max(brings, 0.0))
            if chance <= allowed and len(accused) >= settings.accounts:
                members = tuple(asked[index] for index in accused)
                found.append(Brigade(members, "against the rest", start, end, chance * len(groups)))
        for model, sides in directions.items():
            voted = [person for person in together if person in sides]
            for side in (-1, 1):
                members = tuple(person for person in voted if sides[person] == side)
                marked = sum(other == side for other in sides.values())
                if len(members) >= settings.accounts and len(voted) < len(sides):
                    chance = 2 * len(directions) * hypergeometric_tail(len(voted), marked, len(sides), len(members))
                    if chance <= allowed:
                        found.append(Brigade(members, "one direction", start, end, chance * len(groups), model))
    # Of equally certain ones the largest: a tail that is 0 in floating point is no order.
    return min(found, key=lambda one: (one.by_chance, -len(one.members), one.members), default=None)


def _directions(votes: Sequence[CastVote], first: int) -> dict[str | None, dict[str, int]]:
    """By model, and for all: 1 or −1 for a person whose first votes all went one way, else 0.

    As many votes of everyone, because two votes are easily alike and fifty hardly ever; who cast fewer is not asked.
    """
    cast: dict[str | None, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    models = {vote.model for vote in votes}
    for vote in sorted(votes, key=lambda vote: vote.at):
        if vote.value:
            for model in (None, vote.model) if len(models) > 1 else (None,):
                cast[model][vote.person].append(vote.value)
    return {
        model: {
            person: values[0] if len(set(values[:first])) == 1 else 0
            for person, values in by_person.items()
            if len(values) >= first
        }
        for model, by_person in cast.items()
    }
