"""Statistics of a comparison: how large a difference is, and how sure one may be of it.

Knows numbers only. What is compared (judge scores, chrF, manners) comes from `judging.py`; what follows from
it is decided in `gate.py`. Several questions about one document are not independent, so the bootstrap draws
whole documents where `groups` names them (the cluster bootstrap: Davison and Hinkley 1997, section 3.8).
Shapes: N items, G groups, R resamples.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from homeroom.settings import Json

Numbers = Sequence[float] | NDArray[np.float64]
RESAMPLES = 2000
BY_CHANCE = 0.025  # to either side of a 95 % interval
# One answer scored in two batches differs by float32's rounding, about 1e-6: its sign would be a coin's.
TIE = 1e-4


@dataclass(frozen=True)
class Interval:
    """A mean of `n` items with the 95 % interval around it: where several looks were taken, of all of them at once."""

    mean: float
    low: float
    high: float
    n: int

    def figures(self) -> dict[str, Json]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def win_rate(
    scores_a: Numbers,
    scores_b: Numbers,
    seed: int,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    by_chance: float = BY_CHANCE,
) -> Interval:
    """How often A's answer beats B's on the same question, one within TIE counted half. Questions are resampled."""
    a_N, b_N = _finite(scores_a), _finite(scores_b)
    if len(a_N) != len(b_N):
        raise ValueError(f"a paired comparison needs as many scores of A as of B, given {len(a_N)} and {len(b_N)}")
    margin_N = a_N - b_N
    won_N = np.where(np.abs(margin_N) < TIE, 0.0, np.sign(margin_N))
    return mean_interval((won_N + 1) / 2, seed, groups, resamples, by_chance)


def mean_interval(
    values: Numbers,
    seed: int,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    by_chance: float = BY_CHANCE,
) -> Interval:
    """The mean and its percentile bootstrap interval; `by_chance` is what lies to either side of it.

    The rarer that is, the more resamples are drawn, so that its quantile stands on as many.
    """
    values_N = _finite(values)
    if groups is not None and len(groups) != len(values_N):
        raise ValueError(f"{len(values_N)} values need as many groups, given {len(groups)}")
    names = range(len(values_N)) if groups is None else groups
    group_N = np.unique(np.asarray(names), return_inverse=True)[1]
    sums_G, sizes_G = np.bincount(group_N, values_N), np.bincount(group_N)
    # How often each group is drawn is multinomial: the counts are all a mean needs, so no (R, N) table of
    # indices; and never more than RESAMPLES rows of counts at once.
    count, random = len(sums_G), np.random.default_rng(seed)
    resamples = math.ceil(resamples * max(1.0, BY_CHANCE / by_chance))
    means = []
    for first in range(0, resamples, RESAMPLES):
        rows = min(RESAMPLES, resamples - first)
        drawn_RG = random.multinomial(count, np.full(count, 1 / count), size=rows)
        means.append((drawn_RG @ sums_G) / (drawn_RG @ sizes_G))
    means_R = np.concatenate(means)
    low, high = np.quantile(means_R, (by_chance, 1 - by_chance))
    mean = float(values_N.mean())
    # Rounding alone may put the quantile of constant values a hair beyond their mean.
    return Interval(mean, min(float(low), mean), max(float(high), mean), len(values_N))


def proportion_interval(successes: float, n: int) -> Interval:
    """A share with Wilson's interval (1927): honest near 0 and 1, where a bootstrap has width zero.

    Outcomes may be shares themselves: they vary less than yes and no with the same mean, so the interval holds.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"a share needs 0 <= successes <= n and n > 0, given {successes} of {n}")
    z = 1.959963984540054
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)), n)


def sign_test(more: int, fewer: int) -> float:
    """How likely chance alone puts at least `more` of `more + fewer` differences on the one side: exact, one-sided.

    For paired yes-or-no outcomes, of which only those that differ say anything (McNemar 1947).
    """
    if min(more, fewer) < 0:
        raise ValueError(f"differences are counted from 0, given {more} and {fewer}")
    total = more + fewer
    # Integers to the end: a float would underflow at a thousand differences.
    outcomes: int = sum(math.comb(total, k) for k in range(more, total + 1))
    return float(outcomes / 2**total)


def proportion(outcomes: Sequence[bool]) -> Interval:
    return proportion_interval(sum(outcomes), len(outcomes))


def _finite(values: Numbers) -> NDArray[np.float64]:
    values_N = np.asarray(values, dtype=np.float64)
    if values_N.ndim != 1 or len(values_N) == 0:
        raise ValueError("a comparison needs at least one score, in one row")
    if not np.isfinite(values_N).all():
        raise ValueError(f"{int((~np.isfinite(values_N)).sum())} of {len(values_N)} scores are not finite")
    return values_N
