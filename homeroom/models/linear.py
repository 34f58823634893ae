"""Matrix products: several stacked into one, and those of a few rows the way round that a processor is fast at.

Shapes: R rows (all but the last axis), I inputs and O outputs of a matrix.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# W·xᵀ takes MKL a third to four fifths of the time of x·Wᵀ for these, from 200 thousand weights to 30 million; for
# those between it takes up to half as long again.
FEW_ROWS = frozenset((2, 3, 4, *range(16, 65)))


def product(x: Tensor, weight_OI: Tensor) -> Tensor:
    """x·Wᵀ, (…, I) → (…, O). Where nothing is learned of a few rows on a CPU, it is made the faster way round, and may
    lie in memory column by column."""
    outputs, inputs = weight_OI.shape
    rows = x.numel() // inputs
    if rows not in FEW_ROWS or not _plain(x, weight_OI):
        return F.linear(x, weight_OI)
    return (weight_OI @ x.reshape(rows, inputs).t()).t().view(*x.shape[:-1], outputs)


class Linear(nn.Linear):
    """nn.Linear, by `product` where it has no bias."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.bias is not None else product(x, self.weight)


class FusedLinear(Linear):
    """Several linear maps of one input stacked into one matrix: one large product is faster than a few small ones.

    `parts` are their output widths, for what has to treat them apart (an optimizer, an export).
    """

    def __init__(self, width: int, parts: tuple[int, ...], *, bias: bool) -> None:
        super().__init__(width, sum(parts), bias=bias)
        self.parts = parts


def _plain(x: Tensor, weight: Tensor) -> bool:
    """Float32 on a CPU with MKL, without a gradient and without another number format for products."""
    return (
        x.is_cpu
        and torch.backends.mkl.is_available()
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )
