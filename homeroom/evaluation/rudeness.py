"""A small classifier of rude text, and how far it may be trusted: on insults that it has met, and on others.

It learns from constructed rankings, whose rude answers are right ones with an insult before or after, so that it knows
their few insults and what surrounds them. `check` says what that is worth. Which answers are rude by word lists is for
`homeroom.tasks.manners`.
Shapes: N texts, R runs of all of them one behind the other, F buckets that runs fall into.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from homeroom.evaluation.comparison import proportion
from homeroom.settings import Json
from homeroom.tasks.base import units
from homeroom.tasks.rankings import INSULTS, TIERS, Ranking

BUCKETS = 2**16
LONGEST = 3  # units: Han characters or words
_STEPS, _SHRINK = 200, 1e-3


@dataclass(frozen=True)
class Labelled:
    text: str
    rude: bool


def labelled(rankings: Iterable[Ranking]) -> list[Labelled]:
    """Each answer, and whether it is one of the rude ones: those that the model itself gave among them."""
    return [Labelled(answer.text, answer.tier == TIERS["rude"]) for ranking in rankings for answer in ranking.answers]


class RudeClassifier:
    """Logistic regression on which runs of one to three units a text holds."""

    def __init__(self, texts: Sequence[Labelled]) -> None:
        rude_N = torch.tensor([float(one.rude) for one in texts])
        if not 0 < float(rude_N.sum()) < len(texts):
            raise ValueError("a classifier of rude text needs texts that are rude and texts that are not")
        runs = _Runs.of([one.text for one in texts])
        self._weight_F1, self._bias = torch.zeros(BUCKETS, 1), torch.zeros(())
        # Both kinds weigh the same, however rare insults are.
        share_N = torch.where(rude_N > 0, 0.5 / rude_N.sum(), 0.5 / (1 - rude_N).sum())
        text_R = torch.repeat_interleave(torch.arange(len(texts)), runs.count_N)
        # Plain gradient steps with momentum (Nesterov 1983), as large as the curvature allows. Adam moves what one text
        # alone holds as fast as what many do, and so learns texts by heart.
        rate = 4 / (float(runs.count_N.max()) + 1)
        before_F1, bias_before = self._weight_F1, self._bias
        for step in range(_STEPS):
            ahead = step / (step + 3)
            here_F1 = self._weight_F1 + ahead * (self._weight_F1 - before_F1)
            bias_here = self._bias + ahead * (self._bias - bias_before)
            before_F1, bias_before = self._weight_F1, self._bias
            slope_N = share_N * (torch.sigmoid(_logits(runs, here_F1, bias_here)) - rude_N)
            slope_F1 = torch.zeros_like(here_F1).index_add_(0, runs.bucket_R, slope_N[text_R, None])
            self._weight_F1 = here_F1 - rate * (slope_F1 + _SHRINK * here_F1)
            self._bias = bias_here - rate * slope_N.sum()

    def rude(self, texts: Sequence[str]) -> list[bool]:
        """Of each text whether it is more likely rude than not."""
        return [logit > 0 for logit in _logits(_Runs.of(texts), self._weight_F1, self._bias).tolist()]


def check(train: Sequence[Labelled], heldout: Sequence[Labelled]) -> dict[str, Json]:
    """What it gets right on texts that it was not shown, and which share it finds of insults that it never met.

    For the second figure it is trained once without each insult. Polite texts that it takes for rude are a floor: less
    than that share says nothing.
    """
    judged = list(zip(heldout, RudeClassifier(train).rude([one.text for one in heldout]), strict=True))
    unmet: list[bool] = []
    for insult in chain.from_iterable(INSULTS.values()):
        others = [one for one in train if insult not in one.text]
        asked = [one.text for one in heldout if one.rude and insult in one.text]
        if asked and any(one.rude for one in others):
            unmet += RudeClassifier(others).rude(asked)

    def share(outcomes: Sequence[bool]) -> dict[str, Json] | None:
        return proportion(outcomes).figures() if outcomes else None

    return {
        "texts": len(train),
        "accuracy": share([said == one.rude for one, said in judged]),
        "found": share([said for one, said in judged if one.rude]),
        "polite_taken_for_rude": share([said for one, said in judged if not one.rude]),
        "found_of_unmet_insults": share(unmet),
    }


@dataclass(frozen=True)
class _Runs:
    """What texts hold; `first_N` is where each one's begin, `count_N` how many they are."""

    bucket_R: Tensor
    first_N: Tensor
    count_N: Tensor

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        buckets = [_buckets(text) for text in texts]
        count_N = torch.tensor([len(one) for one in buckets])
        return cls(torch.tensor(list(chain.from_iterable(buckets))), count_N.cumsum(0) - count_N, count_N)


def _logits(runs: _Runs, weight_F1: Tensor, bias: Tensor) -> Tensor:
    logits_N: Tensor = F.embedding_bag(runs.bucket_R, weight_F1, runs.first_N, mode="sum")[:, 0] + bias
    return logits_N


@lru_cache(maxsize=2**15)  # an answer is looked at once for every insult
def _buckets(text: str) -> tuple[int, ...]:
    """Of the runs of units; a text without any has one of its own."""
    said = units(text)
    runs = {tuple(said[at : at + n]) for n in range(1, LONGEST + 1) for at in range(len(said) - n + 1)} or {()}
    # Not hash(): it differs from process to process.
    return tuple(sorted({zlib.crc32("\0".join(run).encode("utf-8", "surrogatepass")) % BUCKETS for run in runs}))
