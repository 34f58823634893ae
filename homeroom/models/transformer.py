"""The trunk: pre-norm Blocks over a residual stream. Every family is a composition of these parts.

It knows no vocabulary, no loss and no family; parts are handed in, so a style is a choice of modules, not of flags.
Shapes: B batch, T time, S time (keys), D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from homeroom.models.attention import Attention, Context


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)) (pre-norm: Xiong et al. 2020)."""

    def __init__(self, norm: Callable[[], nn.Module], attention: Attention, feed_forward: nn.Module) -> None:
        super().__init__()
        self.attention_norm, self.attention = norm(), attention
        self.feed_forward_norm, self.feed_forward = norm(), feed_forward

    def forward(self, x_BTD: Tensor, context: Context, layer: int) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), context, layer)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Blocks and a final norm."""

    def __init__(self, blocks: list[Block], norm: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, context, layer)
        return self.norm(x_BTD)  # type: ignore[no-any-return]


def document_mask(document_BT: Tensor) -> Tensor:
    """(B, 1, T, T): a position looks back within its own document only, so packed rows do not leak into each other."""
    T = document_BT.shape[1]
    causal_TT = torch.ones(T, T, dtype=torch.bool, device=document_BT.device).tril()
    return ((document_BT[:, :, None] == document_BT[:, None, :]) & causal_TT)[:, None]


def document_positions(document_BT: Tensor) -> Tensor:
    """(B, T): how far each position stands from its document's first token."""
    T = document_BT.shape[1]
    index_T = torch.arange(T, device=document_BT.device)
    starts_BT = torch.ones_like(document_BT, dtype=torch.bool)
    starts_BT[:, 1:] = document_BT[:, 1:] != document_BT[:, :-1]
    first_BT = torch.where(starts_BT, index_T, 0).cummax(dim=1).values
    return index_T - first_BT
