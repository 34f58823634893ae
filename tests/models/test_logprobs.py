import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from homeroom.models.logprobs import cross_entropy_sum, token_log_probs


def parts(tokens: int, width: int = 6, vocabulary: int = 11, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    hidden_ND = torch.randn(tokens, width, generator=generator).requires_grad_()
    head_VD = torch.randn(vocabulary, width, generator=generator).requires_grad_()
    target_N = torch.randint(0, vocabulary, (tokens,), generator=generator)
    weight_N = torch.randn(tokens, generator=generator)
    return hidden_ND, head_VD, target_N, weight_N


def gradients(value, *leaves):
    return torch.autograd.grad(value, leaves, retain_graph=True)


@settings(max_examples=40)
@given(tokens=st.integers(1, 9), chunk=st.integers(1, 10), seed=st.integers(0, 9))
def test_cross_entropy_is_torchs_whatever_the_chunk(tokens, chunk, seed):
    hidden_ND, head_VD, target_N, _ = parts(tokens, seed=seed)
    total = cross_entropy_sum(hidden_ND, head_VD, target_N, chunk)
    expected = F.cross_entropy(hidden_ND @ head_VD.t(), target_N, reduction="sum")
    torch.testing.assert_close(total, expected)
    # An upstream gradient other than 1, as the loop's division by the weight makes one.
    for ours, theirs in zip(
        gradients(total * 0.3, hidden_ND, head_VD), gradients(expected * 0.3, hidden_ND, head_VD), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@settings(max_examples=40)
@given(tokens=st.integers(1, 9), chunk=st.integers(1, 10), seed=st.integers(0, 9))
def test_token_log_probs_are_torchs_whatever_the_chunk(tokens, chunk, seed):
    hidden_ND, head_VD, target_N, weight_N = parts(tokens, seed=seed)
    log_probs_N, entropy_N = token_log_probs(hidden_ND, head_VD, target_N, chunk)
    table_NV = torch.log_softmax(hidden_ND @ head_VD.t(), dim=1)
    expected_N = table_NV[torch.arange(tokens), target_N]
    torch.testing.assert_close(log_probs_N, expected_N)
    torch.testing.assert_close(entropy_N, torch.distributions.Categorical(logits=table_NV).entropy())
    assert not entropy_N.requires_grad
    # Each token weighs differently, as in a policy loss.
    ours = gradients((log_probs_N.exp() * weight_N).sum(), hidden_ND, head_VD)
    theirs = gradients((expected_N.exp() * weight_N).sum(), hidden_ND, head_VD)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [3, 1024])
def test_under_bfloat16_autocast_they_are_near_and_stay_float32(chunk):
    hidden_ND, head_VD, target_N, weight_N = parts(40, width=32, vocabulary=60)
    with torch.no_grad():
        head_VD *= 0.2
    exact_N = torch.log_softmax(hidden_ND @ head_VD.t(), dim=1)[torch.arange(40), target_N]
    with torch.autocast("cpu", torch.bfloat16):
        total = cross_entropy_sum(hidden_ND, head_VD, target_N, chunk)
        log_probs_N, _ = token_log_probs(hidden_ND, head_VD, target_N, chunk)
        weighted = (log_probs_N * weight_N).sum()
    assert total.dtype == log_probs_N.dtype == torch.float32
    torch.testing.assert_close(log_probs_N, exact_N, atol=0.05, rtol=0.02)
    for ours, theirs in (
        (gradients(total, hidden_ND, head_VD), gradients(-exact_N.sum(), hidden_ND, head_VD)),
        (gradients(weighted, hidden_ND, head_VD), gradients((exact_N * weight_N).sum(), hidden_ND, head_VD)),
    ):
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == torch.float32
            assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999
            torch.testing.assert_close(one.norm(), other.norm(), rtol=0.02, atol=0)


def test_the_work_is_done_in_the_precision_of_autocast():
    hidden_ND, head_VD, target_N, _ = parts(40, width=32)
    rounded_N = (hidden_ND.bfloat16() @ head_VD.bfloat16().t()).float().log_softmax(dim=1)[torch.arange(40), target_N]
    with torch.autocast("cpu", torch.bfloat16):
        total = cross_entropy_sum(hidden_ND, head_VD, target_N)
        log_probs_N, _ = token_log_probs(hidden_ND, head_VD, target_N)
    torch.testing.assert_close(log_probs_N, rounded_N)
    torch.testing.assert_close(total, -rounded_N.sum())


@pytest.mark.parametrize("trained", ["hidden", "head"])
def test_only_one_of_the_two_may_be_trained(trained):
    hidden_ND, head_VD, target_N, weight_N = parts(5)
    frozen, leaf = (head_VD, hidden_ND) if trained == "hidden" else (hidden_ND, head_VD)
    expected_N = torch.log_softmax(hidden_ND @ head_VD.t(), dim=1)[torch.arange(5), target_N]
    (of_sum,) = gradients(-expected_N.sum(), leaf)
    (of_weighted,) = gradients((expected_N * weight_N).sum(), leaf)
    frozen.requires_grad_(False)
    torch.testing.assert_close(gradients(cross_entropy_sum(hidden_ND, head_VD, target_N, 2), leaf)[0], of_sum)
    log_probs_N, _ = token_log_probs(hidden_ND, head_VD, target_N, 2)
    torch.testing.assert_close(gradients((log_probs_N * weight_N).sum(), leaf)[0], of_weighted)


def test_without_gradient_none_is_computed():
    hidden_ND, head_VD, target_N, _ = parts(5)
    with FlopCounterMode(display=False) as learning:
        expected = cross_entropy_sum(hidden_ND, head_VD, target_N)
    with FlopCounterMode(display=False) as looking, torch.no_grad():
        total = cross_entropy_sum(hidden_ND, head_VD, target_N)
    assert torch.equal(total, expected.detach())
    assert learning.get_total_flops() == 3 * looking.get_total_flops() > 0


def test_no_tokens_are_a_loss_of_zero_with_a_gradient():
    hidden_ND, head_VD, target_N, _ = parts(0)
    total = cross_entropy_sum(hidden_ND, head_VD, target_N)
    log_probs_N, entropy_N = token_log_probs(hidden_ND, head_VD, target_N)
    assert total.item() == 0
    assert log_probs_N.shape == entropy_N.shape == (0,)
    for value in (total, log_probs_N.sum()):
        assert [gradient.abs().sum() for gradient in gradients(value, hidden_ND, head_VD)] == [0, 0]


def test_a_second_backward_is_refused_and_not_wrong():
    hidden_ND, head_VD, target_N, _ = parts(5)
    total = cross_entropy_sum(hidden_ND, head_VD, target_N) * 0.5
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize(
    "function", [lambda *given: cross_entropy_sum(*given), lambda *given: token_log_probs(*given)[0].sum()]
)
def test_a_frozen_head_costs_no_product_and_changes_no_other_gradient(function):
    hidden_ND, head_VD, target_N, _ = parts(7)
    (expected,) = gradients(function(hidden_ND, head_VD, target_N), hidden_ND)
    counted = []
    for head in (head_VD, head_VD.detach()):
        hidden_ND.grad = None
        with FlopCounterMode(display=False) as counter:
            function(hidden_ND, head, target_N).backward()
        counted.append(counter.get_total_flops())
        torch.testing.assert_close(hidden_ND.grad, expected)
    assert counted[1] == counted[0] - 2 * 7 * 6 * 11
