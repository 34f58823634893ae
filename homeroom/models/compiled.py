"""An int8 model over a KV cache, computed by `homeroom.models.forward`: what the Engine decodes with on a processor.

Its results do not depend on which other requests are in a batch, nor on how a prompt was cut: to the bit.
Needs Numba and a Llama-style shape; `can_compile` says whether both are there. The first model ever compiles (some ten
seconds), later processes find the result on the disk.
Shapes: L layers, R rows and C columns of a matrix (both padded), V vocabulary, D width, E width of a head, N tokens.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from homeroom.memory import give_back_freed_memory
from homeroom.models import machine_code
from homeroom.models.gpt import GPT, Config, rotary_of
from homeroom.models.int8 import Int8Weights
from homeroom.models.job import FORWARD, PROJECT, Array, Job, waits
from homeroom.models.kv_cache import KVCache, Piece
from homeroom.models.machine_code import CannotCompile, Code
from homeroom.models.team import Team
from homeroom.progress import say

_AT_ONCE = 128  # rows: more at a time read a prompt no faster, and need the room


def can_compile(config: Config) -> bool:
    """Whether the kernels know this shape, and what compiles them is installed."""
    return config.style == "llama" and config.head_width % 8 == 0 and machine_code.is_installed()


class CompiledGPT:
    """The weights of one model, laid out for the kernels."""

    device = torch.device("cpu")
    version = 0  # its weights never change

    def __init__(self, weights: Int8Weights) -> None:
        self.config = config = weights.config
        if not can_compile(config):
            raise ValueError("the compiled forward knows Llama-style models with heads of a multiple of 8 alone")
        code, self._team, self._threads = _crew()
        tensors = weights.tensors

        def layers(part: str, take: slice = slice(None)) -> Iterator[Tensor]:
            return (tensors[f"trunk.blocks.{layer}.{part}"][take] for layer in range(config.layers))

        def pack(name: str, take: slice = slice(None)) -> tuple[Array, Array]:
            matrices, scales = layers(f"{name}.weight", take), layers(f"{name}.scale", take)
            return _packed(matrices, scales, config.layers, code)

        hidden = config.hidden_width

        def table(name: str) -> tuple[Array, Array]:
            weight, scale = tensors[f"{name}.weight"], tensors[f"{name}.scale"]
            packed_1RC, worth_1R = _packed([weight], [scale], 1, code)
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
        rotary = rotary_of(config)
        gate, up = pack("feed_forward.gate_up", slice(hidden)), pack("feed_forward.gate_up", slice(hidden, None))
        down = pack("feed_forward.down")
        self._forward = Job(
            kind=FORWARD, layers=config.layers, width=config.width, heads=config.heads,
            kv_heads=config.kv_heads or config.heads, head_width=config.head_width, norm_heads=config.qk_norm,
            positions=config.max_length, epsilon=config.norm_epsilon,
            embedding_rows=embedding[0].shape[0], embedding_columns=embedding[0].shape[1],
            qkv_rows=qkv[0].shape[1], qkv_columns=qkv[0].shape[2], out_rows=out[0].shape[1],
            out_columns=out[0].shape[2], gate_rows=gate[0].shape[1], down_columns=down[0].shape[2],
            embedding_RC=embedding[0], embedding_worth_R=embedding[1], qkv_LRC=qkv[0], qkv_worth_LR=qkv[1],
            qkv_bias_LR=bias_LR, out_LRC=out[0], out_worth_LR=out[1], gate_LRC=gate[0], gate_worth_LR=gate[1],
            up_LRC=up[0], up_worth_LR=up[1], down_LRC=down[0], down_worth_LR=down[1],
            norms_LD=torch.stack([*norms, tensors["trunk.norm.weight"]]).numpy(), head_norms_L2E=head_norms_L2E,
            cos_TP=rotary.cos_TE.numpy(), sin_TP=rotary.sin_TE.numpy(),
        )  # fmt: skip

    def warm_up(self) -> None:
        """Touch what the first step needs now instead of when somebody waits."""
        self.logits(self.read(self.new_cache(1, 4), [Piece(0, 0, [0])]))

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """PyTorch with one thread: after each operation its others go on spinning, in case there is more to do, for
        milliseconds in which the kernels would need the processor (a step of 16 rows took a third longer)."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def new_cache(self, slots: int, length: int) -> KVCache:
        config = self.config
        heads = config.kv_heads or config.heads
        return KVCache(config.layers, slots, heads, length, config.head_width, dtype=torch.float16)

    def fits(self, cache: KVCache) -> bool:
        return True

    def read(self, cache: KVCache, pieces: Sequence[Piece]) -> Tensor:
        """The hidden states (N, D) of all pieces' tokens, in their order."""
        tokens_N = np.array([token for piece in pieces for token in piece.token_ids], np.int64)
        positions_N = np.concatenate([np.arange(p.start, p.start + len(p.token_ids)) for p in pieces])
        slots_N = np.repeat([piece.slot for piece in pieces], [len(piece.token_ids) for piece in pieces])
        with torch.inference_mode(False):
            hidden_ND = torch.empty((len(tokens_N), self.config.width))
        keys_LSKTE, values_LSKTE = cache.keys_LSKTE.numpy(), cache.values_LSKTE.numpy()
        for first in range(0, len(tokens_N), _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            job = self._forward.with_(
                tokens_N=tokens_N[rows], positions_N=positions_N[rows], slots_N=slots_N[rows],
                keys_LSKTE=keys_LSKTE, values_LSKTE=values_LSKTE, slots=keys_LSKTE.shape[1], cached=keys_LSKTE.shape[3],
                normed_ND=hidden_ND[rows].numpy(),
                **self._room(len(tokens_N[rows]), int(positions_N[rows].max()) + 1),
            )  # fmt: skip
            self._team.do(job, waits(self.config.layers), self._threads)
        return hidden_ND

    def _room(self, count: int, extent: int) -> dict[str, Array | float]:
        """What a forward of so many rows needs besides, where attention looks at up to `extent` positions."""
        told, T = self._forward.record[0], self._threads
        fold = few(count, T)
        copies = T if fold else 1
        floats = {
            "x_NR": (count, told["out_rows"]), "qkv_NR": (count, told["qkv_rows"]),
            "mixed_ND": (count, told["heads"] * told["head_width"]), "gates_NF": (count, told["gate_rows"]),
            "ups_NF": (count, told["gate_rows"]), "worth_IN": (copies, count), "scratch_ID": (T, told["width"]),
            "scores_IT": (T, extent + 4),  # written by fours
        }  # fmt: skip
        # Zeros, because columns are padded.
        halves = {"input_INC": "qkv_columns", "mixed_INC": "out_columns", "gated_INC": "down_columns"}
        return {
            "count": count, "fold": fold, "extent": extent + 4,
            **{name: np.empty(shape, np.float32) for name, shape in floats.items()},
            **{name: np.zeros((copies, count, told[columns]), np.int16) for name, columns in halves.items()},
        }  # fmt: skip

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, V) in float32."""
        logits_NR = project(hidden_ND.numpy(), *self._head, self._threads)
        return torch.from_numpy(logits_NR)[:, : self.config.vocab_size]


def project(x_ND: Array, packed_RC: Array, worth_R: Array, threads: int) -> Array:
    """x · matrixᵀ (N, R) in float32."""
    count, (rows, columns) = len(x_ND), packed_RC.shape
    fold = few(count, threads)
    copies = threads if fold else 1
    result_NR = np.empty((count, rows), np.float32)
    job = Job(
        kind=PROJECT, count=count, fold=fold, width=x_ND.shape[1], matrix_rows=rows, matrix_columns=columns,
        x_NR=np.ascontiguousarray(x_ND), matrix_RC=packed_RC, matrix_worth_R=worth_R, result_NR=result_NR,
        input_INC=np.zeros((copies, count, columns), np.int16), worth_IN=np.empty((copies, count), np.float32),
    )  # fmt: skip
    _crew()[1].do(job, waits(0), threads)
    return result_NR


def few(count: int, threads: int) -> bool:
    """Whether threads make the rows' inputs each for itself, which costs less than to wait for one another."""
    return count < 2 * threads


@functools.cache
def _crew() -> tuple[Code, Team, int]:
    """The code, who runs it, and how many: as torch was told at first, for `quietly` tells it otherwise."""
    code = machine_code.load()
    return code, Team(code.work), torch.get_num_threads()


def decodable(weights: Int8Weights) -> CompiledGPT | GPT:
    """What an Engine decodes int8 weights with here. Without Numba, or in another shape, they become float32 again."""
    if not can_compile(weights.config):
        return weights.restored()
    if not machine_code.compiled_before():
        say("engine", "compiling for this processor: some ten seconds, once")
    try:
        model = CompiledGPT(weights)
    except CannotCompile as error:
        say("engine", f"{error}; computing in float32, several times slower")
        return weights.restored()
    give_back_freed_memory()  # what tensors passed through on their way
    model.warm_up()
    return model


def _packed(matrices: Iterable[Tensor], scales: Iterable[Tensor], layers: int, code: Code) -> tuple[Array, Array]:
    """Matrices one behind the other (L, R, C) in the order in which a tile reads them, and their scales (L, R).

    Four rows' next numbers stand side by side: the processor then sees one stream, which it fetches ahead of need.
    """
    packed_LRC = worth_LR = np.zeros((0, 0))
    for layer, (matrix, scale) in enumerate(zip(matrices, scales, strict=True)):
        rows, columns = matrix.shape
        R, C = -(-rows // code.rows) * code.rows, -(-columns // 64) * 64
        if layer == 0:
            packed_LRC, worth_LR = np.zeros((layers, R, C), np.int8), np.zeros((layers, R), np.float32)
        padded_RC = np.zeros((R, C), np.int8)
        padded_RC[:rows, :columns] = matrix.numpy()
        tiles = padded_RC.reshape(R // code.rows, code.rows, C // code.lanes, code.lanes).transpose(0, 2, 1, 3)
        packed_LRC[layer] = tiles.reshape(R, C)
        worth_LR[layer, :rows] = scale.numpy()
    return packed_LRC, worth_LR
