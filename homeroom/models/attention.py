"""Causal self-attention with fused projections; grouped queries and rotary positions when they are given.

Shapes: B batch, T time (queries), S time (keys), D width, H heads, K key-value heads, E width of one head.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homeroom.models.kv_cache import CacheView
from homeroom.models.linear import FusedLinear, Linear
from homeroom.models.positions import rotate

WRITTEN_OUT = 2**24  # scores of all heads and rows: 32 MB; more of them written out cost memory and gain little


@dataclass(frozen=True)
class Context:
    """What all layers of one forward share."""

    rotary: tuple[Tensor, Tensor] | None = None  # cosines and sines
    mask: Tensor | None = None  # (B, 1, T, S), True where a query may look; None: plainly causal
    cache: CacheView | None = None


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, eq. 1); with fewer key-value heads, grouped-query (Ainslie 2023)."""

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        head_width: int,
        *,
        qkv_bias: bool = False,
        out_bias: bool = False,
        head_norm: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if heads % kv_heads:
            raise ValueError(f"{heads} heads do not divide into {kv_heads} key-value heads")
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, head_width
        # One matrix for queries, keys and values: one large product is faster than three small ones.
        sizes = (heads * head_width, kv_heads * head_width, kv_heads * head_width)
        self.qkv = FusedLinear(width, sizes, bias=qkv_bias)
        self.out = Linear(heads * head_width, width, bias=out_bias)
        # Each head's queries and keys normed before they are turned (Dehghani et al. 2023, §2): Qwen 3 has it.
        self.query_norm = head_norm() if head_norm is not None else None
        self.key_norm = head_norm() if head_norm is not None else None

    def forward(self, x_BTD: Tensor, context: Context, layer: int) -> Tensor:
        B, T, _ = x_BTD.shape
        qkv = self.qkv(x_BTD).view(B, T, self.heads + 2 * self.kv_heads, self.head_width)
        turned, value = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=2)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = turned.split((self.heads, self.kv_heads), dim=2)
            turned = torch.cat((self.query_norm(query), self.key_norm(key)), dim=2)
        if context.rotary is not None:
            turned = rotate(turned, *context.rotary)
        query, key = turned.split((self.heads, self.kv_heads), dim=2)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        if context.cache is not None:
            key, value = context.cache.extend(layer, key, value)
            key, value = key.to(query.dtype), value.to(query.dtype)
        if T > 1:
            query, key, value = map(_by_rows, (query, key, value))
        mixed_BHTE = attend(query, key, value, context.mask)
        return self.out(mixed_BHTE.transpose(1, 2).reshape(B, T, -1))  # type: ignore[no-any-return]


def _by_rows(heads: Tensor) -> Tensor:
    """What `product` left lying column by column sends torch's attention the slow way."""
    return heads if heads.stride(-1) == 1 else heads.contiguous()


def attend(query_BHTE: Tensor, key_BKSE: Tensor, value_BKSE: Tensor, mask_B1TS: Tensor | None) -> Tensor:
    """softmax(q·kᵀ/√E)·v (Vaswani et al. 2017, eq. 1), where the mask is True; without one, causally.

    torch's fused kernel, except for short rows of bfloat16 on a CPU, which plain products take half the time for.
    """
    B, H, T, E = query_BHTE.shape
    S = key_BKSE.shape[2]
    grouped = key_BKSE.shape[1] != H
    on_cpu, half = query_BHTE.device.type == "cpu", query_BHTE.dtype == torch.bfloat16
    if not (on_cpu and half) or grouped or B * H * T * S > WRITTEN_OUT:
        return F.scaled_dot_product_attention(
            query_BHTE, key_BKSE, value_BKSE, attn_mask=mask_B1TS, is_causal=mask_B1TS is None, enable_gqa=grouped
        )
    if mask_B1TS is None:
        mask_B1TS = torch.ones(T, S, dtype=torch.bool, device=query_BHTE.device).tril()
    # Added, not filled in: masked weights are 0, and so is their gradient, without another pass over the scores.
    bias_B1TS = torch.zeros(mask_B1TS.shape, dtype=query_BHTE.dtype, device=query_BHTE.device)
    bias_B1TS.masked_fill_(~mask_B1TS, float("-inf"))
    scores_BHTS = (query_BHTE * E**-0.5) @ key_BKSE.transpose(2, 3)
    return torch.softmax(scores_BHTS + bias_B1TS, dim=3) @ value_BKSE
