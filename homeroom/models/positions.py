"""Where a token stands: rotary embeddings (Llama style); learned ones (GPT-2 style) are a plain embedding table.

Shapes: B batch, T time, H heads, E width of one head.
"""

import torch
from torch import Tensor, nn


class Rotary(nn.Module):
    """Rotary position embedding (RoFormer, Su et al. 2021, eq. 34), in the halves layout of Llama checkpoints.

    Queries and keys of one position are rotated by angles proportional to it, so their product depends on the
    distance alone. The tables are computed, not learned, and are not part of a checkpoint.
    """

    cos_TE: Tensor
    sin_TE: Tensor

    def __init__(self, head_width: int, max_length: int, theta: float = 10_000.0) -> None:
        super().__init__()
        if head_width % 2:
            raise ValueError(f"rotary embeddings need an even head width, not {head_width}")
        inverse = theta ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
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
