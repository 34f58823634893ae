"""From hidden states to log-probabilities of given tokens, in chunks: the (N, V) logits never exist at once.

Two roads to the same numbers. Cross-entropy makes its gradient during the forward, chunk by chunk, because its upstream
gradient is one scalar; policy losses weigh every token differently, so theirs is recomputed in the backward.
Products take a chunk at a time, which is what they are fast at; exponentials take a block of its rows, in float32.
Shapes: N tokens, D width, V vocabulary, C tokens of one chunk, K tokens of one block.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from homeroom.models.precision import products_dtype

CHUNK_TOKENS = 1024
BLOCK_TOKENS = 128  # (128, V) float32 stays in a cache for the vocabularies used here, where (C, V) does not


def cross_entropy_sum(hidden_ND: Tensor, head_VD: Tensor, target_N: Tensor, chunk: int = CHUNK_TOKENS) -> Tensor:
    """The sum over N of −log p(target), in nats (a scalar)."""
    # Inside a Function gradients are always off, so whether one is wanted must be asked here.
    learning = torch.is_grad_enabled() and (hidden_ND.requires_grad or head_VD.requires_grad)
    total: Tensor = _CrossEntropySum.apply(hidden_ND, head_VD, target_N, chunk, learning)  # type: ignore[no-untyped-call]
    return total


def token_log_probs(
    hidden_ND: Tensor, head_VD: Tensor, target_N: Tensor, chunk: int = CHUNK_TOKENS
) -> tuple[Tensor, Tensor]:
    """Each target's log-probability (N,), with gradient, and each position's entropy (N,), without; in nats."""
    log_probs_N, entropy_N = _TokenLogProbs.apply(hidden_ND, head_VD, target_N, chunk)  # type: ignore[no-untyped-call]
    return log_probs_N, entropy_N


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, target_N: Tensor, chunk: int, learning: bool) -> Tensor:
        dtype = products_dtype(hidden_ND)
        weight_VD = head_VD.to(dtype)
        total = torch.zeros((), device=hidden_ND.device)
        grad_hidden_ND = torch.empty_like(hidden_ND) if learning else None
        grad_head_VD = torch.zeros_like(head_VD) if learning and head_VD.requires_grad else None
        for start in range(0, hidden_ND.shape[0], chunk):
            rows = slice(start, start + chunk)
            hidden_CD = hidden_ND[rows].to(dtype)
            logits_CV = hidden_CD @ weight_VD.t()
            for logits_KV, target_K1 in _blocks(logits_CV, target_N[rows, None]):
                log_probs_KV = torch.log_softmax(logits_KV, dim=1, dtype=torch.float32)
                total -= log_probs_KV.gather(1, target_K1).sum()
                if learning:
                    logits_KV.copy_(_subtract_one_at(target_K1, log_probs_KV.exp_()))
            grad_CV = logits_CV
            if grad_hidden_ND is not None:
                grad_hidden_ND[rows] = grad_CV @ weight_VD
            if grad_head_VD is not None:
                grad_head_VD += grad_CV.t() @ hidden_CD
        if learning:
            ctx.save_for_backward(grad_hidden_ND, grad_head_VD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        grad_hidden_ND, grad_head_VD = ctx.saved_tensors
        # In place: a second backward over the same graph raises instead of scaling twice.
        grad_head_VD = grad_head_VD.mul_(grad) if grad_head_VD is not None else None
        return grad_hidden_ND.mul_(grad), grad_head_VD, None, None, None


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, target_N: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
        dtype = products_dtype(hidden_ND)
        weight_VD = head_VD.to(dtype)
        log_probs_N = torch.empty(target_N.shape, device=hidden_ND.device)
        entropy_N = torch.empty_like(log_probs_N)
        for start in range(0, hidden_ND.shape[0], chunk):
            rows = slice(start, start + chunk)
            logits_CV = hidden_ND[rows].to(dtype) @ weight_VD.t()
            results = (log_probs_N[rows], entropy_N[rows])
            for logits_KV, target_K1, log_probs_K, entropy_K in _blocks(logits_CV, target_N[rows, None], *results):
                log_probs_KV = torch.log_softmax(logits_KV, dim=1, dtype=torch.float32)
                log_probs_K.copy_(log_probs_KV.gather(1, target_K1)[:, 0])
                entropy_K.copy_((log_probs_KV.exp() * log_probs_KV).sum(dim=1).neg_())
        ctx.save_for_backward(hidden_ND, head_VD, target_N)
        ctx.chunk, ctx.dtype = chunk, dtype
        ctx.mark_non_differentiable(entropy_N)
        return log_probs_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor, _entropy: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_ND, head_VD, target_N = ctx.saved_tensors
        weight_VD = head_VD.to(ctx.dtype)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_head_VD = torch.zeros_like(head_VD) if ctx.needs_input_grad[1] else None  # not of a frozen head
        for start in range(0, hidden_ND.shape[0], ctx.chunk):
            rows = slice(start, start + ctx.chunk)
            hidden_CD = hidden_ND[rows].to(ctx.dtype)
            grad_CV = hidden_CD @ weight_VD.t()
            for logits_KV, target_K1, upstream_K1 in _blocks(grad_CV, target_N[rows, None], grad_N[rows, None]):
                # d log p(target) / d logits = onehot(target) − p
                minus_KV = _subtract_one_at(target_K1, torch.softmax(logits_KV, dim=1, dtype=torch.float32))
                logits_KV.copy_(minus_KV.mul_(-upstream_K1))
            grad_hidden_ND[rows] = grad_CV @ weight_VD
            if grad_head_VD is not None:
                grad_head_VD += grad_CV.t() @ hidden_CD
        return grad_hidden_ND, grad_head_VD, None, None


def _blocks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few rows of every table, as views."""
    return zip(*(table.split(BLOCK_TOKENS) for table in tables), strict=True)


def _subtract_one_at(index_K1: Tensor, table_KV: Tensor) -> Tensor:
    return table_KV.scatter_add_(1, index_K1, table_KV.new_full((), -1.0).expand(index_K1.shape))
