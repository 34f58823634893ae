"""Held against a reference in plain Python, one row at a time."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from homeroom.inference import sampling as by_threshold
from homeroom.inference.request import Sampling
from homeroom.inference.sampling import kept, penalize, sample, uniforms


def reference_probabilities(logits: list[float], sampling: Sampling, seen: list[int]) -> list[float]:
    penalty = sampling.repetition_penalty
    weakened = [x if i not in seen else x / penalty if x > 0 else x * penalty for i, x in enumerate(logits)]
    top = max(weakened)
    if sampling.temperature == 0:
        return [float(i == weakened.index(top)) for i in range(len(logits))]
    weights = [math.exp((x - top) / sampling.temperature) for x in weakened]
    order = sorted(range(len(logits)), key=lambda i: -weights[i])[: sampling.top_k or None]
    mass, whole, kept = 0.0, sum(weights[i] for i in order), []
    for i in order:
        if kept and mass >= sampling.top_p * whole:
            break
        kept.append(i)
        mass += weights[i]
    return [weights[i] / mass if i in kept else 0.0 for i in range(len(logits))]


def probabilities(logits: list[float], sampling: Sampling, seen: list[int], points: int = 4000) -> list[float]:
    """What `sample` picks from, measured by giving it evenly spread numbers instead of random ones."""
    logits_NV = torch.tensor([logits])
    penalize(logits_NV, [seen], [sampling])
    uniform_N = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    picked_N = sample(logits_NV.repeat(points, 1), [sampling] * points, uniform_N)
    return (picked_N.bincount(minlength=len(logits)) / points).tolist()


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 3, 100]),
    top_p=st.sampled_from([1.0, 0.9, 0.5, 0.05]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
)
LOGITS = st.lists(st.floats(-6, 6, width=32), min_size=6, max_size=6, unique=True)


@settings(max_examples=100)
@given(logits=LOGITS, sampling=SAMPLINGS, seen=st.lists(st.integers(0, 5), max_size=8))
def test_tokens_are_picked_as_often_as_the_reference_says(logits, sampling, seen):
    expected = reference_probabilities(logits, sampling, seen)
    # Where rounding decides what top-k, top-p or the argmax keeps, both are right.
    near = [
        reference_probabilities([x + bump * i for i, x in enumerate(logits)], sampling, seen) for bump in (1e-4, -1e-4)
    ]
    assume(all([p > 0 for p in other] == [p > 0 for p in expected] for other in near))
    assert probabilities(logits, sampling, seen) == pytest.approx(expected, abs=1e-3)


@settings(max_examples=30)
@given(rows=st.lists(st.tuples(LOGITS, SAMPLINGS, st.floats(0, 1, exclude_max=True)), min_size=1, max_size=6))
def test_rows_do_not_know_of_each_other(rows):
    logits_NV = torch.tensor([logits for logits, _, _ in rows])
    uniform_N = torch.tensor([number for _, _, number in rows], dtype=torch.float64)
    settings_N = [sampling for _, sampling, _ in rows]
    together = sample(logits_NV, settings_N, uniform_N).tolist()
    alone = [sample(logits_NV[i : i + 1], settings_N[i : i + 1], uniform_N[i : i + 1]).item() for i in range(len(rows))]
    assert together == alone


def plainly_kept(probs: list[float], sampling: Sampling) -> list[int]:
    """By sorting, in whole numbers of 2^-52; top-p of the whole is one product in float64."""
    masses = [round(p * 2**52) if p >= sampling.min_p * max(probs) else 0 for p in probs]
    order = sorted(range(len(probs)), key=lambda i: -probs[i])[: sampling.top_k or None]
    # Probabilities that nothing was taken from sum up to one.
    whole = sum(masses[i] for i in order) if sampling.top_k or sampling.min_p else 2**52
    enough, mass = sampling.top_p * whole, 0
    staying = set()
    for i in order:
        if sampling.top_p == 1 or mass < enough:
            staying.add(i)
        mass += masses[i]
    return [masses[i] if i in staying else 0 for i in range(len(probs))]


# Powers of two and their sums: ties, and sums that meet top-p exactly. Min-p too is one, so that float32 is exact.
FILTERS = st.builds(
    Sampling,
    top_k=st.integers(0, 20),
    top_p=st.sampled_from([1.0, 0.5, 0.25, 0.75, 0.9, 0.999, 1e-300]),
    min_p=st.sampled_from([0.0, 0.25, 0.5, 2.0**-12, 1.0]),
)
SHARES = st.lists(st.sampled_from([0, 1, 1, 2, 3, 4, 8, 1024, 1025, 2**19 + 1]), min_size=16, max_size=16).filter(any)


@pytest.mark.parametrize("sorted_up_to", [0, 1024])
@settings(max_examples=150)
@given(rows=st.lists(st.tuples(SHARES, FILTERS, st.integers(24, 70)), min_size=1, max_size=5))
def test_what_is_kept_is_exactly_what_a_plain_sort_keeps(sorted_up_to, rows):
    probs_NV = torch.tensor([[share / 2.0**halved for share in shares] for shares, _, halved in rows])
    expected = [plainly_kept(probs, sampling) for probs, (_, sampling, _) in zip(probs_NV.tolist(), rows, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_threshold, "_SORTED", sorted_up_to)
        made_NV = kept(probs_NV, [sampling for _, sampling, _ in rows])
    assert (made_NV * 2**52).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(
    sharpness=st.sampled_from([0.0, 0.7, 2.0, 4.0, 8.0]),
    settings_N=st.lists(FILTERS | st.just(Sampling(top_p=0.9)) | st.just(Sampling(top_k=40)), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_a_token_is_picked_from_what_is_kept_however_it_is_found(sharpness, settings_N, seed):
    generator = torch.Generator().manual_seed(seed)
    logits_NV = (torch.randn(len(settings_N), 1500, generator=generator) * sharpness * 4).round() / 4
    uniform_N = torch.rand(len(settings_N), generator=generator, dtype=torch.float64)
    picked = sample(logits_NV, settings_N, uniform_N).tolist()
    above_NV = logits_NV - logits_NV.amax(dim=1, keepdim=True)
    for row, sampling in enumerate(settings_N):
        probs_V = torch.softmax(above_NV[row : row + 1], dim=1)[0]
        masses, drawn = plainly_kept(probs_V.tolist(), sampling), uniform_N[row].item()
        target = min(drawn * sum(masses), math.nextafter(sum(masses), 0))
        assert picked[row] == next(i for i, before in enumerate(itertools.accumulate(masses)) if before > target)


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.9}, {"top_k": 40}, {"min_p": 0.1}])
@pytest.mark.parametrize("broken", ["penalty", "nan"])
def test_a_row_without_numbers_is_nobody_elses_matter(filters, broken):
    logits_NV = torch.randn(2, 2000, generator=torch.Generator().manual_seed(3))
    uniform_N = torch.tensor([0.5, 0.5], dtype=torch.float64)
    alone = sample(logits_NV[1:], [Sampling(top_p=0.9)], uniform_N[1:])
    if broken == "nan":
        logits_NV[0, 7] = float("nan")
    settings_N = [Sampling(repetition_penalty=1e-39, **filters), Sampling(top_p=0.9)]
    penalize(logits_NV, [list(range(100)), []], settings_N)
    picked = sample(logits_NV, settings_N, uniform_N)
    assert 0 <= picked[0] < 2000
    assert picked[1] == alone[0]


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 4.0])
def test_a_large_vocabulary_is_cut_as_a_plain_sort_cuts_it_whoever_else_is_there(sharpness):
    logits_NV = torch.randn(6, 5000, generator=torch.Generator().manual_seed(1)) * sharpness
    logits_NV[:, 100:200] = logits_NV[:, :100]
    settings_N = [
        Sampling(top_p=0.9), Sampling(top_p=0.001), Sampling(top_k=150), Sampling(top_k=3000, top_p=0.8),
        Sampling(min_p=0.1, top_p=0.95), Sampling(),
    ]  # fmt: skip
    probs_NV = logits_NV.softmax(dim=1)
    together_NV = kept(probs_NV, settings_N)
    for row, sampling in enumerate(settings_N):
        assert torch.equal(kept(probs_NV[row : row + 1], [sampling])[0], together_NV[row])
        if not sampling.min_p:
            assert (together_NV[row] * 2**52).tolist() == plainly_kept(probs_NV[row].tolist(), sampling)


def test_a_literal_case_of_each_setting():
    logits = [math.log(p) for p in (0.1, 0.4, 0.2, 0.3)]
    for sampling, expected in (
        (Sampling(), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(temperature=0), [0, 1, 0, 0]),
        (Sampling(temperature=0.5), [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        (Sampling(top_k=2), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(top_p=0.69), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(top_p=0.71), [0, 4 / 9, 2 / 9, 3 / 9]),
        (Sampling(top_p=0.01), [0, 1, 0, 0]),
        (Sampling(top_k=3, top_p=0.75), [0, 4 / 7, 0, 3 / 7]),  # of the three kept, not of all
    ):
        assert probabilities(logits, sampling, []) == pytest.approx(expected, abs=1e-3), sampling


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_p=0.3),
        Sampling(top_p=0.99),
        Sampling(top_k=5),
        Sampling(top_k=700),
        Sampling(top_k=700, top_p=0.8),
        Sampling(top_k=5000, top_p=0.95),
        Sampling(top_k=5000),
    ],
)
@pytest.mark.parametrize("sharpness", [0.1, 3.0])
def test_in_a_large_vocabulary_exactly_what_the_reference_keeps_is_kept(sampling, sharpness):
    logits = (torch.randn(1000, generator=torch.Generator().manual_seed(0)) * sharpness).tolist()
    expected = torch.tensor(reference_probabilities(logits, sampling, []), dtype=torch.float64)
    kept = expected > 0
    # The middle of every token's share of [0, 1): each token kept is picked by its own number, and no other is.
    middles = (expected.cumsum(0) - expected / 2)[kept]
    wide_enough = expected[kept] > 1e-6
    picked = sample(torch.tensor([logits]).repeat(len(middles), 1), [sampling] * len(middles), middles)
    assert torch.equal(picked[wide_enough], kept.nonzero()[:, 0][wide_enough])


def test_greedy_and_sampled_rows_stand_side_by_side():
    logits_NV = torch.tensor([[0.0, 1.0, 0.5]] * 3)
    settings_N = [Sampling(temperature=0), Sampling(), Sampling(temperature=0, top_k=2)]
    assert sample(logits_NV, settings_N, torch.full((3,), 0.999, dtype=torch.float64)).tolist() == [1, 2, 1]


def test_repetition_weakens_each_seen_token_once_whatever_its_sign():
    logits_NV = torch.tensor([[2.0, -2.0, 1.0], [2.0, -2.0, 1.0]])
    penalize(logits_NV, [[0, 0, 1], [0]], [Sampling(repetition_penalty=2), Sampling()])
    assert logits_NV.tolist() == [[1.0, -4.0, 1.0], [2.0, -2.0, 1.0]]


def test_the_largest_and_the_smallest_random_number_pick_a_token_that_may_be():
    logits_NV = torch.tensor([[-math.inf, 0.0, 1.0, 3.0, 2.0, -math.inf]] * 2)
    ends_N = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert sample(logits_NV, [Sampling()] * 2, ends_N).tolist() == [1, 4]
    assert sample(logits_NV, [Sampling(top_k=2)] * 2, ends_N).tolist() == [3, 4]


def test_top_k_alone_keeps_even_tokens_that_are_next_to_impossible():
    logits_NV = torch.tensor([[0.0, -20.0, -25.0]])
    almost_one = torch.tensor([1 - 1e-12], dtype=torch.float64)
    assert sample(logits_NV, [Sampling(top_k=3)], almost_one).tolist() == [2]


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-39, 1e-30, 1e-6])
def test_a_temperature_near_zero_is_greedy(temperature):
    logits_NV = torch.tensor([[1.0, 30.0, 2.0, 29.0]] * 3)
    numbers_N = torch.tensor([0.0, 0.5, 0.999], dtype=torch.float64)
    assert sample(logits_NV, [Sampling(temperature=temperature)] * 3, numbers_N).tolist() == [1, 1, 1]


def test_settings_beyond_any_vocabulary_are_no_error():
    logits_NV = torch.tensor([[0.0, 1.0]])
    half = torch.tensor([0.9], dtype=torch.float64)
    assert sample(logits_NV, [Sampling(top_k=10**30)], half).tolist() == [1]
    assert sample(logits_NV, [Sampling(temperature=1e300)], half).tolist() == [1]


def test_a_seed_gives_the_same_numbers_however_many_are_asked_for():
    assert uniforms(7, 5).tolist() == uniforms(7, 50)[:5].tolist()
    assert uniforms(7, 5).tolist() != uniforms(8, 5).tolist()
    assert uniforms(None, 5).tolist() != uniforms(None, 5).tolist()
    assert len({tuple(uniforms(seed, 3)) for seed in (-1, 0, 1, 2**63)}) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": -1},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"repetition_penalty": 0},
        {"max_tokens": -1},
        {"min_p": 1.1},
    ],
)
def test_settings_without_a_meaning_are_refused(changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        Sampling(**changes)
