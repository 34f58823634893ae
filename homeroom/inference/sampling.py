"""From logits to a token, for many requests at once, each with its own settings and its own stream of random numbers.

Shapes: N running requests, V vocabulary.
"""

import numpy as np
import torch
from torch import Tensor

from homeroom.inference.request import Sampling

_UNIT = 2.0**-52
_SORTED = 1024  # tokens; so few are sorted faster
_LIKELY = 2.0**-10  # of the likeliest token's probability: a model that knows what it says leaves little below
_LEVELS = (20, 10, 0)  # a float's bits below 2^30 in three numbers below 1024, the higher ones first


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
            weakened = torch.where(values > 0, values / penalty, values * penalty)
            # A penalty near 0 would make them infinite, and the row's probabilities no numbers.
            most = torch.finfo(weakened.dtype).max
            logits_NV[row, index] = weakened.clamp(-most, most)


def sample(logits_NV: Tensor, settings: list[Sampling], uniform_N: Tensor) -> Tensor:
    """Token ids (N,): inverse transform sampling of each row's filtered distribution with its uniform number."""
    temperature_N = torch.tensor([s.temperature for s in settings], device=logits_NV.device)
    greedy_N = temperature_N == 0
    if bool(greedy_N.all()):
        return logits_NV.argmax(dim=1)
    # The largest logit becomes 0 first: divided by a temperature near 0 it would be infinite, and the row NaN.
    above_NV = logits_NV - logits_NV.amax(dim=1, keepdim=True)
    probs_NV = torch.softmax(above_NV / torch.where(greedy_N, 1.0, temperature_N)[:, None], dim=1)
    if bool((broken_N := probs_NV[:, 0].isnan()).any()):  # of a model that computes no numbers: others must not suffer
        probs_NV[broken_N] = 1 / probs_NV.shape[1]
    picked_N = _pick_filtered(probs_NV, settings, uniform_N)
    return torch.where(greedy_N, logits_NV.argmax(dim=1), picked_N) if bool(greedy_N.any()) else picked_N


def _pick_filtered(probs_NV: Tensor, settings: list[Sampling], uniform_N: Tensor) -> Tensor:
    """Each row in the way that its own filters ask for, whatever the others' do."""
    filtered = [row for row, s in enumerate(settings) if s.top_k or s.top_p < 1 or s.min_p]
    if not filtered:
        return _pick(probs_NV.cumsum(dim=1, dtype=torch.float64), uniform_N)
    likely_NV = probs_NV >= probs_NV.amax(dim=1, keepdim=True) * _LIKELY
    sure = _sure(probs_NV, likely_NV, settings)
    unsure = sorted(set(filtered) - set(sure))
    plain = sorted(set(range(len(settings))) - set(filtered))
    picked_N = torch.zeros(len(settings), dtype=torch.long, device=probs_NV.device)
    if sure:
        picked_N[sure] = _pick_likely(probs_NV[sure], likely_NV[sure], [settings[row] for row in sure], uniform_N[sure])
    if unsure:
        masses_RV = kept(probs_NV[unsure], [settings[row] for row in unsure])
        picked_N[unsure] = _pick(masses_RV.cumsum(dim=1), uniform_N[unsure])
    if plain:
        picked_N[plain] = _pick(probs_NV[plain].cumsum(dim=1, dtype=torch.float64), uniform_N[plain])
    return picked_N


def _sure(probs_NV: Tensor, likely_NV: Tensor, settings: list[Sampling]) -> list[int]:
    """The rows whose filters certainly leave out all but likely tokens, and these are few."""
    counts: list[int] = likely_NV.sum(dim=1).tolist()

    def certain(row: int, sampling: Sampling) -> bool:
        if counts[row] > _SORTED:
            return False
        if sampling.top_k:
            return sampling.top_k <= counts[row]
        if sampling.min_p:
            return sampling.min_p >= _LIKELY
        if sampling.top_p == 1:
            return False
        return bool(_units(probs_NV[row][likely_NV[row]]).sum() >= _least(sampling.top_p, 1.0))

    return [row for row, sampling in enumerate(settings) if certain(row, sampling)]


def _pick(cumulative_NV: Tensor, uniform_N: Tensor) -> Tensor:
    """Where each row's uniform number falls. float64: in float32 a large vocabulary's sums would lose the tail."""
    total_N = cumulative_NV[:, -1]
    # Below the whole, which a product may be rounded up to: the last token may have probability 0.
    target_N1 = torch.minimum(uniform_N.double() * total_N, torch.nextafter(total_N, -total_N))[:, None]
    # right=True: a uniform of exactly 0 must not pick a token of probability 0.
    return torch.searchsorted(cumulative_NV, target_N1, right=True)[:, 0].clamp(max=cumulative_NV.shape[1] - 1)


def _pick_likely(probs_NV: Tensor, likely_NV: Tensor, settings: list[Sampling], uniform_N: Tensor) -> Tensor:
    """The same from the likely tokens alone, which stand side by side: a hundredth of a vocabulary, or less.

    Behind a shorter row's there is room without probability. Shapes: C likely tokens of all rows, W of one.
    """
    row_C, column_C = likely_NV.nonzero(as_tuple=True)
    counts_N = likely_NV.sum(dim=1)
    place_C = torch.arange(len(row_C), device=row_C.device) - (counts_N.cumsum(0) - counts_N)[row_C]
    probs_NW = probs_NV.new_zeros((len(counts_N), int(counts_N.amax())))
    probs_NW[row_C, place_C] = probs_NV[row_C, column_C]
    column_NW = row_C.new_zeros(probs_NW.shape)
    column_NW[row_C, place_C] = column_C
    picked_N = _pick(kept(probs_NW, settings).cumsum(dim=1), uniform_N)
    return column_NW.gather(1, picked_N[:, None])[:, 0]


def kept(probs_NV: Tensor, settings: list[Sampling]) -> Tensor:
    """Probabilities (N, V) in float64, 0 where min-p (Nguyen et al. 2024), top-k (Fan et al. 2018) and then top-p
    (Holtzman et al. 2020) leave a token out. Of equally likely ones the first come first.

    Whole multiples of 2^-52, so that every sum is exact: what is kept depends neither on the order in which they are
    added nor on the other rows.
    """
    masses_NV = _units(probs_NV)
    if any(s.min_p for s in settings):
        min_p_N = torch.tensor([s.min_p for s in settings], device=probs_NV.device)
        masses_NV *= probs_NV >= min_p_N[:, None] * probs_NV.amax(dim=1, keepdim=True)
    vocabulary = probs_NV.shape[1]
    if rows := [row for row, s in enumerate(settings) if 0 < s.top_k < vocabulary]:
        most_R = torch.tensor([float(settings[row].top_k) for row in rows], dtype=torch.float64)
        _cut(masses_NV, probs_NV, rows, torch.ones_like(masses_NV), most_R.to(probs_NV.device))
    if rows := [row for row, s in enumerate(settings) if s.top_p < 1]:
        top_p_R = torch.tensor([settings[row].top_p for row in rows], dtype=torch.float64, device=probs_NV.device)
        whole_R = masses_NV[rows].sum(dim=1)  # softmax makes it 1, but for rounding
        whole_R[[i for i, row in enumerate(rows) if not (settings[row].top_k or settings[row].min_p)]] = 1.0
        _cut(masses_NV, probs_NV, rows, masses_NV, _least(top_p_R, whole_R))
    return masses_NV


def _units(probs: Tensor) -> Tensor:
    """float64, in whole multiples of 2^-52: between 1 and 2 each float64 is one."""
    return (probs.double() + 1).sub_(1)


def _least(top_p: Tensor | float, whole: Tensor | float) -> Tensor:
    """The mass that stands before the first token to be left out."""
    return (torch.as_tensor(top_p * whole, dtype=torch.float64) / _UNIT).ceil().clamp(min=1) * _UNIT


def _cut(masses_NV: Tensor, probs_NV: Tensor, rows: list[int], weights_NV: Tensor, enough_R: Tensor) -> None:
    """Zero, in these rows, the masses of all tokens before which the likelier ones' weights already are `enough`."""
    whole = rows == list(range(len(masses_NV)))
    probs_RV, weights_RV = (probs_NV, weights_NV) if whole else (probs_NV[rows], weights_NV[rows])
    if probs_NV.shape[1] <= _SORTED:
        order_RV = probs_RV.argsort(dim=1, descending=True, stable=True)
        sorted_RV = weights_RV.gather(1, order_RV)
        in_order_RV = sorted_RV.cumsum(dim=1) - sorted_RV < enough_R[:, None]
        keep_RV = torch.zeros_like(in_order_RV).scatter_(1, order_RV, in_order_RV)
    else:
        keep_RV = _likeliest(probs_RV, weights_RV, enough_R)
    if whole:
        masses_NV *= keep_RV
    else:
        masses_NV[rows] *= keep_RV


def _likeliest(probs_RV: Tensor, weights_RV: Tensor, enough_R: Tensor) -> Tensor:
    """The tokens (R, V) before which the likelier ones' weights are not yet `enough`, without sorting a vocabulary.

    A float's bits grow with it. The sums of weights for each value of their first digits say which of these values the
    last token kept begins with; only tokens that begin so are looked at again, for the next digits.
    Shapes: R rows, C tokens that may be the last one kept, X values of a digit.
    """
    bits_RV = probs_RV.contiguous().view(torch.int32)
    R, first, *others = len(bits_RV), *_LEVELS

    def found(sums_RX: Tensor, above_R: Tensor | float) -> tuple[Tensor, Tensor]:
        """The last kept token's digit, and the weights of what is likelier than all tokens with it."""
        before_RX = sums_RX.flip(1).cumsum(1).flip(1) - sums_RX + torch.as_tensor(above_R).reshape(-1, 1)
        digit_R = (before_RX >= enough_R[:, None]).sum(dim=1)
        return digit_R, before_RX.gather(1, digit_R[:, None])[:, 0]

    digit_RV = (bits_RV >> first).long()
    sums_RX = torch.zeros(R, 1024, dtype=torch.float64, device=bits_RV.device)
    digit_R, above_R = found(sums_RX.scatter_add_(1, digit_RV, weights_RV), 0.0)
    row_C, column_C = (digit_RV == digit_R[:, None]).nonzero(as_tuple=True)
    bits_C, weight_C = bits_RV[row_C, column_C], weights_RV[row_C, column_C]
    last_R = digit_R << first
    for shift in others:
        digit_C = (bits_C >> shift) & 1023
        sums_RX.zero_().view(-1).index_add_(0, row_C * 1024 + digit_C, weight_C)
        digit_R, above_R = found(sums_RX, above_R)
        last_R += digit_R << shift
        same_C = digit_C == digit_R[row_C]
        row_C, column_C, bits_C, weight_C = row_C[same_C], column_C[same_C], bits_C[same_C], weight_C[same_C]
    # What is left is exactly as likely as the last token kept. It stands in order, and the first stay.
    counts_R = row_C.bincount(minlength=R)
    place_C = torch.arange(len(row_C), device=row_C.device) - (counts_R.cumsum(0) - counts_R)[row_C]
    keep_RV = bits_RV > last_R.int()[:, None]
    keep_RV[row_C, column_C] = above_R[row_C] + place_C * weight_C < enough_R[row_C]
    return keep_RV
