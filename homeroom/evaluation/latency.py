"""How much slower one model answers than another: time to the first token, and for each further one.

Both take turns in this process, so that a busy moment meets both, and the ratio of two neighbours is what counts. Its
median has an interval that no single slow moment moves. Two models of one architecture should come out equal; the gate
(`gate.py`) decides what is too much.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from statistics import median

from homeroom.evaluation.comparison import Interval
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT

PROMPT, TOKENS = 32, 8
ROUNDS = 6  # of fewer, not even the smallest and the largest ratio hold the median with 95 %
MOST_ROUNDS, LEAST_ROUNDS = 40, 3


@dataclass(frozen=True)
class Ratio:
    """Seconds, in the median, of both; `times` is by how much the candidate's exceed the champion's."""

    candidate: float
    champion: float
    times: Interval


@dataclass(frozen=True)
class Latency:
    first_token: Ratio
    token: Ratio


def compare_latency(
    candidate: GPT | CompiledGPT, champion: GPT | CompiledGPT, *, doubt: float = 1.1, seconds: float = 4.0
) -> Latency:
    """Measure both in turn until no ratio's interval holds `doubt`, or until the seconds are over.

    Who seems slower is measured longer, so that a busy moment makes nobody slow.
    """
    both = {"candidate": candidate, "champion": champion}
    for model in both.values():
        _timed(model)  # caches and pages are filled once
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in both}
    began = time.perf_counter()
    for number in count(1):
        # Whoever is second may find the processor's caches filled, or its clock lowered.
        for name in sorted(both, reverse=number % 2 == 0):
            taken[name].append(_timed(both[name]))
        lows, highs = zip(*((one.times.low, one.times.high) for one in _ratios(taken)), strict=True)
        over = number >= MOST_ROUNDS or time.perf_counter() - began > seconds
        if max(lows) > doubt:  # slower: to be sure of it takes twice as many
            settled, least = True, ROUNDS if over else 2 * ROUNDS
        else:
            settled, least = max(highs) <= doubt, LEAST_ROUNDS if over else ROUNDS
        if number >= least and (settled or over):
            break
    return Latency(*_ratios(taken))


def median_interval(values: list[float]) -> Interval:
    """The median between two of the values themselves: how many lie on either side of it is a matter of coins.

    At least 95 % for six values and more; of fewer, from the smallest to the largest.
    """
    ordered, n = sorted(values), len(values)
    outside = 0  # so many values at either end can be left out
    while 2 * sum(math.comb(n, k) for k in range(outside + 2)) <= 0.05 * 2**n:
        outside += 1
    return Interval(median(ordered), ordered[outside], ordered[n - 1 - outside], n)


def _ratios(taken: Mapping[str, list[tuple[float, float]]]) -> tuple[Ratio, Ratio]:
    first, token = (
        Ratio(
            median(ours := [one[part] for one in taken["candidate"]]),
            median(theirs := [one[part] for one in taken["champion"]]),
            median_interval([a / b for a, b in zip(ours, theirs, strict=True)]),
        )
        for part in (0, 1)
    )
    return first, token


def _timed(model: GPT | CompiledGPT) -> tuple[float, float]:
    """Seconds to the first token of one answer, and for each token after it."""
    room = model.config.max_length
    tokens = min(TOKENS, max(1, room // 2 - 1))
    # No id ends it: both say as many tokens, whatever they are.
    engine = Engine(model, end_id=(), slots=1)
    length = max(1, min(PROMPT, room - tokens - 1))
    prompt = [(7 * place + 1) % model.config.vocab_size for place in range(length)]
    began = time.perf_counter()
    engine.submit(Request("timed", prompt, Sampling(max_tokens=tokens + 1, temperature=0)))
    while not engine.step():
        pass
    first = time.perf_counter()
    while not engine.idle:
        engine.step()
    return first - began, (time.perf_counter() - first) / tokens
