"""Is a reward model fit to be trained against? Accuracy, calibration and length bias on questions it never saw.

The statistics of the last two, and the demands on them, are in `reward_guard.py`. What follows from them is a stage's
business.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from homeroom.data.rankings import RankedRows, as_rows
from homeroom.evaluation.comparison import mean_interval
from homeroom.evaluation.reward_guard import calibration, length_bias, pair_figures
from homeroom.models.heads import RewardModel
from homeroom.settings import Json
from homeroom.tasks.rankings import Ranking
from homeroom.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ScoredAnswer:
    """One answer of a ranking with the model's score; `length` in tokens."""

    question_id: str
    tier: int
    kind: str
    length: int
    score: float


def score_rankings(model: RewardModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> list[ScoredAnswer]:
    """Every answer's score, of rankings that no model was trained on."""
    rows = [as_rows(ranking, tokenizer, model.config.max_length) for ranking in rankings]
    scores = iter(model.score([row for ranked in rows for row in ranked.rows]).tolist())
    return [
        ScoredAnswer(ranking.question.id, answer.tier, answer.kind, len(row), next(scores))
        for ranking, ranked in zip(rankings, rows, strict=True)
        for answer, row in zip(ranking.answers, ranked.rows, strict=True)
    ]


def qualify(answers: Sequence[ScoredAnswer]) -> dict[str, Json]:
    """The figures of a reward model on pairs (better, worse) of the same question.

    Each pair counts; the interval resamples questions, because pairs of one question are not independent. By kind only
    right answers stand above: a pair of two worse ones belongs to two kinds.
    """
    questions: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for answer in answers:
        questions[answer.question_id].append(answer)
    margins: list[float] = []
    longer_by: list[float] = []
    clusters: list[str] = []
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for name, ranked in questions.items():
        for better in ranked:
            for worse in ranked:
                if better.tier < worse.tier:
                    margins.append(better.score - worse.score)
                    longer_by.append(better.length - worse.length)
                    clusters.append(name)
                    if better.tier == 0:
                        by_kind[worse.kind].append(better.score > worse.score)
    if not margins:
        raise ValueError("no pair of answers to qualify a reward model on")
    correct = [float(margin > 0) for margin in margins]
    scores = np.array([answer.score for answer in answers])
    lengths = np.array([answer.length for answer in answers], dtype=float)
    bins = calibration(margins)
    error = sum(abs(row["predicted"] - row["observed"]) * row["n"] for row in bins) / (2 * len(margins))
    return {
        "accuracy": mean_interval(correct, 0, clusters).figures(),
        "pairs": len(margins),
        "accuracy_by_kind": {kind: float(np.mean(values)) for kind, values in sorted(by_kind.items())},
        "calibration": [dict(row) for row in bins],
        "calibration_error": error,
        "score_length_correlation": _correlation(scores, lengths),
        **pair_figures(margins, longer_by, clusters),
        **length_bias(
            scores.tolist(),
            [-answer.tier for answer in answers],
            lengths.tolist(),
            [answer.question_id for answer in answers],
        ),
        "scatter": [{"length": a.length, "score": round(a.score, 3)} for a in answers[:300]],
    }


def score_scale(model: RewardModel, rankings: Sequence[RankedRows]) -> dict[str, Json]:
    """Mean of the right answers' scores and deviation of all scores.

    Rewards are told in deviations from a right answer's mean: what a model learns is an order, and its scale chance.
    """
    scores = model.score([row for ranked in rankings for row in ranked.rows])
    right = torch.tensor([tier == 0 for ranked in rankings for tier in ranked.tiers])
    return {"score_mean": float(scores[right].mean()), "score_deviation": float(scores.std())}


def _correlation(
    a: "np.ndarray[tuple[int], np.dtype[np.float64]]", b: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
