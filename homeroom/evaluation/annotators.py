"""How far annotators agree: Krippendorff's α over all of them, and each person's agreement with the others.

Knows rows only. Whose votes may teach is decided in `homeroom.data.trust`; how well judges agree is no measure of how
right they are. Source: Krippendorff, Content Analysis (2019, 4th edition), chapter 12.
Shapes: U units that several persons judged, V distinct values, G groups that are resampled, R resamples.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from homeroom.evaluation.comparison import RESAMPLES, Interval, proportion_interval
from homeroom.settings import Json

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal"]
# Two answers in this order, of one question.
Unit = tuple[str, str, str]
Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True)
class Rating:
    """What a person said of an item; of several ratings of one item by one person the last in order stands."""

    person: str
    item: str
    value: float


@dataclass(frozen=True)
class RankedList:
    """A person's order of a question's answers: a smaller rank is better, equal ranks are a tie."""

    person: str
    question: str
    ranks: Mapping[str, float]  # by answer; what the person left out was not compared


@dataclass(frozen=True)
class Alpha:
    """1 is agreement, 0 what chance gives. None where it is not defined: nothing shared, or one value alone.

    `low` and `high` are the 95 % interval of a bootstrap over items (for rankings: over questions). Resamples in
    which it is not defined are left out.
    """

    alpha: float | None
    low: float | None
    high: float | None
    items: int  # judged by two persons or more
    persons: int  # who judged one of those

    def figures(self) -> dict[str, Json]:
        return asdict(self)


def alpha(ratings: Iterable[Rating], level: Level = "ordinal", seed: int = 0, resamples: int = RESAMPLES) -> Alpha:
    """Krippendorff's α; not every person has to have rated every item."""
    judged: dict[str, dict[str, float]] = defaultdict(dict)
    for rating in ratings:
        judged[rating.item][rating.person] = rating.value
    return _alpha(judged, {item: item for item in judged}, level, seed, resamples)


def ranking_alpha(rankings: Iterable[RankedList], seed: int = 0, resamples: int = RESAMPLES) -> Alpha:
    """α over pairwise preferences: which of two answers to one question is better, with a tie between the two.

    Every pair counts in both orders, so that the result does not depend on which answer is named first.
    """
    judged: dict[Unit, dict[str, float]] = defaultdict(dict)
    for ranked in _last(rankings):
        for first, second in permutations(ranked.ranks, 2):
            judged[ranked.question, first, second][ranked.person] = _preference(ranked, first, second)
    return _alpha(judged, {unit: unit[0] for unit in judged}, "ordinal", seed, resamples)


def agreement_by_person(ratings: Iterable[Rating], within: float = 0.0) -> dict[str, Interval]:
    """For everyone who shares an item: how often another person's value is the same, or at most `within` away.

    An item is one outcome, the mean over the others who rated it, and the interval is Wilson's: for outcomes between
    0 and 1 it is wider than it had to be, never narrower.
    """
    judged: dict[str, dict[str, float]] = defaultdict(dict)
    for rating in ratings:
        judged[rating.item][rating.person] = rating.value
    shared: dict[str, list[float]] = defaultdict(list)
    for values in judged.values():
        for person, mine in values.items():
            same = [abs(mine - value) <= within for other, value in values.items() if other != person]
            if same:
                shared[person].append(sum(same) / len(same))
    return _intervals(shared)


def ranking_agreement_by_person(rankings: Iterable[RankedList]) -> dict[str, Interval]:
    """The same for rankings: a question is one outcome, the share of pairs in the order that others put them in."""
    judged: dict[str, dict[str, RankedList]] = defaultdict(dict)
    for ranked in _last(rankings):
        judged[ranked.question][ranked.person] = ranked
    shared: dict[str, list[float]] = defaultdict(list)
    for lists in judged.values():
        for person, mine in lists.items():
            same = [
                _preference(mine, first, second) == _preference(other, first, second)
                for name, other in lists.items()
                if name != person
                for first, second in permutations(mine.ranks.keys() & other.ranks.keys(), 2)
            ]
            if same:
                shared[person].append(sum(same) / len(same))
    return _intervals(shared)


def _last(rankings: Iterable[RankedList]) -> Iterable[RankedList]:
    return {(ranked.person, ranked.question): ranked for ranked in rankings}.values()


def _preference(ranked: RankedList, first: str, second: str) -> float:
    return float(np.sign(ranked.ranks[second] - ranked.ranks[first]))


def _intervals(shared: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    return {person: proportion_interval(sum(shares), len(shares)) for person, shares in sorted(shared.items())}


def _alpha(
    judged: Mapping[Item, Mapping[str, float]], groups: Mapping[Item, str], level: Level, seed: int, resamples: int
) -> Alpha:
    shared = {item: values for item, values in judged.items() if len(values) > 1}
    persons = {person for values in shared.values() for person in values}
    names, group_U = np.unique([groups[item] for item in shared], return_inverse=True)
    domain = sorted({value for values in shared.values() for value in values.values()})
    if len(domain) < 2:
        return Alpha(None, None, None, len(names), len(persons))
    position = {value: index for index, value in enumerate(domain)}
    count_UV = np.zeros((len(shared), len(domain)))
    for row, values in zip(count_UV, shared.values(), strict=True):
        np.add.at(row, [position[value] for value in values.values()], 1)
    # Each value of a unit is paired with its m − 1 others, and a pair weighs 1 / (m − 1).
    pairs_UVV = count_UV[:, :, None] * count_UV[:, None, :] - np.eye(len(domain)) * count_UV[:, :, None]
    pairs_UVV /= (count_UV.sum(axis=1) - 1)[:, None, None]
    pairs_GVV = np.zeros((len(names), len(domain), len(domain)))
    np.add.at(pairs_GVV, group_U, pairs_UVV)
    whole = _of_coincidences(pairs_GVV.sum(axis=0)[None], level)[0]
    drawn_RG = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    found_R = _of_coincidences(np.tensordot(drawn_RG, pairs_GVV, axes=1), level)
    low, high = np.nanquantile(found_R, (0.025, 0.975)) if np.isfinite(found_R).any() else (whole, whole)
    return Alpha(float(whole), float(min(low, whole)), float(max(high, whole)), len(names), len(persons))


def _of_coincidences(pairs_RVV: Floats, level: Level) -> Floats:
    """1 − observed / expected disagreement of each coincidence matrix; NaN where nothing varies."""
    count_RV = pairs_RVV.sum(axis=2)
    if level == "nominal":
        distance_RVV = np.broadcast_to(1 - np.eye(count_RV.shape[1]), pairs_RVV.shape)
    else:
        # Ranks apart: how many values lie between two, half of those at either end (section 12.3.3).
        middle_RV = np.cumsum(count_RV, axis=1) - count_RV / 2
        distance_RVV = (middle_RV[:, :, None] - middle_RV[:, None, :]) ** 2
    total_R = count_RV.sum(axis=1)
    observed_R = (pairs_RVV * distance_RVV).sum(axis=(1, 2))
    expected_R = (count_RV[:, :, None] * count_RV[:, None, :] * distance_RVV).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected_R > 0, 1 - (total_R - 1) * observed_R / expected_R, np.nan)
