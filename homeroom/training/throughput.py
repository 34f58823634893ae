"""How fast this machine trains a model: measured on the very step that a run is made of, before it is planned."""

import copy
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from homeroom.data.batches import PackedTokens
from homeroom.models.gpt import GPT
from homeroom.training.loop import LoopSettings, RunState, train
from homeroom.training.objectives.next_token import NextToken


@dataclass(frozen=True)
class ZeroTokens:
    """A row of so many zeros, for where only the speed counts."""

    count: int

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, count: int) -> NDArray[np.int64]:
        return np.zeros(count, np.int64)


def tokens_per_second(
    model: GPT, settings: LoopSettings, *, length: int, rows: int, micro_rows: int, seconds: float = 3.0
) -> float:
    """Of steps of `rows` rows, on a copy of the model. A few steps are made even where they take longer."""
    source = PackedTokens(ZeroTokens(rows * length + 1), length=length, rows=rows, micro_rows=micro_rows)
    began = time.perf_counter()
    clock: list[float] = []

    def watch(state: RunState) -> None:
        clock.append(state.seconds)
        if len(clock) > 3 and time.perf_counter() - began > seconds:
            state.stopped = "measured"

    train(copy.deepcopy(model), NextToken(), source, settings, hooks=[(1, watch)])
    # The first step warms up and is left out; of the others the median, for others may use the machine for a moment.
    return rows * length / statistics.median(after - before for before, after in pairwise(clock))
