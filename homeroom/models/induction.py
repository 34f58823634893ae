"""A GPT that can copy from its first step: fresh weights that already hold one induction head.

An induction head continues "A B … A" with B (Olsson et al. 2022). It needs two layers to agree (one notes at each
position which token came before, a later one looks for the current token among these notes), and in a small model
gradient descent takes most of its budget to find that. Mimetic initialization (Trockman & Kolter 2023) begins near what
training would find. These are weights, no architecture: training changes them like all others.
Shapes: V vocabulary, D width, E width of one head, P pairs of rotary dimensions.
"""

import torch
from torch import Tensor

from homeroom.models.attention import Attention
from homeroom.models.gpt import GPT, Config

# What of the embedding's deviation is left outside the token register, so that the notes there can be read.
_LEAK = 0.3
_CONSTANT = 4.0  # the same in every embedding: lets a head attend by position alone
_SHARPNESS = 6.0  # by how much the previous position's attention logit exceeds its neighbours'
_MATCH = 14.0  # the attention logit of a note that equals the current token
_HEAD = 0.4  # how loudly a copied token is said
_FAST_PAIRS = 6  # rotary pairs that turn fast enough to tell neighbours apart


def has_room(config: Config) -> bool:
    """Whether the shape can hold an induction head: rotary positions, two layers, a head of its own matrix."""
    return config.style == "llama" and config.layers >= 2 and not config.tied and config.head_width >= 8


@torch.no_grad()
def wire(model: GPT) -> None:
    """Set one head of the first layer and one of the second, the embedding and the output head. Raises ValueError.

    The residual stream gets three registers: which token this is, which came before, which is to be said next.
    """
    config = model.config
    if not has_room(config):
        raise ValueError("an induction head needs Llama style, two layers, an untied head and heads of 8 or wider")
    size = min(config.head_width, config.width // 3)
    token, before, following = (torch.arange(size) + size * register for register in range(3))
    spread = torch.ones(config.width)
    spread[size:] = _LEAK
    embedding_VD = model.embedding.weight
    embedding_VD *= spread
    embedding_VD[:, 0] = _CONSTANT
    first, second, *_ = (module for module in model.modules() if isinstance(module, Attention))
    square = float(embedding_VD.square().mean())
    _attend_to_previous(first, config, constant=_CONSTANT / square**0.5)
    _copy(first, config, token, before, gain=square**0.5)
    square += (size - 1) / config.width  # mean square of the stream, now that the note is in it
    _attend_to_match(second, config, token, before, gain=square)
    _copy(second, config, token, following, gain=square**0.5)
    model.head.weight[:, following[1:]] = _HEAD * embedding_VD[:, token[1:]]


def _rows(attention: Attention, config: Config) -> tuple[Tensor, Tensor, Tensor]:
    """The first head's rows of the query, key and value matrices (E, D), as views."""
    E = config.head_width
    query, key, value = attention.qkv.weight.split(attention.qkv.parts)
    return query[:E], key[:E], value[:E]


def _attend_to_previous(attention: Attention, config: Config, constant: float) -> None:
    """Σ cos((distance − 1) · θ_p) over fast pairs is largest at distance 1; only the constant dimension takes part."""
    query_ED, key_ED, _ = _rows(attention, config)
    query_ED *= 0.1
    key_ED *= 0.1
    half = config.head_width // 2
    pairs = min(_FAST_PAIRS, half)
    angle_P = config.rope_theta ** (-torch.arange(pairs) / half)
    strength = (_SHARPNESS * config.head_width**0.5 / float((1 - angle_P.cos()).sum())) ** 0.5 / constant
    query_ED[:, 0] = key_ED[:, 0] = 0
    query_ED[:pairs, 0] = strength
    key_ED[:pairs, 0] = strength * angle_P.cos()
    key_ED[half : half + pairs, 0] = strength * angle_P.sin()


def _attend_to_match(attention: Attention, config: Config, token: Tensor, before: Tensor, gain: float) -> None:
    """Queries ask which token this is, keys offer which came before, in pairs too slow for distance to matter."""
    query_ED, key_ED, _ = _rows(attention, config)
    half = config.head_width // 2
    slow = torch.tensor([index for index in range(len(token)) if index % half >= half // 2])
    strength = (_MATCH * config.head_width**0.5 * gain / len(slow)) ** 0.5
    query_ED *= 0.1
    key_ED *= 0.1
    query_ED[slow] = key_ED[slow] = 0
    query_ED[slow, token[slow]] = strength
    key_ED[slow, before[slow]] = strength


def _copy(attention: Attention, config: Config, source: Tensor, target: Tensor, gain: float) -> None:
    """What stands in the source register of the attended position is added to the target register of this one."""
    _, _, value_ED = _rows(attention, config)
    dimensions = torch.arange(1, len(source))
    value_ED[:] = 0
    value_ED[dimensions, source[1:]] = 1
    attention.out.weight[target[1:], dimensions] = gain
