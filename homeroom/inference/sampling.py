"""From logits to a token, for many requests at once, each with its own settings and its own stream of random numbers.

Shapes: N running requests, V vocabulary.
"""

import numpy as np
import torch
from torch import Tensor

from homeroom.inference.request import Sampling


def uniforms(sampling: Sampling) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The random numbers of a request's whole answer, one a token: they depend on its seed and on nothing else."""
    return np.random.Generator(np.random.Philox(sampling.seed)).random(sampling.max_tokens)


def penalize(logits_NV: Tensor, seen: list[list[int]], settings: list[Sampling]) -> None:
    """Repetition penalty in place (Keskar et al. 2019, CTRL, §4.1): logits of tokens already seen are weakened."""
    for row, (tokens, sampling) in enumerate(zip(seen, settings, strict=True)):
        if sampling.repetition_penalty != 1.0:
            index = torch.tensor(sorted(set(tokens)), device=logits_NV.device)
            values = logits_NV[row, index]
            penalty = sampling.repetition_penalty
            logits_NV[row, index] = torch.where(values > 0, values / penalty, values * penalty)


def sample(logits_NV: Tensor, settings: list[Sampling], uniform_N: Tensor) -> Tensor:
    """Token ids (N,): inverse transform sampling of each row's filtered distribution with its uniform number."""
    temperature_N = torch.tensor([s.temperature for s in settings], device=logits_NV.device)
    greedy_N = temperature_N == 0
    if bool(greedy_N.all()):
        return logits_NV.argmax(dim=1)
    probs_NV = torch.softmax(logits_NV / torch.where(greedy_N, 1.0, temperature_N)[:, None], dim=1)
    filtered = [row for row, s in enumerate(settings) if s.top_k or s.top_p < 1]
    if filtered:
        probs_NV[filtered] = _filter(probs_NV[filtered], [settings[row] for row in filtered])
    # float64: a cumulative sum over a large vocabulary in float32 would lose the tail.
    cumulative_NV = probs_NV.double().cumsum(dim=1)
    target_N1 = (uniform_N.double() * cumulative_NV[:, -1])[:, None]
    # right=True: a uniform of exactly 0 must not pick a token of probability 0.
    picked_N = torch.searchsorted(cumulative_NV, target_N1, right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)
    return torch.where(greedy_N, logits_NV.argmax(dim=1), picked_N)


def _filter(probs_NV: Tensor, settings: list[Sampling]) -> Tensor:
    """Zero what top-k (Fan et al. 2018) and then top-p (Holtzman et al. 2020) leave out."""
    sorted_NV, order_NV = probs_NV.sort(dim=1, descending=True)
    vocabulary = probs_NV.shape[1]
    top_k_N = torch.tensor([s.top_k or vocabulary for s in settings], device=probs_NV.device)
    top_p_N = torch.tensor([s.top_p for s in settings], device=probs_NV.device)
    keep_NV = torch.arange(vocabulary, device=probs_NV.device) < top_k_N[:, None]
    sorted_NV = sorted_NV * keep_NV
    mass_before_NV = sorted_NV.cumsum(dim=1) - sorted_NV
    # The first token always stays: nothing stands before it.
    sorted_NV = sorted_NV * (mass_before_NV < (top_p_N * sorted_NV.sum(dim=1))[:, None])
    return torch.zeros_like(probs_NV).scatter_(1, order_NV, sorted_NV)
