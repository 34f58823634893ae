"""What a reward model must show beyond accuracy before it is trained against: calibration, and no love of length.

The figures that `qualification.py` puts beside accuracy, each with an interval, and the lines that a model passes or
fails. Accuracy hides both faults, and PPO finds them: a model that is sure of what it gets wrong, and one that has
learned that longer is better.
Shapes: N pairs or answers, G questions, R resamples, K bins.
"""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from homeroom.evaluation.comparison import RESAMPLES, Interval
from homeroom.evaluation.gate import Line
from homeroom.settings import Frozen, Json, Probability

Floats = NDArray[np.float64]
BINS = 10


class RewardBar(Frozen):
    """What a reward model must show on questions that it never saw."""

    accuracy: Probability = Field(0.75, description="of pairs at least so many in the right order")
    calibration_error: Probability = Field(0.15, description="of P(better) = σ(difference of scores), at most; 1: any")
    length_bias: Probability = Field(
        # Less that of merit: better answers may well be longer.
        0.3,
        description="Spearman's correlation of score with length, less that of merit, at most; 1: any",
    )
    longer_is_worse: Probability = Field(
        # Below one half, length decides and not what is said.
        0.5,
        description="accuracy on pairs whose longer answer is the worse, at least; 0: any",
    )
    pairs: PositiveInt = Field(20, description="fewer of those pairs say nothing")


def pair_figures(
    margins: Sequence[float],
    longer_by: Sequence[float],
    questions: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Json]:
    """Of pairs (better, worse): calibration in two figures, and accuracy by which of the two is the longer.

    `margins` are score differences, better − worse; `longer_by` is the better answer's length minus the worse one's.
    Questions are resampled.
    """
    margin_N, longer_N = np.asarray(margins, dtype=float), np.asarray(longer_by, dtype=float)
    drawn_RG, group_N = _resampled(questions, seed, resamples)
    right_N = (margin_N > 0).astype(float)
    # Both orders of a pair are one error: (σ(m) − 1)² = (σ(−m) − 0)².
    brier = _ratio(np.square(1 - _sigmoid(margin_N)), np.ones(len(margin_N)), group_N, drawn_RG)
    figures: dict[str, Json] = {
        "brier": None if brier is None else brier.figures(),
        "calibration_error_interval": _calibration_error(margin_N, group_N, drawn_RG).figures(),
    }
    for name, chosen_N in (("longer_is_worse", longer_N < 0), ("longer_is_better", longer_N > 0)):
        found = _ratio(right_N, chosen_N.astype(float), group_N, drawn_RG)
        figures[f"accuracy_{name}"] = None if found is None else found.figures()
    return figures


def length_bias(
    scores: Sequence[float],
    merits: Sequence[float],
    lengths: Sequence[float],
    questions: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Json]:
    """Spearman's correlation with length, over all answers: the score's, and by how much it exceeds that of merit.

    A better answer has more merit; what it is counted in does not matter. Ranks stay as they are in resamples.
    """
    drawn_RG, group_N = _resampled(questions, seed, resamples)
    length_N = ranks(lengths)
    (score, score_R), (merit, merit_R) = (
        _correlation(ranks(values), length_N, group_N, drawn_RG) for values in (scores, merits)
    )
    return {
        "score_length_rank_correlation": _interval(score, score_R, len(length_N)).figures(),
        "length_bias": _interval(score - merit, score_R - merit_R, len(length_N)).figures(),
    }


def reward_lines(figures: Mapping[str, Json], bar: RewardBar) -> tuple[Line, ...]:
    """Each demand and what `qualify` measured. A figure that cannot be had (too few pairs) refuses nothing."""
    accuracy = dict(cast(Mapping[str, float], figures["accuracy"]))
    error = cast(Mapping[str, float], figures["calibration_error_interval"])
    bias = cast(Mapping[str, float], figures["length_bias"])
    worse = cast("Mapping[str, float] | None", figures["accuracy_longer_is_worse"])
    lines = [
        Line(
            "accuracy on pairs of unseen questions",
            f"at least {bar.accuracy:g}",
            _shown(accuracy | {"mean": math.floor(1000 * accuracy["mean"]) / 1000}),  # 0.7499 is not to read as 0.75
            accuracy["mean"] >= bar.accuracy,
        ),
        # Its interval's lower end: the error of few pairs is never 0, however well calibrated the model is.
        Line(
            "calibration error",
            f"95 % interval reaches {bar.calibration_error:g} or less",
            _shown(error),
            error["low"] <= bar.calibration_error,
        ),
        Line(
            "rank correlation with length, of the score less that of merit",
            f"95 % interval reaches between −{bar.length_bias:g} and {bar.length_bias:g}",
            _shown(bias),
            bias["low"] <= bar.length_bias and bias["high"] >= -bar.length_bias,
        ),
    ]
    if worse is not None and worse["n"] >= bar.pairs:
        lines.append(
            Line(
                "accuracy on pairs whose longer answer is the worse",
                f"95 % interval reaches {bar.longer_is_worse:g} or more",
                _shown(worse),
                worse["high"] >= bar.longer_is_worse,
            )
        )
    return tuple(lines)


def calibration(margins: Sequence[float] | Floats) -> list[dict[str, float]]:
    """What P(a above b) = σ(score a − score b) promises against what holds, over both orders of every pair."""
    bins_NK = _bins(np.asarray(margins, dtype=float))
    rows = bins_NK.sum(axis=0)
    return [{"predicted": p / n, "observed": o / n, "n": n} for n, p, o in rows.T.tolist() if n]


def ranks(values: Sequence[float]) -> Floats:
    """From 1; equal values share the mean of their ranks."""
    _, position_N, count_K = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    last_K = np.cumsum(count_K)
    shared: Floats = (last_K - (count_K - 1) / 2)[position_N]
    return shared


def _shown(figure: Mapping[str, float]) -> str:
    return f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _sigmoid(margin_N: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-margin_N.clip(-30, 30)))
    return found


def _bins(margin_N: Floats) -> Floats:
    """Of each pair: how many of its two orders lie in each bin, what they promise together, how many of them hold."""
    found_NRK = np.zeros((len(margin_N), 3, BINS))
    for sign, holds in ((1, 1.0), (-1, 0.0)):
        predicted_N = _sigmoid(sign * margin_N)
        bin_N = np.minimum((predicted_N * BINS).astype(int), BINS - 1)
        for row, value_N in enumerate((np.ones(len(margin_N)), predicted_N, np.full(len(margin_N), holds))):
            found_NRK[np.arange(len(margin_N)), row, bin_N] += value_N
    return found_NRK


def _calibration_error(margin_N: Floats, group_N: NDArray[np.int64], drawn_RG: NDArray[np.int64]) -> Interval:
    bins_GRK = np.zeros((drawn_RG.shape[1], 3, BINS))
    np.add.at(bins_GRK, group_N, _bins(margin_N))

    def error(bins: Floats) -> Floats:
        gaps: Floats = np.abs(bins[:, 1] - bins[:, 2]).sum(axis=1) / bins[:, 0].sum(axis=1)
        return gaps

    return _interval(
        float(error(bins_GRK.sum(axis=0)[None])[0]), error(np.tensordot(drawn_RG, bins_GRK, axes=1)), len(margin_N)
    )


def _resampled(questions: Sequence[str], seed: int, resamples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each resample holds each question, and each item's question."""
    names, group_N = np.unique(np.asarray(questions), return_inverse=True)
    share = np.full(len(names), 1 / len(names))
    return np.random.default_rng(seed).multinomial(len(names), share, size=resamples), group_N


def _ratio(
    value_N: Floats, chosen_N: Floats, group_N: NDArray[np.int64], drawn_RG: NDArray[np.int64]
) -> Interval | None:
    """The mean of the chosen items; None where there is none."""
    if not chosen_N.any():
        return None
    groups = drawn_RG.shape[1]
    above_G = np.bincount(group_N, value_N * chosen_N, minlength=groups)
    below_G = np.bincount(group_N, chosen_N, minlength=groups)
    below_R = drawn_RG @ below_G
    with np.errstate(invalid="ignore"):
        found_R = (drawn_RG @ above_G) / below_R
    return _interval(float(above_G.sum() / below_G.sum()), found_R[below_R > 0], int(chosen_N.sum()))


def _correlation(
    x_N: Floats, y_N: Floats, group_N: NDArray[np.int64], drawn_RG: NDArray[np.int64]
) -> tuple[float, Floats]:
    """Pearson's, of all items and of each resample; 0 where one of the two does not vary."""
    moments_NM = np.stack([np.ones(len(x_N)), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)
    moments_GM = np.zeros((drawn_RG.shape[1], 6))
    np.add.at(moments_GM, group_N, moments_NM)
    n, x, y, xx, yy, xy = np.concatenate([moments_GM.sum(axis=0)[None], drawn_RG @ moments_GM]).T
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(spread > 1e-9 * n * n, (n * xy - x * y) / spread, 0.0).clip(-1, 1)
    return float(found[0]), found[1:]


def _interval(mean: float, found_R: Floats, n: int) -> Interval:
    low, high = np.quantile(found_R, (0.025, 0.975)) if len(found_R) else (mean, mean)
    return Interval(mean, min(float(low), mean), max(float(high), mean), n)
