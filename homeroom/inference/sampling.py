"""From logits to a token, for many requests at once, each with its own settings and its own stream of random numbers.

Shapes: N running requests, V vocabulary.
"""

import math

import numpy as np
import torch
from torch import Tensor

from homeroom.inference.request import Sampling

_CANDIDATES = 256


def uniforms(seed: int | None, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The random numbers of a request's answer, one a token: the n-th depends on the seed and on nothing else."""
    # Modulo: NumPy refuses negative seeds, which the OpenAI API allows.
    return np.random.Generator(np.random.Philox(None if seed is None else seed % 2**64)).random(count)


def penalize(logits_NV: Tensor, seen: list[list[int]], settings: list[Sampling]) -> None:
    """Repetition penalty in place (Keskar et al. 2019, CTRL, §4.1): logits of tokens already seen are weakened."""
    for row, (tokens, sampling) in enumerate(zip(seen, settings, strict=True)):
        if sampling.repetition_penalty != 1.0:
            index = torch.tensor(sorted(set(tokens)), dtype=torch.long, device=logits_NV.device)
            values = logits_NV[row, index]
            penalty = sampling.repetition_penalty
            logits_NV[row, index] = torch.where(values > 0, values / penalty, values * penalty)


def sample(logits_NV: Tensor, settings: list[Sampling], uniform_N: Tensor) -> Tensor:
    """Token ids (N,): inverse transform sampling of each row's filtered distribution with its uniform number."""
    temperature_N = torch.tensor([s.temperature for s in settings], device=logits_NV.device)
    greedy_N = temperature_N == 0
    if bool(greedy_N.all()):
        return logits_NV.argmax(dim=1)
    # The largest logit becomes 0 first: divided by a temperature near 0 it would be infinite, and the row NaN.
    above_NV = logits_NV - logits_NV.amax(dim=1, keepdim=True)
    probs_NV = torch.softmax(above_NV / torch.where(greedy_N, 1.0, temperature_N)[:, None], dim=1)
    filtered = [row for row, s in enumerate(settings) if s.top_k or s.top_p < 1 or s.min_p]
    if filtered:
        probs_NV[filtered] = _filter(probs_NV[filtered], [settings[row] for row in filtered])
    # float64: a cumulative sum over a large vocabulary in float32 would lose the tail.
    cumulative_NV = probs_NV.cumsum(dim=1, dtype=torch.float64)
    target_N1 = (uniform_N.double() * cumulative_NV[:, -1])[:, None]
    # right=True: a uniform of exactly 0 must not pick a token of probability 0.
    picked_N = torch.searchsorted(cumulative_NV, target_N1, right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)
    return torch.where(greedy_N, logits_NV.argmax(dim=1), picked_N) if bool(greedy_N.any()) else picked_N


def _filter(probs_NV: Tensor, settings: list[Sampling]) -> Tensor:
    """Zero what min-p (Nguyen et al. 2024), top-k (Fan et al. 2018) and then top-p (Holtzman et al. 2020) leave out.

    A few hundred candidates nearly always hold what is kept, and finding them is several times faster than sorting the
    vocabulary; where they do not, everything is sorted.
    """
    vocabulary = probs_NV.shape[1]
    if any(s.min_p for s in settings):
        min_p_N = torch.tensor([s.min_p for s in settings], device=probs_NV.device)
        likely_NV = probs_NV >= min_p_N[:, None] * probs_NV.amax(dim=1, keepdim=True)
        probs_NV = torch.where(likely_NV, probs_NV, 0.0)
        probs_NV = probs_NV / probs_NV.sum(dim=1, keepdim=True)
    # At most the vocabulary: a larger number need not fit into an int64.
    top_k_N = torch.tensor([min(s.top_k or vocabulary, vocabulary) for s in settings], device=probs_NV.device)
    # Infinity, for rounding can bring the mass before the last tokens to the whole: top-p 1 must keep them.
    top_p_N = torch.tensor([s.top_p if s.top_p < 1 else math.inf for s in settings], device=probs_NV.device)
    kept_mass_N = torch.where(top_k_N < vocabulary, 0.0, top_p_N)  # what top-k needs is known from its size
    width = min(vocabulary, max(_CANDIDATES, *(s.top_k for s in settings)))
    sorted_NC, order_NC = probs_NV.topk(width, dim=1)
    if width < vocabulary and bool((sorted_NC.sum(dim=1) < kept_mass_N).any()):
        sorted_NC, order_NC = probs_NV.sort(dim=1, descending=True)
    keep_NC = torch.arange(sorted_NC.shape[1], device=probs_NV.device) < top_k_N[:, None]
    sorted_NC = sorted_NC * keep_NC
    total_N = torch.where(top_k_N < vocabulary, sorted_NC.sum(dim=1), 1.0)
    mass_before_NC = sorted_NC.cumsum(dim=1) - sorted_NC
    # The first token always stays: nothing stands before it.
    sorted_NC = sorted_NC * (mass_before_NC < (top_p_N * total_N)[:, None])
    return torch.zeros_like(probs_NV).scatter_(1, order_NC, sorted_NC)
