"""The Hugging Face folder layout: names and shapes of GPT-2 and Llama checkpoints to ours and back.

Only renames, splits and transposes; reading files and refusing bad ones is `homeroom.models.checkpoint`'s.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from homeroom.models.gpt import Config

_LLAMA = {  # theirs → ours, within a layer
    "input_layernorm.weight": "attention_norm.weight",
    "self_attn.o_proj.weight": "attention.out.weight",
    "post_attention_layernorm.weight": "feed_forward_norm.weight",
    "mlp.down_proj.weight": "feed_forward.down.weight",
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


def settings(config: Config, *, reward: bool, special_ids: Mapping[str, int] | None = None) -> dict[str, Any]:
    """`config.json` for a model of this shape."""
    kind = "ForSequenceClassification" if reward else ("LMHeadModel" if config.style == "gpt2" else "ForCausalLM")
    common: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied,
        "torch_dtype": "float32",
        **(special_ids or {}),
        **({"num_labels": 1, "id2label": {"0": "score"}, "label2id": {"score": 0}} if reward else {}),
    }
    if config.style == "gpt2":
        return common | {
            "architectures": [f"GPT2{kind}"],
            "model_type": "gpt2",
            "n_positions": config.max_length,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.hidden_width,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_epsilon,
        }
    return common | {
        "architectures": [f"Llama{kind}"],
        "model_type": "llama",
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
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
    }


def config_from(raw: Mapping[str, Any]) -> Config:
    """Our Config from a `config.json`. Raises ValueError for a family or an option that the trunk does not have."""
    family = raw.get("model_type")
    if family == "gpt2":
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
    if family == "llama":
        _refuse_unless(raw, hidden_act=("silu",), attention_bias=(False,), mlp_bias=(False,))
        rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
        rope_type = rope.get("rope_type") or rope.get("type") or "default"  # "type" before transformers 4.43
        if rope_type != "default":
            raise ValueError(f"rope_type {rope_type!r} is not supported; 'default' is")
        _refuse_unless({**raw, **rope}, partial_rotary_factor=(1, None))
        heads = raw["num_attention_heads"]
        if raw.get("head_dim") not in (None, raw["hidden_size"] // heads):
            raise ValueError(f"head_dim {raw['head_dim']} differs from hidden_size / heads, which is not supported")
        return Config(
            style="llama",
            vocab_size=raw["vocab_size"],
            max_length=raw["max_position_embeddings"],
            layers=raw["num_hidden_layers"],
            width=raw["hidden_size"],
            heads=heads,
            kv_heads=raw.get("num_key_value_heads") or heads,
            hidden=raw["intermediate_size"],
            tied=raw.get("tie_word_embeddings", False),
            rope_theta=raw.get("rope_theta") or rope.get("rope_theta", 10_000.0),
            norm_epsilon=raw.get("rms_norm_eps", 1e-6),
        )
    raise ValueError(f"model_type {family!r} is not supported; gpt2 and llama are")


def _refuse_unless(raw: Mapping[str, Any], **allowed: tuple[Any, ...]) -> None:
    for key, values in allowed.items():
        if key in raw and raw[key] not in values:
            raise ValueError(f"{key} = {raw[key]!r} is not supported; {' or '.join(map(repr, values))} is")


def export(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Our state_dict under their names."""
    return {
        name: tensor.contiguous().clone()
        for ours, value in state.items()
        for name, tensor in (_gpt2_out(ours, value) if config.style == "gpt2" else _llama_out(ours, value, config))
        if not (config.tied and name == "lm_head.weight")
    }


def restore(tensors: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Their tensors under our names. Raises KeyError naming a tensor that is missing, ValueError for one that does not
    fit its neighbours, stands for a layer that `config` does not have, or has no place in the trunk."""
    left = dict(tensors)  # what is read is taken out: a model that lost a part without a word would answer like another
    layers = [
        int(found[1])
        for name in tensors
        if (found := re.match(r"(?:transformer\.|model\.)?(?:h|layers)\.(\d+)\.", name))
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
    if part == "attention.qkv.weight":
        kv = (config.kv_heads or config.heads) * config.head_width
        query, key, val = value.split((config.width, kv, kv))
        return [(f"{prefix}self_attn.{n}_proj.weight", t) for n, t in (("q", query), ("k", key), ("v", val))]
    if part == "feed_forward.gate_up.weight":
        gate, up = value.chunk(2)
        return [(f"{prefix}mlp.gate_proj.weight", gate), (f"{prefix}mlp.up_proj.weight", up)]
    return [(prefix + {ours: theirs for theirs, ours in _LLAMA.items()}[part], value)]


def _llama_in(left: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    state = {
        "embedding.weight": left.pop("model.embed_tokens.weight"),
        "trunk.norm.weight": left.pop("model.norm.weight"),
    }
    for layer in range(config.layers):
        theirs, ours = f"model.layers.{layer}.", f"trunk.blocks.{layer}."
        for their_part, our_part in _LLAMA.items():
            state[ours + our_part] = left.pop(theirs + their_part)
        kv = (config.kv_heads or config.heads) * config.head_width
        rows = {
            f"{theirs}self_attn.{name}_proj.weight": count
            for name, count in zip("qkv", (config.width, kv, kv), strict=True)
        }
        state[ours + "attention.qkv.weight"] = _stack(left, rows, config.width)
        rows = {f"{theirs}mlp.{name}_proj.weight": config.hidden_width for name in ("gate", "up")}
        state[ours + "feed_forward.gate_up.weight"] = _stack(left, rows, config.width)
    return state


def _stack(left: dict[str, Tensor], rows: Mapping[str, int], columns: int) -> Tensor:
    for name, count in rows.items():
        if left[name].shape != (count, columns):
            raise ValueError(f"{name} is {tuple(left[name].shape)}, config.json says {(count, columns)}")
    return torch.cat([left.pop(name) for name in rows])


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
