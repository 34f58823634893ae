"""Where a token stands: rotary embeddings (Llama style); learned ones (GPT-2 style) are a plain embedding table.

Shapes: B batch, T time, H heads, E width of one head, P pairs of it.
"""

import math

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from homeroom.settings import Frozen


class RopeScaling(Frozen):
    """How Llama 3.1 reads further than it was first trained to: slow rotations are slowed down by `factor`.

    Those that turn more than `high_freq_factor` times within the original length stay, those that turn less than
    `low_freq_factor` times are slowed, and in between the two are mixed (Grattafiori et al. 2024, §3.4.2).
    """

    factor: PositiveFloat
    low_freq_factor: PositiveFloat
    high_freq_factor: PositiveFloat
    original_max_length: PositiveInt

    def apply(self, inverse_P: Tensor) -> Tensor:
        """The angle that each pair turns by from one position to the next, scaled."""
        turns_P = self.original_max_length * inverse_P / (2 * math.pi)
        span = self.high_freq_factor - self.low_freq_factor
        kept_P = ((turns_P - self.low_freq_factor) / span).clamp(0, 1)
        return kept_P * inverse_P + (1 - kept_P) * inverse_P / self.factor


class Rotary(nn.Module):
    """Rotary position embedding (RoFormer, Su et al. 2021, eq. 34), in the halves layout of Llama checkpoints.

    Queries and keys of one position are rotated by angles proportional to it, so their product depends on the
    distance alone. The tables are computed, not learned, and are not part of a checkpoint.
    """

    cos_TE: Tensor
    sin_TE: Tensor

    def __init__(
        self, head_width: int, max_length: int, theta: float = 10_000.0, scaling: RopeScaling | None = None
    ) -> None:
        super().__init__()
        if head_width % 2:
            raise ValueError(f"rotary embeddings need an even head width, not {head_width}")
        if torch.get_default_device().type == "meta":
            # Shapes alone, see gpt.py.
            self.register_buffer("cos_TE", torch.empty(max_length, head_width // 2), persistent=False)
            self.register_buffer("sin_TE", torch.empty(max_length, head_width // 2), persistent=False)
            return
        inverse = theta ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
        if scaling is not None:
            inverse = scaling.apply(inverse)
        angles_TE = torch.outer(torch.arange(max_length, dtype=torch.float32), inverse)
        self.register_buffer("cos_TE", angles_TE.cos(), persistent=False)
        self.register_buffer("sin_TE", angles_TE.sin(), persistent=False)

    def tables(self, positions_BT: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines shaped (B or 1, T, 1, E/2), made once a forward and shared by all layers."""
        if positions_BT is None:
            return self.cos_TE[None, :length, None], self.sin_TE[None, :length, None]
        return self.cos_TE[positions_BT, None], self.sin_TE[positions_BT, None]


def rotate(x_BTHE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each head's (first half, second half) pairs by the position's angle."""
    first, second = x_BTHE.chunk(2, dim=-1)
    cos, sin = cos.to(x_BTHE.dtype), sin.to(x_BTHE.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
