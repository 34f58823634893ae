"""A Llama-style model's whole forward over a KV cache as one compiled function: int8 weights, int16 activations.

For the processor, by Numba. `homeroom.models.compiled` lays weights out for it and is the only one to call it.
Products are of integers, hence exact and the same in every order; everything else is computed for each row alone: a
row's result depends neither on its company nor on how a prompt was cut.
Shapes: N rows (tokens of any requests, each with its slot and position), D width, F hidden width, H heads, K key-value
heads, E width of one head, S slots, T time, V vocabulary, C columns of a matrix, R its rows.
"""

from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from homeroom.models.instructions import (
    LANES,
    ROWS,
    TOKENS,
    mix_eight,
    mix_sixty_four,
    scores,
    tile_one,
    tile_one_add,
    tile_some,
    tile_some_add,
)

Array = np.ndarray[Any, Any]
THREADS = int(numba.config.NUMBA_NUM_THREADS)
_BLOCK = 64  # tokens whose activations stay in the cache while the matrix passes by


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _greatest(columns: int) -> int:
    """The largest activation such that a sum over so many products with int8 weights fits into an int32."""
    return min(2**15 - 1, (2**31 - 1) // (127 * columns))


@intrinsic  # type: ignore[untyped-decorator]
def _as_float(_context: Any, bits: Any) -> Any:
    return types.float32(types.int32), lambda _, b, __, given: b.bitcast(given[0], ir.FloatType())


@njit(error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def _exp(x: Any) -> Any:
    """To 2 units in the last place; written out so that loops over it become vector instructions."""
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    whole = np.floor(x * np.float32(1.442695041) + np.float32(0.5))
    x = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * x + np.float32(1.3981999507e-3)
    y = y * x + np.float32(8.3334519073e-3)
    y = y * x + np.float32(4.1665795894e-2)
    y = y * x + np.float32(1.6666665459e-1)
    y = y * x + np.float32(5.0000001201e-1)
    y = y * x * x + x + np.float32(1.0)
    return y * _as_float((np.int32(whole) + np.int32(127)) << np.int32(23))


@njit(error_model="numpy", fastmath={"nnan", "nsz"})  # type: ignore[untyped-decorator]
def _quantise(x_C: Array, quantised_C: Array, limit: float) -> Any:
    """Round to integers up to `limit`; returns what one of them is worth."""
    largest = np.float32(0)
    for c in range(x_C.shape[0]):
        largest = max(largest, abs(x_C[c]))
    if largest == 0:
        for c in range(x_C.shape[0]):
            quantised_C[c] = 0
        return np.float32(0)
    inverse = np.float32(limit) / largest
    for c in range(x_C.shape[0]):
        quantised_C[c] = np.int16(np.int32(np.rint(x_C[c] * inverse)))
    return largest / np.float32(limit)


@njit(error_model="numpy", fastmath={"contract", "nnan", "nsz", "reassoc"})  # type: ignore[untyped-decorator]
def _squares(x_C: Array) -> Any:
    total = np.float32(0)
    for c in range(x_C.shape[0]):
        total += x_C[c] * x_C[c]
    return total


# Elementwise loops allow no rearranging. One that stores runs in vectors or number by number, as it finds its arrays
# placed in memory, and the two would be rearranged differently: a result would depend on where it happens to lie.
@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _norm(x_C: Array, weight_C: Array, epsilon: float, out_C: Array) -> None:
    """RMSNorm (Zhang & Sennrich 2019)."""
    scale = np.float32(1) / np.sqrt(_squares(x_C) / np.float32(x_C.shape[0]) + np.float32(epsilon))
    for c in range(x_C.shape[0]):
        out_C[c] = x_C[c] * scale * weight_C[c]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _multiply(
    matrix_RC: Array, worth_R: Array, quantised_NC: Array, worth_N: Array, out_NR: Array,
    first: int, last: int, add: bool,
) -> None:  # fmt: skip
    """Rows `first` to `last` of matrix · tokens, into (or onto) their columns of `out_NR`."""
    count, columns, width = quantised_NC.shape[0], matrix_RC.shape[1], out_NR.shape[1]
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        for row in range(first, last, ROWS):
            rows, worth = matrix_RC.ctypes.data + row * columns, worth_R.ctypes.data + row * 4
            token = begin
            while token < end:
                some = token + TOKENS <= end
                activations, worth_here = (
                    quantised_NC.ctypes.data + token * columns * 2,
                    worth_N.ctypes.data + token * 4,
                )
                out = out_NR.ctypes.data + (token * width + row) * 4
                if some and add:
                    tile_some_add(rows, activations, worth, worth_here, out, columns, width)
                elif some:
                    tile_some(rows, activations, worth, worth_here, out, columns, width)
                elif add:
                    tile_one_add(rows, activations, worth, worth_here, out, columns, width)
                else:
                    tile_one(rows, activations, worth, worth_here, out, columns, width)
                token += TOKENS if some else 1


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _share(rows: int, thread: int, threads: int) -> tuple[int, int]:
    """Which rows of a matrix a thread multiplies: whole tiles."""
    each = -(-rows // (threads * ROWS)) * ROWS
    return min(thread * each, rows), min(thread * each + each, rows)


@njit(error_model="numpy", fastmath={"contract", "nnan", "nsz", "reassoc"})  # type: ignore[untyped-decorator]
def _attend(query_E: Array, keys_TE: Array, values_TE: Array, length: int, scores_T: Array, out_E: Array) -> None:
    """softmax(q·kᵀ/√E)·v over the first `length` positions (Vaswani et al. 2017, eq. 1)."""
    width = query_E.shape[0]
    scale = np.float32(1) / np.sqrt(np.float32(width))
    largest = np.float32(-np.inf)
    scores(query_E.ctypes.data, keys_TE.ctypes.data, length, width, scores_T.ctypes.data)
    for t in range(length):
        largest = max(largest, scores_T[t])
    for t in range(length):
        scores_T[t] = _exp((scores_T[t] - largest) * scale)
    total = np.float32(0)
    for t in range(length):
        total += scores_T[t]
    e = 0
    while e < width:
        out, values = out_E.ctypes.data + e * 4, values_TE.ctypes.data + e * 4
        if e + 64 <= width:
            mix_sixty_four(scores_T.ctypes.data, values, length, width, out)
            e += 64
        else:
            mix_eight(scores_T.ctypes.data, values, length, width, out)
            e += 8
    for e in range(width):
        out_E[e] /= total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _norm_rows(
    x_ND: Array, weight_D: Array, epsilon: float, scratch_ND: Array, quantised_NC: Array, worth_N: Array,
    first: int, step: int,
) -> None:  # fmt: skip
    limit = _greatest(quantised_NC.shape[1])
    for n in range(first, x_ND.shape[0], step):
        _norm(x_ND[n, : weight_D.shape[0]], weight_D, epsilon, scratch_ND[n])
        worth_N[n] = _quantise(scratch_ND[n], quantised_NC[n], limit)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _quantise_rows(x_NC: Array, quantised_NC: Array, worth_N: Array, first: int, step: int) -> None:
    limit = _greatest(quantised_NC.shape[1])
    for n in range(first, x_NC.shape[0], step):
        worth_N[n] = _quantise(x_NC[n], quantised_NC[n], limit)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _place_rows(
    qkv_NR: Array, bias_R: Array, head_norms_2E: Array, norm_heads: bool, epsilon: float, cos_TP: Array, sin_TP: Array,
    positions_N: Array, slots_N: Array, keys_SKTE: Array, values_SKTE: Array, heads: int, first: int, step: int,
) -> None:  # fmt: skip
    """Biases, norms and rotation (Su et al. 2021, eq. 34) of queries and keys; keys and values go to the cache."""
    kv_heads, E = keys_SKTE.shape[1], keys_SKTE.shape[3]
    for n in range(first, qkv_NR.shape[0], step):
        row_R, position, slot = qkv_NR[n], positions_N[n], slots_N[n]
        for r in range(bias_R.shape[0]):
            row_R[r] += bias_R[r]
        for head in range(heads + kv_heads):
            head_E = row_R[head * E : head * E + E]
            if norm_heads:
                _norm(head_E, head_norms_2E[0 if head < heads else 1], epsilon, head_E)
            for p in range(E // 2):
                one, other = head_E[p], head_E[E // 2 + p]
                cos, sin = cos_TP[position, p], sin_TP[position, p]
                head_E[p] = one * cos - other * sin
                head_E[E // 2 + p] = other * cos + one * sin
        for head in range(kv_heads):
            key, value = (heads + head) * E, (heads + kv_heads + head) * E
            for e in range(E):
                keys_SKTE[slot, head, position, e] = row_R[key + e]
                values_SKTE[slot, head, position, e] = row_R[value + e]


@njit(error_model="numpy", fastmath={"nnan", "nsz"})  # type: ignore[untyped-decorator]
def _gate(gates_NF: Array, ups_NF: Array, first: int, last: int) -> None:
    """SwiGLU (Shazeer 2020, eq. 6), into the first argument."""
    for n in range(gates_NF.shape[0]):
        gates_F, ups_F = gates_NF[n, first:last], ups_NF[n, first:last]
        for f in range(gates_F.shape[0]):
            x = gates_F[f]
            gates_F[f] = x / (np.float32(1) + _exp(-x)) * ups_F[f]


@njit(error_model="numpy", parallel=True, nogil=True, cache=True)  # type: ignore[untyped-decorator]
def forward(
    tokens_N: Array, positions_N: Array, slots_N: Array, embedding_VC: Array, embedding_worth_V: Array,
    qkv_LRC: Array, qkv_worth_LR: Array, qkv_bias_LR: Array, out_LRC: Array, out_worth_LR: Array,
    gate_LRC: Array, gate_worth_LR: Array, up_LRC: Array, up_worth_LR: Array, down_LRC: Array, down_worth_LR: Array,
    norms_LD: Array, head_norms_L2E: Array, norm_heads: bool, epsilon: float,
    cos_TP: Array, sin_TP: Array, keys_LSKTE: Array, values_LSKTE: Array, heads: int, threads: int,
) -> Array:  # fmt: skip
    """The last norm's output of every row (N, D) in float32; keys and values are written to the rows' slots.

    `norms_LD` holds each layer's two norms and then the last one. Rows of one slot must stand in order.
    """
    N, D = tokens_N.shape[0], norms_LD.shape[1]
    layers, kv_heads, E = keys_LSKTE.shape[0], keys_LSKTE.shape[2], keys_LSKTE.shape[4]
    F, HE = gate_LRC.shape[1], heads * E
    # Results are as wide as the matrices' padded rows.
    x_ND, normed_ND = np.empty((N, out_LRC.shape[1]), np.float32), np.empty((N, D), np.float32)
    qkv_NR, mixed_ND = np.empty((N, qkv_LRC.shape[1]), np.float32), np.empty((N, HE), np.float32)
    gates_NF, ups_NF = np.empty((N, F), np.float32), np.empty((N, F), np.float32)
    # Zeros, because columns are padded.
    input_NC, mixed_NC = np.zeros((N, qkv_LRC.shape[2]), np.int16), np.zeros((N, out_LRC.shape[2]), np.int16)
    gated_NC, worth_N = np.zeros((N, down_LRC.shape[2]), np.int16), np.empty(N, np.float32)
    scores_IT = np.empty((threads, positions_N.max() + 4), np.float32)  # as written by fours
    alone = 2 * threads > N  # a few rows are not worth waking the others
    for n in range(N):
        token = tokens_N[n]
        tile_C = embedding_VC[token // ROWS * ROWS : token // ROWS * ROWS + ROWS].reshape(-1)
        for d in range(D):
            place = d // LANES * LANES * ROWS + token % ROWS * LANES + d % LANES
            x_ND[n, d] = np.float32(tile_C[place]) * embedding_worth_V[token]
    for layer in range(layers):
        if alone:
            _norm_rows(x_ND, norms_LD[2 * layer], epsilon, normed_ND, input_NC, worth_N, 0, 1)
        else:
            for i in prange(threads):
                _norm_rows(x_ND, norms_LD[2 * layer], epsilon, normed_ND, input_NC, worth_N, i, threads)
        for i in prange(threads):
            first, last = _share(qkv_NR.shape[1], i, threads)
            _multiply(qkv_LRC[layer], qkv_worth_LR[layer], input_NC, worth_N, qkv_NR, first, last, False)
        if alone:
            _place_rows(qkv_NR, qkv_bias_LR[layer], head_norms_L2E[layer], norm_heads, epsilon, cos_TP, sin_TP,
                        positions_N, slots_N, keys_LSKTE[layer], values_LSKTE[layer], heads, 0, 1)  # fmt: skip
        else:
            for i in prange(threads):
                _place_rows(qkv_NR, qkv_bias_LR[layer], head_norms_L2E[layer], norm_heads, epsilon, cos_TP, sin_TP,
                            positions_N, slots_N, keys_LSKTE[layer], values_LSKTE[layer], heads,
                            i, threads)  # fmt: skip
        for i in prange(threads):
            for each in range(i, N * heads, threads):
                n, head = each // heads, each % heads
                slot, kv_head = slots_N[n], head // (heads // kv_heads)
                _attend(qkv_NR[n, head * E : head * E + E], keys_LSKTE[layer, slot, kv_head],
                        values_LSKTE[layer, slot, kv_head], positions_N[n] + 1, scores_IT[i],
                        mixed_ND[n, head * E : head * E + E])  # fmt: skip
        if alone:
            _quantise_rows(mixed_ND, mixed_NC, worth_N, 0, 1)
        else:
            for i in prange(threads):
                _quantise_rows(mixed_ND, mixed_NC, worth_N, i, threads)
        for i in prange(threads):
            first, last = _share(x_ND.shape[1], i, threads)
            _multiply(out_LRC[layer], out_worth_LR[layer], mixed_NC, worth_N, x_ND, first, last, True)
        if alone:
            _norm_rows(x_ND, norms_LD[2 * layer + 1], epsilon, normed_ND, input_NC, worth_N, 0, 1)
        else:
            for i in prange(threads):
                _norm_rows(x_ND, norms_LD[2 * layer + 1], epsilon, normed_ND, input_NC, worth_N, i, threads)
        for i in prange(threads):
            first, last = _share(F, i, threads)
            _multiply(gate_LRC[layer], gate_worth_LR[layer], input_NC, worth_N, gates_NF, first, last, False)
            _multiply(up_LRC[layer], up_worth_LR[layer], input_NC, worth_N, ups_NF, first, last, False)
            _gate(gates_NF, ups_NF, first, last)
        if alone:
            _quantise_rows(gates_NF, gated_NC, worth_N, 0, 1)
        else:
            for i in prange(threads):
                _quantise_rows(gates_NF, gated_NC, worth_N, i, threads)
        for i in prange(threads):
            first, last = _share(x_ND.shape[1], i, threads)
            _multiply(down_LRC[layer], down_worth_LR[layer], gated_NC, worth_N, x_ND, first, last, True)
    for n in range(N):
        _norm(x_ND[n, :D], norms_LD[2 * layers], epsilon, normed_ND[n])
    return normed_ND


@njit(error_model="numpy", parallel=True, nogil=True, cache=True)  # type: ignore[untyped-decorator]
def project(x_ND: Array, matrix_RC: Array, worth_R: Array, threads: int) -> Array:
    """x · matrixᵀ (N, R) in float32: logits, where the matrix is the head."""
    N, R = x_ND.shape[0], matrix_RC.shape[0]
    quantised_NC, worth_N = np.zeros((N, matrix_RC.shape[1]), np.int16), np.empty(N, np.float32)
    out_NR = np.empty((N, R), np.float32)
    for n in range(N):
        worth_N[n] = _quantise(x_ND[n], quantised_NC[n], _greatest(quantised_NC.shape[1]))
    for i in prange(threads):
        first, last = _share(R, i, threads)
        _multiply(matrix_RC, worth_R, quantised_NC, worth_N, out_NR, first, last, False)
    return out_NR


def compiled_before() -> bool:
    """Whether this version of the kernels lies compiled on the disk."""
    made = [path.stat().st_mtime for path in Path(forward.stats.cache_path).glob("kernels.forward-*.nbi")]
    return max(made, default=0.0) >= Path(__file__).stat().st_mtime
