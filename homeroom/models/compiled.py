"""An int8 model over a KV cache, computed by `homeroom.models.kernels`: what the Engine decodes with on a processor.

Its results do not depend on which other requests are in a batch, nor on how a prompt was cut: to the bit.
Needs Numba and a Llama-style shape; `compiled` says whether there is one. The first call compiles (tens of seconds),
later processes find the result on the disk.
Shapes: L layers, R rows and C columns of a matrix (both padded), V vocabulary, D width, E width of a head, N tokens.
"""

import importlib.util
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from homeroom.memory import give_back_freed_memory
from homeroom.models.gpt import GPT, Config
from homeroom.models.int8 import Int8Weights
from homeroom.models.kv_cache import KVCache, Piece
from homeroom.models.positions import Rotary
from homeroom.progress import say

Array = np.ndarray[Any, Any]
_one_at_a_time = threading.Lock()  # one of Numba's threading layers ends the process when two threads enter it


def can_compile(config: Config) -> bool:
    """Whether the kernels know this shape, and what compiles them is installed."""
    return config.style == "llama" and config.head_width % 8 == 0 and importlib.util.find_spec("numba") is not None


class CompiledGPT:
    """The weights of one model, laid out for the kernels."""

    device = torch.device("cpu")
    version = 0  # its weights never change

    def __init__(self, weights: Int8Weights) -> None:
        from homeroom.models import instructions, kernels

        self.config = config = weights.config
        if not can_compile(config):
            raise ValueError("the compiled forward knows Llama-style models with heads of a multiple of 8 alone")
        self._kernels = kernels
        self._threads = min(torch.get_num_threads(), kernels.THREADS)
        tensors = weights.tensors

        def layers(part: str, take: slice = slice(None)) -> Iterator[Tensor]:
            return (tensors[f"trunk.blocks.{layer}.{part}"][take] for layer in range(config.layers))

        def pack(name: str, take: slice = slice(None)) -> tuple[Array, Array]:
            matrices, scales = layers(f"{name}.weight", take), layers(f"{name}.scale", take)
            return _packed(matrices, scales, config.layers, instructions.LANES)

        hidden = config.hidden_width

        def table(name: str) -> tuple[Array, Array]:
            weight, scale = tensors[f"{name}.weight"], tensors[f"{name}.scale"]
            packed_1RC, worth_1R = _packed([weight], [scale], 1, instructions.LANES)
            return packed_1RC[0], worth_1R[0]

        # A tied model has one table, in the head's layout; looking a row up in it costs nothing to speak of.
        embedding = table("embedding")
        self._head = embedding if config.tied else table("head")
        qkv, out = pack("attention.qkv"), pack("attention.out")
        bias_LR = np.zeros((config.layers, qkv[0].shape[1]), np.float32)
        if config.qkv_bias:
            biases_LR = torch.stack(list(layers("attention.qkv.bias")))
            bias_LR[:, : biases_LR.shape[1]] = biases_LR.numpy()
        norms = [
            norm
            for pair in zip(layers("attention_norm.weight"), layers("feed_forward_norm.weight"), strict=True)
            for norm in pair
        ]
        head_norms_L2E = np.ones((config.layers, 2, config.head_width), np.float32)
        if config.qk_norm:
            head_norms_L2E[:, 0] = torch.stack(list(layers("attention.query_norm.weight"))).numpy()
            head_norms_L2E[:, 1] = torch.stack(list(layers("attention.key_norm.weight"))).numpy()
        rotary = Rotary(config.head_width, config.max_length, config.rope_theta, config.rope_scaling)
        self._weights = (
            *embedding,
            *qkv, bias_LR, *out,
            *pack("feed_forward.gate_up", slice(hidden)), *pack("feed_forward.gate_up", slice(hidden, None)),
            *pack("feed_forward.down"),
            torch.stack([*norms, tensors["trunk.norm.weight"]]).numpy(), head_norms_L2E, config.qk_norm,
            config.norm_epsilon, rotary.cos_TE.numpy(), rotary.sin_TE.numpy(),
        )  # fmt: skip

    @property
    def compiled_before(self) -> bool:
        """Whether an earlier process left the compiled kernels on this disk."""
        return self._kernels.compiled_before()

    def warm_up(self) -> None:
        """Compile, or load what was compiled, now instead of when somebody waits."""
        self.logits(self.read(self.new_cache(1, 4), [Piece(0, 0, [0])]))

    def new_cache(self, slots: int, length: int) -> KVCache:
        config = self.config
        return KVCache(config.layers, slots, config.kv_heads or config.heads, length, config.head_width)

    def fits(self, cache: KVCache) -> bool:
        return True

    def read(self, cache: KVCache, pieces: Sequence[Piece]) -> Tensor:
        """The hidden states (N, D) of all pieces' tokens, in their order."""
        tokens_N = np.array([token for piece in pieces for token in piece.token_ids], np.int64)
        positions_N = np.concatenate([np.arange(p.start, p.start + len(p.token_ids)) for p in pieces])
        slots_N = np.repeat([piece.slot for piece in pieces], [len(piece.token_ids) for piece in pieces])
        with _one_at_a_time:
            hidden_ND = self._kernels.forward(
                tokens_N, positions_N, slots_N, *self._weights,
                cache.keys_LSKTE.numpy(), cache.values_LSKTE.numpy(), self.config.heads, self._threads,
            )  # fmt: skip
        return torch.from_numpy(hidden_ND)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, V) in float32."""
        with _one_at_a_time:
            logits_NR = self._kernels.project(hidden_ND.numpy(), *self._head, self._threads)
        return torch.from_numpy(logits_NR)[:, : self.config.vocab_size]


def decodable(weights: Int8Weights) -> CompiledGPT | GPT:
    """What an Engine decodes int8 weights with here. Without Numba, or in another shape, they become float32 again."""
    if not can_compile(weights.config):
        return weights.restored()
    model = CompiledGPT(weights)
    give_back_freed_memory()  # what tensors passed through on their way
    if not model.compiled_before:
        say("engine", "compiling for this processor: half a minute, once")
    model.warm_up()
    return model


def _packed(matrices: Iterable[Tensor], scales: Iterable[Tensor], layers: int, lanes: int) -> tuple[Array, Array]:
    """Matrices one behind the other (L, R, C) in the order in which a tile reads them, and their scales (L, R).

    Four rows' next numbers stand side by side: the processor then sees one stream, which it fetches ahead of need.
    """
    packed_LRC = worth_LR = np.zeros((0, 0))
    for layer, (matrix, scale) in enumerate(zip(matrices, scales, strict=True)):
        rows, columns = matrix.shape
        R, C = -(-rows // 4) * 4, -(-columns // 64) * 64
        if layer == 0:
            packed_LRC, worth_LR = np.zeros((layers, R, C), np.int8), np.zeros((layers, R), np.float32)
        padded_RC = np.zeros((R, C), np.int8)
        padded_RC[:rows, :columns] = matrix.numpy()
        tiles = padded_RC.reshape(R // 4, 4, C // lanes, lanes).transpose(0, 2, 1, 3)
        packed_LRC[layer] = tiles.reshape(R, C)
        worth_LR[layer, :rows] = scale.numpy()
    return packed_LRC, worth_LR
