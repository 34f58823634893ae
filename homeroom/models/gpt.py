"""GPT in two styles, as two compositions of the same Block: GPT-2 (2019) and Llama (2023).

Mistral, Qwen 2 and Qwen 3 are Llama with other heads: wider ones, biased projections, or normed queries and keys.

Leaves what is done with it to others: the loss to objectives, generation to the engine, folders to `checkpoint`.
Shapes: B batch, T time, D width, V vocabulary, E width of one head.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from homeroom.models.attention import Attention, Context
from homeroom.models.branches import branch_mask, branch_positions
from homeroom.models.feed_forward import GELU, SwiGLU
from homeroom.models.kv_cache import CacheView, KVCache
from homeroom.models.linear import Linear
from homeroom.models.positions import RopeScaling, Rotary
from homeroom.models.precision import products_dtype
from homeroom.models.transformer import Block, Transformer, document_mask, document_positions
from homeroom.settings import Frozen


class Config(Frozen):
    """A GPT's shape. `hidden` defaults to 4·width (GPT-2) or 8/3·width rounded to 32 (Llama)."""

    style: Literal["gpt2", "llama"] = "llama"
    vocab_size: PositiveInt
    max_length: PositiveInt = 256
    layers: PositiveInt = 4
    width: PositiveInt = 256
    heads: PositiveInt = 4
    kv_heads: PositiveInt | None = Field(None, description="fewer than heads: grouped-query attention")
    head_size: PositiveInt | None = Field(None, description="the width of one head; default: width / heads")
    hidden: PositiveInt | None = None
    tied: bool = Field(False, description="the head's matrix is the embedding's")
    qkv_bias: bool = Field(False, description="Llama style: queries, keys and values have biases, as in Qwen 2")
    qk_norm: bool = Field(False, description="Llama style: each head's queries and keys are normed, as in Qwen 3")
    rope_theta: PositiveFloat = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm_epsilon: PositiveFloat = 1e-5

    @model_validator(mode="after")
    def _divides(self) -> Self:
        kv_heads = self.kv_heads or self.heads
        if self.width % self.heads and self.head_size is None:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        if self.heads % kv_heads:
            raise ValueError(f"{self.heads} heads do not divide into {kv_heads} key-value heads")
        if self.style == "llama" and self.head_width % 2:
            raise ValueError(f"rotary embeddings need an even head width, not {self.width} / {self.heads}")
        if self.style == "gpt2" and (kv_heads != self.heads or self.head_width * self.heads != self.width):
            raise ValueError("GPT-2 style has as many key-value heads as heads, which divide the width among them")
        return self

    @property
    def hidden_width(self) -> int:
        if self.hidden:
            return self.hidden
        return 4 * self.width if self.style == "gpt2" else -(-self.width * 8 // 3 // 32) * 32

    @property
    def head_width(self) -> int:
        return self.head_size or self.width // self.heads


@dataclass(frozen=True)
class Outputs:
    """What a forward hands to the objective. Logits are not among it: they are made in chunks, where needed."""

    hidden_BTD: Tensor
    head_VD: Tensor
    values_BT: Tensor | None = None


class GPT(nn.Module):
    """A decoder-only language model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = _table(config.vocab_size, config.width)
        if config.style == "gpt2":
            self.positions: nn.Embedding | None = _table(config.max_length, config.width)
            self.rotary: Rotary | None = None
            self.trunk = _gpt2_trunk(config)
        else:
            self.positions = None
            self.rotary = rotary_of(config)
            self.trunk = _llama_trunk(config)
        self.head = Linear(config.width, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        self.reset()

    @classmethod
    def hollow(cls, config: Config) -> Self:
        """A model whose weights are still to be assigned: they have shapes alone. What is computed is there."""
        with torch.device("meta"):
            model = cls(config)
        if model.rotary is not None:
            model.rotary = rotary_of(config)
        return model

    @torch.no_grad()
    def reset(self) -> None:
        """Fresh weights: normal with deviation width^-½, branches that write to the residual stream at zero.

        Zero branches make every Block the identity at first (Zhang et al. 2019, Fixup), which lets a large learning
        rate start at once. An untied head starts at zero too: the first loss is then exactly log V.
        """
        if self.embedding.weight.is_meta:
            return
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
            elif name.endswith(("attention.out.weight", "feed_forward.down.weight")) or name == "head.weight":
                parameter.zero_()
            elif name in ("embedding.weight", "positions.weight"):
                parameter.normal_(std=0.02 if self.config.tied or self.positions is not None else 1.0)
            else:
                parameter.normal_(std=parameter.shape[1] ** -0.5)

    def forward(self, tokens_BT: Tensor, document_BT: Tensor | None = None, branch_BT: Tensor | None = None) -> Outputs:
        return Outputs(self.hidden(tokens_BT, document_BT, branch_BT), self.head.weight)

    def hidden(
        self,
        tokens_BT: Tensor,
        document_BT: Tensor | None = None,
        branch_BT: Tensor | None = None,
        *,
        cache: CacheView | None = None,
    ) -> Tensor:
        """The last layer's hidden states (B, T, D).

        With `document_BT` (a number per token) attention and positions stay within a document, with `branch_BT` (see
        `homeroom.models.branches`) within one of several ends and their common beginning. With `cache` the tokens
        continue what its slots hold. Raises ValueError when a sequence is longer than `config.max_length`.
        """
        T = tokens_BT.shape[1]
        mask, positions_BT = None, None
        if branch_BT is not None:
            mask, positions_BT = branch_mask(branch_BT), branch_positions(branch_BT)
        longest = T if positions_BT is None else int(positions_BT.max()) + 1
        if self.config.max_length < longest:
            raise ValueError(f"{longest} tokens do not fit a context of {self.config.max_length}")
        if cache is not None:
            positions_BT = cache.positions_BT
            reach_S = torch.arange(cache.extent, device=tokens_BT.device)
            mask = (reach_S <= positions_BT[:, :, None])[:, None]
        elif document_BT is not None:
            mask, positions_BT = document_mask(document_BT), document_positions(document_BT)
        x_BTD = self.embedding(tokens_BT)
        if self.positions is not None:
            index = torch.arange(T, device=tokens_BT.device) if positions_BT is None else positions_BT
            x_BTD = x_BTD + self.positions(index)
        rotary = self.rotary.tables(positions_BT, T) if self.rotary is not None else None
        return self.trunk(x_BTD, Context(rotary, mask, cache))  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) → (…, V) in float32. For a few positions; a whole batch goes through `homeroom.models.logprobs`."""
        return self.head(hidden).float()  # type: ignore[no-any-return]

    def new_cache(self, slots: int, max_length: int) -> KVCache:
        """Room for so many answers, in the number format that matrices are multiplied in here."""
        kv_heads = self.config.kv_heads or self.config.heads
        return KVCache(
            self.config.layers,
            slots,
            kv_heads,
            max_length,
            self.config.head_width,
            dtype=products_dtype(self.embedding.weight),
            device=self.embedding.weight.device,
        )


def rotary_of(config: Config) -> Rotary:
    """The tables of angles that a model of this shape reads; they are computed, not learned."""
    return Rotary(config.head_width, config.max_length, config.rope_theta, config.rope_scaling)


def _table(rows: int, width: int) -> nn.Embedding:
    if torch.get_default_device().type != "meta":
        return nn.Embedding(rows, width)
    # Shapes alone. To draw numbers there would load half of torch's compiler: a second and 80 MB.
    table: nn.Embedding = nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
    return table


def _llama_trunk(config: Config) -> Transformer:
    norm = partial(nn.RMSNorm, config.width, eps=config.norm_epsilon)
    head_norm = partial(nn.RMSNorm, config.head_width, eps=config.norm_epsilon)
    return Transformer(
        [
            Block(
                norm,
                Attention(
                    config.width,
                    config.heads,
                    config.kv_heads or config.heads,
                    config.head_width,
                    qkv_bias=config.qkv_bias,
                    head_norm=head_norm if config.qk_norm else None,
                ),
                SwiGLU(config.width, config.hidden_width),
            )
            for _ in range(config.layers)
        ],
        norm(),
    )


def _gpt2_trunk(config: Config) -> Transformer:
    norm = partial(nn.LayerNorm, config.width, eps=config.norm_epsilon)
    return Transformer(
        [
            Block(
                norm,
                Attention(config.width, config.heads, config.heads, config.head_width, qkv_bias=True, out_bias=True),
                GELU(config.width, config.hidden_width),
            )
            for _ in range(config.layers)
        ],
        norm(),
    )
