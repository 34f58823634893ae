"""The size dial and its arithmetic: from one depth to a shape, a budget, and what they cost. No torch.

Leaves reading a recipe to `recipe` and measuring a machine's speed to whoever trains on it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SIZES = {"nano": 4, "micro": 6, "mini": 8, "small": 12, "medium": 16, "large": 20, "huge": 26}
HEAD_WIDTH = 64
LARGEST = 1e15  # more of anything is no setting; arithmetic stays finite below


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder's shape, with the names that `models` gives its parts: `gpt.Config(**asdict(shape))` is that model."""

    layers: int
    width: int
    heads: int
    vocab_size: int
    max_length: int
    kv_heads: int | None = None
    hidden: int | None = None
    style: Literal["gpt2", "llama"] = "llama"
    tied: bool = False

    @property
    def hidden_width(self) -> int:
        if self.hidden:
            return self.hidden
        return 4 * self.width if self.style == "gpt2" else -(-self.width * 8 // 3 // 32) * 32


def parameters(shape: Shape) -> int:
    """Exactly as many as the model has."""
    D, F = shape.width, shape.hidden_width
    kv_width = D // shape.heads * (shape.kv_heads or shape.heads)
    embedding = shape.vocab_size * D
    if shape.style == "gpt2":
        attention = 4 * D * D + 4 * D
        layer = attention + 2 * D * F + F + D + 4 * D
        return embedding * (2 - shape.tied) + shape.max_length * D + shape.layers * layer + 2 * D
    layer = 2 * D * D + 2 * D * kv_width + 3 * D * F + 2 * D
    return embedding * (2 - shape.tied) + shape.layers * layer + D


def flops_per_token(shape: Shape) -> float:
    """Forward and backward: 6 per weight that a token is multiplied with, and attention (PaLM, appendix B).

    Looking an embedding up multiplies nothing, the head does. Attention's 12·L·D·T is halved: a causal query
    meets half the context on average.
    """
    D, V = shape.width, shape.vocab_size
    lookups = 0 if shape.tied else V * D
    if shape.style == "gpt2":
        lookups += shape.max_length * D
    return 6 * (parameters(shape) - lookups) + 12 * shape.layers * D * shape.max_length / 2


def tokens_for(seconds: float, tokens_per_second: float, batch_tokens: int) -> int:
    """The token budget that a time allows at a measured rate, in whole batches and at least one."""
    return max(1, int(seconds * tokens_per_second) // batch_tokens) * batch_tokens


@dataclass(frozen=True)
class Choice:
    """One value that the dial chose, or found already set, and why."""

    name: str
    value: int | float
    why: str


def dial(depth: int, given: Mapping[str, object]) -> list[Choice]:
    """Everything that follows from depth. What is given is kept, and what comes after follows from it.

    Batch and learning rate follow the compute: DeepSeek LLM (2024), section 3.1, fitted from 1e17 FLOPs on
    and extended downwards here. Tokens: 20 per parameter (Hoffmann et al. 2022).
    """
    chosen: dict[str, Choice] = {}

    def choose(name: str, value: int | float, why: str) -> None:
        own = given.get(name)
        # A value of the wrong kind is for the recipe to report; arithmetic must not stumble over it.
        if isinstance(own, (int, float)) and not isinstance(own, bool) and 0 < own < LARGEST:
            value, why = own, "set in the recipe"
        chosen[name] = Choice(name, value, why)

    def whole(name: str) -> int:
        return max(1, int(chosen[name].value))

    choose("depth", depth, "the dial")
    choose("width", HEAD_WIDTH * whole("depth"), f"{HEAD_WIDTH} × depth")
    choose("heads", _heads(whole("width")), f"width / {HEAD_WIDTH}, so that it divides")
    choose("vocab_size", min(65536, 24 * whole("width")), "24 × width, at most 65,536")
    choose("max_length", _power_of_two(64 * whole("depth"), 128, 4096), "64 × depth, as a power of two")
    shape = shape_of({name: choice.value for name, choice in chosen.items()}, given)
    choose("tokens", 20 * parameters(shape), "20 × parameters (Hoffmann et al. 2022)")
    per_token = 72 * shape.layers * shape.width**2 + 12 * shape.layers * shape.width * shape.max_length
    compute = per_token * whole("tokens")
    law = "from the compute (DeepSeek LLM 2024, section 3.1)"
    choose("batch_tokens", _power_of_two(0.2920 * compute**0.3271, shape.max_length, 2**22), law)
    choose("learning_rate", float(f"{0.3118 * compute**-0.1250:.2g}"), law)
    return list(chosen.values())


def shape_of(chosen: Mapping[str, float], given: Mapping[str, object]) -> Shape:
    """The shape that the dial's values and the recipe's own keys describe."""
    kv_heads, hidden = given.get("kv_heads"), given.get("hidden")
    return Shape(
        layers=int(chosen["depth"]),
        **{name: int(chosen[name]) for name in ("width", "heads", "vocab_size", "max_length")},
        kv_heads=kv_heads if isinstance(kv_heads, int) else None,
        hidden=hidden if isinstance(hidden, int) else None,
        style="gpt2" if given.get("style") == "gpt2" else "llama",
        tied=bool(given.get("tied", False)),
    )


def _heads(width: int) -> int:
    """How many heads are nearest to HEAD_WIDTH wide, and an even number, which rotary positions need."""
    able = [heads for heads in range(1, min(width // 2, 4096) + 1) if width % heads == 0 and width // heads % 2 == 0]
    return min(able, key=lambda heads: abs(heads - width / HEAD_WIDTH), default=1)


def _power_of_two(value: float, low: int, high: int) -> int:
    return int(min(high, max(low, 2 ** round(math.log2(value)))))
