"""GGUF files (llama.cpp's format): read as the Hugging Face layout that they were converted from, and written.

Quantised blocks are decoded to float32 by the `gguf` package. The tokenizer's metadata is passed through: what it means
is `homeroom.text.gguf_tokenizer`'s business, refusing bad files `homeroom.models.checkpoint`'s.
Shapes: H heads, E width of one head, P pairs of it, D width.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType
from torch import Tensor

from homeroom.models.formats import hugging_face
from homeroom.models.gpt import Config
from homeroom.models.positions import RopeScaling

Quantisation = Literal["F32", "F16", "Q8_0"]
_FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7}  # llama.cpp's llama_ftype
_LARGEST_F16 = 65504.0
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_LAYER_GPT2 = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
# How Meta made Llama 3.1 and 3.2; of other programs a GGUF file holds only what follows from it.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_length": 8192}
_SCALING = "homeroom.rope_scaling."  # so of ours it holds the reasons too


@dataclass(frozen=True)
class Read:
    """A GGUF file as a `config.json`, tensors under Hugging Face's names, and everything else that it says."""

    settings: dict[str, Any]
    tensors: dict[str, Tensor]
    metadata: dict[str, object]


class _Reader(gguf.GGUFReader):  # type: ignore[misc]
    """One that stops where the file does. The package's own reads on in nothing: a list that says it has 2⁶⁰ items kept
    it busy until the memory was full."""

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
        if int(offset) + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("it ends in the middle")
        return super()._get(offset, dtype, count, override_order)


def read(path: Path) -> Read:
    """Raises ValueError and what a damaged file leads the reader to: IndexError, KeyError, OverflowError …"""
    reader = _Reader(path)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    family = str(metadata.get("general.architecture"))
    if family not in hugging_face.SUPPORTED:
        raise ValueError(f"architecture {family!r} is not supported; {', '.join(hugging_face.SUPPORTED)} are")
    found = {tensor.name: tensor for tensor in reader.tensors}
    if "token_embd.weight" not in found:
        raise KeyError("token_embd.weight")
    settings = _settings(metadata, family)
    settings["vocab_size"] = int(found["token_embd.weight"].shape[1])
    settings["tie_word_embeddings"] = "output.weight" not in found
    if "rope_freqs.weight" in found:
        settings["rope_parameters"] |= _scaling_from(_decoded(found.pop("rope_freqs.weight")), settings, metadata)
    config = hugging_face.config_from(settings)
    tensors = {}
    for name, tensor in found.items():
        theirs = _translate(name, family)
        tensors[theirs] = _turned(theirs, _decoded(tensor), config, family, _halves)
    return Read(settings, tensors, metadata)


def write(
    path: Path,
    config: Config,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, object],
    quantisation: Quantisation = "F16",
) -> None:
    """A model of ours (its `state_dict`) as a GGUF file. `metadata` is its tokenizer's, and a name if it has one.
    Raises ValueError for weights that are too large for the type.

    Vectors stay float32, and so do matrices that Q8_0's blocks of 32 do not divide.
    """
    family = hugging_face.family(config)
    writer = gguf.GGUFWriter(path, family)
    said = _metadata_of(config, family) | {"general.file_type": _FILE_TYPES[quantisation]} | dict(metadata)
    for key, value in said.items():
        _add(writer, key, value)
    if config.rope_scaling is not None:
        writer.add_tensor("rope_freqs.weight", _rope_factors(config.rope_scaling, config).numpy())
    theirs_to_ours = _names(family)
    for name, value in hugging_face.export(state, config).items():
        weights = _turned(name, value, config, family, _pairs).float().contiguous().numpy()
        layer = re.match(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)\.(weight|bias)$", name)
        stem, kind = (layer[2], layer[3]) if layer else name.rsplit(".", 1)
        here = theirs_to_ours[stem] + "." + kind
        _add_tensor(writer, f"blk.{layer[1]}.{here}" if layer else here, weights, quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _settings(metadata: Mapping[str, object], family: str) -> dict[str, Any]:
    def said(key: str, default: Any = ...) -> Any:
        name = f"{family}.{key}"
        value = metadata.get(name, default)
        if value is ...:
            raise KeyError(name)
        if isinstance(value, list):  # a number for each layer
            if len(set(value)) != 1:
                raise ValueError(f"{name} differs from layer to layer, which is not supported")
            value = value[0]
        return value

    heads, width = said("attention.head_count"), said("embedding_length")
    if family == "gpt2":
        return {
            "model_type": "gpt2",
            "n_positions": said("context_length"),
            "n_embd": width,
            "n_layer": said("block_count"),
            "n_head": heads,
            "n_inner": said("feed_forward_length"),
            "activation_function": "gelu_new",
            "layer_norm_epsilon": _decimal(said("attention.layer_norm_epsilon")),
        }
    head_width = said("attention.key_length", width // heads)
    for key, allowed in (
        ("rope.dimension_count", head_width),
        ("attention.value_length", head_width),
        ("expert_count", 0),
        ("rope.scaling.type", "none"),
    ):
        if said(key, allowed) != allowed:
            raise ValueError(f"{family}.{key} = {said(key)!r} is not supported; {allowed!r} is")
    return {
        "model_type": family,
        "max_position_embeddings": said("context_length"),
        "sliding_window": said("attention.sliding_window", None),
        "hidden_size": width,
        "intermediate_size": said("feed_forward_length"),
        "num_hidden_layers": said("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": said("attention.head_count_kv", heads),
        "head_dim": head_width,
        "hidden_act": "silu",
        "rms_norm_eps": _decimal(said("attention.layer_norm_rms_epsilon")),
        "rope_parameters": {"rope_type": "default", "rope_theta": _decimal(said("rope.freq_base", 10_000.0))},
    }


def _metadata_of(config: Config, family: str) -> dict[str, object]:
    common: dict[str, object] = {
        "block_count": config.layers,
        "context_length": config.max_length,
        "embedding_length": config.width,
        "feed_forward_length": config.hidden_width,
        "attention.head_count": config.heads,
    }
    if family == "gpt2":
        common["attention.layer_norm_epsilon"] = config.norm_epsilon
    else:
        common |= {
            "attention.head_count_kv": config.kv_heads or config.heads,
            "attention.key_length": config.head_width,
            "attention.value_length": config.head_width,
            "attention.layer_norm_rms_epsilon": config.norm_epsilon,
            "rope.dimension_count": config.head_width,
            "rope.freq_base": config.rope_theta,
            "vocab_size": config.vocab_size,
        }
    scaling = config.rope_scaling.model_dump() if config.rope_scaling is not None else {}
    return (
        {f"{family}.{key}": value for key, value in common.items()}
        | {f"{_SCALING}{key}": value for key, value in scaling.items()}
        | {"general.quantization_version": 2}
    )


def _add(writer: gguf.GGUFWriter, key: str, value: object) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list() | tuple():
            writer.add_array(key, value)
        case _:
            raise TypeError(f"{key} = {value!r} has no place in a GGUF file")


def _add_tensor(writer: gguf.GGUFWriter, name: str, weights: np.ndarray[Any, Any], quantisation: Quantisation) -> None:
    if weights.ndim < 2 or quantisation == "F32" or (quantisation == "Q8_0" and weights.shape[-1] % 32):
        writer.add_tensor(name, weights)
        return
    # Of Q8_0 a block's largest weight is 127 times its scale, which is an F16 too.
    most = _LARGEST_F16 * (127 if quantisation == "Q8_0" else 1)
    if not (largest := float(np.abs(weights).max(initial=0))) <= most:
        raise ValueError(f"{name} holds {largest:g}, and {quantisation} only goes to {most:g}; F32 holds it")
    kind = GGMLQuantizationType[quantisation]
    writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=None if quantisation == "F16" else kind)


def _decoded(tensor: gguf.ReaderTensor) -> Tensor:
    shape = tuple(int(size) for size in reversed(tensor.shape))
    # A copy: the file's pages are no memory to keep weights in.
    return torch.from_numpy(np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type)).reshape(shape))


def _names(family: str) -> dict[str, str]:
    """Theirs (within a layer) → GGUF's."""
    outer, layer = (_OUTER_GPT2, _LAYER_GPT2) if family == "gpt2" else (_OUTER, _LAYER)
    return {theirs: ours for ours, theirs in (outer | layer).items()}


def _translate(name: str, family: str) -> str:
    """GGUF's name → theirs. What is not known stays as it is, and `hugging_face.restore` then names it."""
    outer, layer = (_OUTER_GPT2, _LAYER_GPT2) if family == "gpt2" else (_OUTER, _LAYER)
    prefix = "transformer.h" if family == "gpt2" else "model.layers"
    if (found := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)) and found[2] in layer:
        return f"{prefix}.{found[1]}.{layer[found[2]]}.{found[3]}"
    stem, _, kind = name.rpartition(".")
    return f"{outer[stem]}.{kind}" if stem in outer else name


def _turned(name: str, value: Tensor, config: Config, family: str, order: Callable[[Tensor, int], Tensor]) -> Tensor:
    """What the two layouts keep otherwise: GPT-2's matrices are transposed, and llama.cpp turns Llama's neighbouring
    dimensions of a head where Hugging Face turns its two halves (Qwen's it turns in halves as well)."""
    if family == "gpt2" and value.ndim == 2 and ".h." in name:
        return value.t()
    if family in ("llama", "mistral") and re.search(r"self_attn\.[qk]_proj\.weight$", name):
        heads = config.heads if ".q_proj." in name else config.kv_heads or config.heads
        if value.shape[0] == heads * config.head_width:  # else it is refused later, with its shape
            return order(value, heads)
    return value


def _halves(value: Tensor, heads: int) -> Tensor:
    """Rows of each head from pairs (first, second, first, second …) to halves (all first, all second)."""
    return value.view(heads, -1, 2, value.shape[1]).transpose(1, 2).reshape(value.shape)


def _pairs(value: Tensor, heads: int) -> Tensor:
    return value.view(heads, 2, -1, value.shape[1]).transpose(1, 2).reshape(value.shape)


def _rope_factors(scaling: RopeScaling, config: Config) -> Tensor:
    """By how much each pair turns more slowly (P,)."""
    width = config.head_width
    inverse_P = config.rope_theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    return inverse_P / scaling.apply(inverse_P)


def _scaling_from(factors_P: Tensor, settings: Mapping[str, Any], metadata: Mapping[str, object]) -> dict[str, Any]:
    given = {key.removeprefix(_SCALING): value for key, value in metadata.items() if key.startswith(_SCALING)}
    if not float(factors_P.min()) > 0:  # NaN neither
        raise ValueError("rope_freqs.weight holds factors that are not above 0")
    if given:
        scaling = RopeScaling.model_validate(
            {key: _decimal(value) if isinstance(value, float) else value for key, value in given.items()}
        )
    else:
        scaling = RopeScaling(factor=float(factors_P.max()), **_LLAMA3)
    expected_P = _rope_factors(scaling, hugging_face.config_from(settings))
    if expected_P.shape != factors_P.shape or not torch.allclose(expected_P, factors_P, rtol=1e-3):
        raise ValueError("rope_freqs.weight holds other factors than Llama 3.1's, which is not supported")
    said = scaling.model_dump()
    return {"rope_type": "llama3", "original_max_position_embeddings": said.pop("original_max_length"), **said}


def _decimal(value: float) -> float:
    """A float32 as the number that was meant: 9.99999975e-06 is 1e-05."""
    return float(f"{value:.7g}")
