"""The position-wise layers of a Block: GELU with two matrices (GPT-2) and SwiGLU with three (Llama).

Shapes: B batch, T time, D width, F hidden width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from homeroom.models.linear import FusedLinear, Linear


class GELU(nn.Module):
    """x → down(gelu(up(x))), with the tanh approximation that GPT-2 was trained with."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = Linear(width, hidden)
        self.down = Linear(hidden, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x_BTD), approximate="tanh"))  # type: ignore[no-any-return]


class SwiGLU(nn.Module):
    """x → down(silu(gate(x)) · up(x)) (Shazeer 2020, eq. 6); gate and up are one matrix, gate's rows first."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = FusedLinear(width, (hidden, hidden), bias=False)
        self.down = Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate, up = self.gate_up(x_BTD).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]
