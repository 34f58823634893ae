"""GAE against numbers worked out by hand and against its definition, a sum over all later errors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from homeroom.training.advantages import AdaptiveKL, estimate_advantages, whiten


def test_a_small_matrix_by_hand():
    """γ = 0.9, λ = 0.5, so that each error counts 0.45 of what stands one further; what is outside counts nothing."""
    learn = torch.tensor([[0, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    rewards = torch.tensor([[8.0, 0.1, 0.0, 1.0], [0.0, 3.0, 7.0, 7.0]])
    values = torch.tensor([[7.0, 0.5, 0.2, 0.4], [1.0, 2.0, 5.0, 5.0]])
    advantages, returns = estimate_advantages(rewards, values, learn, discount=0.9, trace=0.5)
    # Row 0 from the back: 1 - 0.4; 0.9·0.4 - 0.2 + 0.45·0.6; 0.1 + 0.9·0.2 - 0.5 + 0.45·0.43. Row 1: 3 - 2; …
    expected = torch.tensor([[0.0, -0.0265, 0.43, 0.6], [1.25, 1.0, 0.0, 0.0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, torch.tensor([[0.0, 0.4735, 0.63, 1.0], [2.25, 3.0, 0.0, 0.0]]))


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_it_is_the_discounted_sum_of_errors(seed, discount, trace):
    generator = torch.Generator().manual_seed(seed)
    B, T = 3, 7
    rewards, values = torch.randn(2, B, T, generator=generator, dtype=torch.float64)
    start = torch.randint(0, T, (B,), generator=generator).tolist()
    end = [int(torch.randint(s + 1, T + 1, (), generator=generator)) for s in start]
    learn = torch.tensor([[s <= t < e for t in range(T)] for s, e in zip(start, end, strict=True)])
    expected = torch.zeros(B, T, dtype=torch.float64)
    for b in range(B):
        for t in range(start[b], end[b]):
            for later in range(t, end[b]):
                after = values[b, later + 1] if later + 1 < end[b] else 0
                error = rewards[b, later] + discount * after - values[b, later]
                expected[b, t] += (discount * trace) ** (later - t) * error
    advantages, returns = estimate_advantages(rewards, values, learn, discount=discount, trace=trace)
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, torch.where(learn, expected + values, 0.0))


def test_whiten_has_mean_zero_and_deviation_one_where_it_counts():
    values = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)) * 7 + 3
    mask = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    white = whiten(values, mask)
    assert float(white[mask].mean()) == pytest.approx(0, abs=1e-6)
    assert float(white[mask].std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert not white[~mask].any()
    order = values[mask].argsort()
    assert torch.equal(white[mask].argsort(), order)
    torch.testing.assert_close(
        whiten(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[True, True, False]])), torch.tensor([[-1.0, 1.0, 0.0]])
    )


def test_whiten_of_equal_values_is_zero_and_not_a_division_by_zero():
    assert not whiten(torch.full((1, 3), 5.0), torch.tensor([[True, True, False]])).any()
    assert not whiten(torch.full((1, 3), 5.0), torch.tensor([[True, False, False]])).any()


@pytest.mark.parametrize(("kl", "factor"), [(6.0, 1.0), (600.0, 1.1), (0.0, 0.9), (6.6, 1.05), (5.4, 0.95), (-3, 0.9)])
def test_the_kl_coefficient_steers_towards_its_target(kl, factor):
    control = AdaptiveKL(0.5, target=6.0)
    control.update(kl)
    assert control.coefficient == pytest.approx(0.5 * factor)


def test_with_the_papers_gain_the_coefficient_moves_as_in_the_paper():
    """By hand: 6.6 / 6 − 1 = 0.1, so β·(1 + 0.1·0.1); then 60 / 6 − 1 is clipped to 0.2, so another factor 1.02."""
    control = AdaptiveKL(0.2, target=6.0, gain=0.1)
    control.update(6.6)
    assert control.coefficient == pytest.approx(0.202)
    control.update(60.0)
    assert control.coefficient == pytest.approx(0.20604)
