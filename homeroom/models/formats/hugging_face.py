"""The Hugging Face folder layout: names and shapes of GPT-2, Llama, Mistral and Qwen checkpoints to ours and back.

Only renames, splits and transposes; reading files and refusing bad ones is `homeroom.models.checkpoint`'s.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from homeroom.models.gpt import Config
from homeroom.models.positions import RopeScaling

# What a family of Llama's kind has beyond it. Mistral differs in its settings alone.
_FAMILIES: dict[str, dict[str, bool]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True},
}
_CLASSES = {"gpt2": "GPT2", "llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}
SUPPORTED = ("gpt2", *_FAMILIES)
_LLAMA = {  # theirs → ours, within a layer
    "input_layernorm.weight": "attention_norm.weight",
    "self_attn.o_proj.weight": "attention.out.weight",
    "post_attention_layernorm.weight": "feed_forward_norm.weight",
    "mlp.down_proj.weight": "feed_forward.down.weight",
}
_HEAD_NORMS = {
    "self_attn.q_norm.weight": "attention.query_norm.weight",
    "self_attn.k_norm.weight": "attention.key_norm.weight",
}
# Buffers that older programs wrote beside the weights: causal masks and rotary frequencies.
_COMPUTED = r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$"
_GPT2 = {
    "ln_1": "attention_norm",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "ln_2": "feed_forward_norm",
    "mlp.c_fc": "feed_forward.up",
    "mlp.c_proj": "feed_forward.down",
}


def family(config: Config) -> str:
    """The `model_type` of a model of this shape. Raises ValueError where no published family has it."""
    if config.style == "gpt2":
        return "gpt2"
    extras = {name for name in ("qkv_bias", "qk_norm") if getattr(config, name)}
    for name, has in _FAMILIES.items():
        if extras == set(has):
            return name
    raise ValueError(f"no published family has {' and '.join(sorted(extras))} at once")


def settings(config: Config, *, reward: bool, special_ids: Mapping[str, int] | None = None) -> dict[str, Any]:
    """`config.json` for a model of this shape."""
    model_type = family(config)
    kind = "ForSequenceClassification" if reward else ("LMHeadModel" if config.style == "gpt2" else "ForCausalLM")
    common: dict[str, Any] = {
        "architectures": [f"{_CLASSES[model_type]}{kind}"],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied,
        "torch_dtype": "float32",
        **(special_ids or {}),
        **({"num_labels": 1, "id2label": {"0": "score"}, "label2id": {"score": 0}} if reward else {}),
    }
    if config.style == "gpt2":
        return common | {
            "n_positions": config.max_length,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.hidden_width,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_epsilon,
        }
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling is not None:
        scaling = config.rope_scaling.model_dump()
        rope = {
            "rope_type": "llama3",
            "original_max_position_embeddings": scaling.pop("original_max_length"),
            **scaling,
        }
    return common | {
        "max_position_embeddings": config.max_length,
        "hidden_size": config.width,
        "intermediate_size": config.hidden_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "rope_parameters": {**rope, "rope_theta": config.rope_theta},
        # Programs from before 2026 read this one.
        **({"rope_scaling": rope} if config.rope_scaling is not None else {}),
        "attention_bias": False,
        "mlp_bias": False,
    }


def config_from(raw: Mapping[str, Any]) -> Config:
    """Our Config from a `config.json`. Raises ValueError for a family or an option that the trunk does not have."""
    model_type = raw.get("model_type")
    if model_type == "gpt2":
        _refuse_unless(
            raw,
            activation_function=("gelu_new", "gelu_pytorch_tanh"),
            scale_attn_by_inverse_layer_idx=(False,),
            scale_attn_weights=(True,),
            add_cross_attention=(False,),
        )
        return Config(
            style="gpt2",
            vocab_size=raw["vocab_size"],
            max_length=raw["n_positions"],
            layers=raw["n_layer"],
            width=raw["n_embd"],
            heads=raw["n_head"],
            hidden=raw.get("n_inner") or 4 * raw["n_embd"],
            tied=raw.get("tie_word_embeddings", True),
            norm_epsilon=raw.get("layer_norm_epsilon", 1e-5),
        )
    if model_type not in _FAMILIES:
        raise ValueError(f"model_type {model_type!r} is not supported; {', '.join(SUPPORTED)} are")
    _refuse_unless(raw, hidden_act=("silu",), attention_bias=(False,), mlp_bias=(False,))
    rope = {**(raw.get("rope_scaling") or {}), **(raw.get("rope_parameters") or {})}
    _refuse_unless({**raw, **rope}, partial_rotary_factor=(1, None))
    heads, width = raw["num_attention_heads"], raw["hidden_size"]
    head_size = raw.get("head_dim") or width // heads
    return Config(
        style="llama",
        vocab_size=raw["vocab_size"],
        max_length=min(raw["max_position_embeddings"], _window(raw)),
        layers=raw["num_hidden_layers"],
        width=width,
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_size=None if head_size * heads == width else head_size,
        hidden=raw["intermediate_size"],
        tied=raw.get("tie_word_embeddings", False),
        rope_theta=raw.get("rope_theta") or rope.get("rope_theta", 10_000.0),
        rope_scaling=_rope_scaling(rope),
        norm_epsilon=raw.get("rms_norm_eps", 1e-6),
        **_FAMILIES[model_type],
    )


def _window(raw: Mapping[str, Any]) -> int:
    """How far sliding-window attention looks back. Up to that length it is plain attention, which the trunk has."""
    window = raw.get("sliding_window") if raw.get("use_sliding_window", True) else None
    return int(window or raw["max_position_embeddings"])


def _rope_scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"  # "type" before transformers 4.43
    if kind == "default":
        return None
    if kind != "llama3":
        raise ValueError(f"rope_type {kind!r} is not supported; 'default' and 'llama3' are")
    return RopeScaling(
        factor=rope["factor"],
        low_freq_factor=rope["low_freq_factor"],
        high_freq_factor=rope["high_freq_factor"],
        original_max_length=rope["original_max_position_embeddings"],
    )


def _refuse_unless(raw: Mapping[str, Any], **allowed: tuple[Any, ...]) -> None:
    for key, values in allowed.items():
        if key in raw and raw[key] not in values:
            raise ValueError(f"{key} = {raw[key]!r} is not supported; {' or '.join(map(repr, values))} is")


def export(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Our state_dict under their names. What is whole there is not copied; safetensors takes no views."""
    return {
        name: _alone(tensor)
        for ours, value in state.items()
        for name, tensor in (_gpt2_out(ours, value) if config.style == "gpt2" else _llama_out(ours, value, config))
        if not (config.tied and name == "lm_head.weight")
    }


def _alone(tensor: Tensor) -> Tensor:
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if whole else tensor.contiguous().clone()


def restore(left: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Their tensors under our names. Raises KeyError naming a tensor that is missing, ValueError for one that does not
    fit its neighbours, stands for a layer that `config` does not have, or has no place in the trunk.

    What is read is taken out, so that nothing is in memory twice, and what is left over shows: a model that lost a part
    without a word would answer like another.
    """
    layers = [
        int(found[1]) for name in left if (found := re.match(r"(?:transformer\.|model\.)?(?:h|layers)\.(\d+)\.", name))
    ]
    if layers and max(layers) >= config.layers:
        raise ValueError(f"holds layer {max(layers)}, config.json says there are {config.layers}, counted from 0")
    state = _gpt2_in(left, config) if config.style == "gpt2" else _llama_in(left, config)
    if "score.weight" in left:
        state["score_head.weight"] = left.pop("score.weight")
    elif config.tied:
        state["head.weight"] = embedding = state["embedding.weight"]
        head = left.pop("lm_head.weight", embedding)
        if head.dtype != embedding.dtype or not torch.equal(head, embedding):
            raise ValueError("lm_head.weight is not the embedding, but config.json says tie_word_embeddings = true")
    else:
        state["head.weight"] = left.pop("lm_head.weight")
    if strange := [name for name in left if not re.search(_COMPUTED, name)]:
        raise ValueError(f"the trunk has no place for {', '.join(strange[:3])}")
    return state


def _llama_out(name: str, value: Tensor, config: Config) -> list[tuple[str, Tensor]]:
    layer = re.match(r"trunk\.blocks\.(\d+)\.(.+)", name)
    if layer is None:
        return [(_outer(name, "model.embed_tokens.weight", "model.norm"), value)]
    prefix, part = f"model.layers.{layer[1]}.", layer[2]
    if part.startswith("attention.qkv."):
        kind, sizes = part.rpartition(".")[2], _qkv_sizes(config)
        return [(f"{prefix}self_attn.{n}_proj.{kind}", t) for n, t in zip("qkv", value.split(sizes), strict=True)]
    if part == "feed_forward.gate_up.weight":
        gate, up = value.chunk(2)
        return [(f"{prefix}mlp.gate_proj.weight", gate), (f"{prefix}mlp.up_proj.weight", up)]
    return [(prefix + {ours: theirs for theirs, ours in (_LLAMA | _HEAD_NORMS).items()}[part], value)]


def _llama_in(left: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    state = {
        "embedding.weight": left.pop("model.embed_tokens.weight"),
        "trunk.norm.weight": left.pop("model.norm.weight"),
    }
    sizes = dict(zip("qkv", _qkv_sizes(config), strict=True))
    for layer in range(config.layers):
        theirs, ours = f"model.layers.{layer}.", f"trunk.blocks.{layer}."
        for their_part, our_part in (_LLAMA | (_HEAD_NORMS if config.qk_norm else {})).items():
            state[ours + our_part] = left.pop(theirs + their_part)
        rows = {f"{theirs}self_attn.{name}_proj.weight": (count, config.width) for name, count in sizes.items()}
        state[ours + "attention.qkv.weight"] = _stack(left, rows)
        if config.qkv_bias:
            biases = {f"{theirs}self_attn.{name}_proj.bias": (count,) for name, count in sizes.items()}
            state[ours + "attention.qkv.bias"] = _stack(left, biases)
        rows = {f"{theirs}mlp.{name}_proj.weight": (config.hidden_width, config.width) for name in ("gate", "up")}
        state[ours + "feed_forward.gate_up.weight"] = _stack(left, rows)
    return state


def _qkv_sizes(config: Config) -> tuple[int, int, int]:
    kv = (config.kv_heads or config.heads) * config.head_width
    return config.heads * config.head_width, kv, kv


def _stack(left: dict[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
    for name, shape in shapes.items():
        if left[name].shape != shape:
            raise ValueError(f"{name} is {tuple(left[name].shape)}, config.json says {shape}")
    return torch.cat([left.pop(name) for name in shapes])


def _gpt2_out(name: str, value: Tensor) -> list[tuple[str, Tensor]]:
    layer = re.match(r"trunk\.blocks\.(\d+)\.(.+)\.(weight|bias)", name)
    if layer is None:
        if name == "positions.weight":
            return [("transformer.wpe.weight", value)]
        return [(_outer(name, "transformer.wte.weight", "transformer.ln_f"), value)]
    theirs = {ours: theirs for theirs, ours in _GPT2.items()}[layer[2]]
    # GPT-2's Conv1D keeps its matrices transposed.
    return [(f"transformer.h.{layer[1]}.{theirs}.{layer[3]}", value.t() if value.ndim == 2 else value)]


def _gpt2_in(left: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    # The original GPT-2 upload has no "transformer." prefix.
    prefix = "transformer." if "transformer.wte.weight" in left else ""
    state = {
        "embedding.weight": left.pop(f"{prefix}wte.weight"),
        "positions.weight": left.pop(f"{prefix}wpe.weight"),
        "trunk.norm.weight": left.pop(f"{prefix}ln_f.weight"),
        "trunk.norm.bias": left.pop(f"{prefix}ln_f.bias"),
    }
    for layer in range(config.layers):
        for their_part, our_part in _GPT2.items():
            for kind in ("weight", "bias"):
                value = left.pop(f"{prefix}h.{layer}.{their_part}.{kind}")
                state[f"trunk.blocks.{layer}.{our_part}.{kind}"] = value.t() if value.ndim == 2 else value
    return state


def _outer(name: str, embedding: str, norm: str) -> str:
    fixed = {"embedding.weight": embedding, "head.weight": "lm_head.weight", "score_head.weight": "score.weight"}
    return fixed.get(name) or name.replace("trunk.norm", norm)
