"""What the compiled forward computes of rows and tiles: int8 weights, int16 activations, float16 keys and values.

For Numba; `homeroom.models.forward` says which thread computes what and when. Products are of integers, hence exact
and the same in every order; everything else is computed for each row alone: a row's result depends neither on its
company nor on how a prompt was cut.
Shapes: N rows (tokens of any requests, each with its slot and position), D width, F hidden width, H heads, K key-value
heads, E width of one head, S slots, T time, C columns of a matrix, R its rows.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from homeroom.models.instructions import (
    LANES,
    ROWS,
    TOKENS,
    halve,
    largest,
    largest_absolute,
    mix_eight,
    mix_sixty_four,
    scores,
    tile_one,
    tile_one_add,
    tile_some,
    tile_some_add,
)

Array = np.ndarray[Any, Any]
_BLOCK = 64  # tokens whose activations stay in the cache while the matrix passes by


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_context: Any, address: Any) -> Any:
    return types.voidptr(types.int64), lambda _, b, __, given: b.inttoptr(given[0], ir.IntType(8).as_pointer())


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def floats(address: int, rows: int, columns: int) -> Any:
    return carray(pointer(address), (rows, columns), np.float32)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def bytes_(address: int, rows: int, columns: int) -> Any:
    return carray(pointer(address), (rows, columns), np.int8)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def halves(address: int, copy: int, rows: int, columns: int) -> Any:
    return carray(pointer(address + 2 * copy * rows * columns), (rows, columns), np.int16)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def words(address: int, count: int) -> Any:
    return carray(pointer(address), (count,), np.int64)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def greatest(columns: int) -> int:
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
    whole = x_C.shape[0] // 8 * 8
    top = largest_absolute(x_C.ctypes.data, whole)
    for c in range(whole, x_C.shape[0]):
        top = max(top, abs(x_C[c]))
    inverse = np.float32(limit) / top if top > 0 else np.float32(0)
    for c in range(x_C.shape[0]):
        quantised_C[c] = np.int16(np.int32(np.rint(x_C[c] * inverse)))
    return top / np.float32(limit)


@njit(error_model="numpy", fastmath={"contract", "nnan", "nsz", "reassoc"})  # type: ignore[untyped-decorator]
def _squares(x_C: Array) -> Any:
    total = np.float32(0)
    for c in range(x_C.shape[0]):
        total += x_C[c] * x_C[c]
    return total


# Elementwise loops allow no rearranging. One that stores runs in vectors or number by number, as it finds its arrays
# placed in memory, and the two would be rearranged differently: a result would depend on where it happens to lie.
@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def norm(x_C: Array, weight_C: Array, epsilon: float, out_C: Array) -> None:
    """RMSNorm (Zhang & Sennrich 2019)."""
    scale = np.float32(1) / np.sqrt(_squares(x_C) / np.float32(x_C.shape[0]) + np.float32(epsilon))
    for c in range(x_C.shape[0]):
        out_C[c] = x_C[c] * scale * weight_C[c]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def multiply(
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


@njit(error_model="numpy", fastmath={"contract", "nnan", "nsz", "reassoc"})  # type: ignore[untyped-decorator]
def attend(query_E: Array, keys_TE: int, values_TE: int, length: int, scores_T: Array, out_E: Array) -> None:
    """softmax(q·kᵀ/√E)·v over the first `length` positions (Vaswani et al. 2017, eq. 1)."""
    width = query_E.shape[0]
    scale = np.float32(1) / np.sqrt(np.float32(width))
    scores(query_E.ctypes.data, keys_TE, length, width, scores_T.ctypes.data)
    whole = length // 8 * 8
    top = largest(scores_T.ctypes.data, whole)
    for t in range(whole, length):
        top = max(top, scores_T[t])
    for t in range(length):
        scores_T[t] = _exp((scores_T[t] - top) * scale)
    total = np.float32(0)
    for t in range(length):
        total += scores_T[t]
    e = 0
    while e < width:
        out, values = out_E.ctypes.data + e * 4, values_TE + e * 2
        if e + 64 <= width:
            mix_sixty_four(scores_T.ctypes.data, values, length, width, out)
            e += 64
        else:
            mix_eight(scores_T.ctypes.data, values, length, width, out)
            e += 8
    for e in range(width):
        out_E[e] /= total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def norm_rows(
    x_NR: Array, weight_D: Array, epsilon: float, scratch_D: Array, quantised_NC: Array, worth_N: Array,
    first: int, last: int,
) -> None:  # fmt: skip
    limit = greatest(quantised_NC.shape[1])
    for n in range(first, last):
        norm(x_NR[n, : weight_D.shape[0]], weight_D, epsilon, scratch_D)
        worth_N[n] = _quantise(scratch_D, quantised_NC[n], limit)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def quantise_rows(x_NC: Array, quantised_NC: Array, worth_N: Array, first: int, last: int) -> None:
    limit = greatest(quantised_NC.shape[1])
    for n in range(first, last):
        worth_N[n] = _quantise(x_NC[n], quantised_NC[n], limit)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def held(job: Any, table: int, layer: int, slot: int, kv_head: int, position: int) -> Any:
    """Where a head's key or value of a position stands in the cache, in float16."""
    row = ((layer * job.slots + slot) * job.kv_heads + kv_head) * job.cached + position
    return table + 2 * row * job.head_width


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def place_head(
    job: Any, layer: int, head: int, qkv_NR: Array, bias_R: Array, positions_N: Array, slots_N: Array
) -> None:
    """Bias, norm and rotation (Su et al. 2021, eq. 34) of one head of all rows; keys and values go to the cache."""
    heads, kv_heads, E = job.heads, job.kv_heads, job.head_width
    head_norms_L2E = floats(job.head_norms_L2E, 2 * job.layers, E)
    cos_TP, sin_TP = floats(job.cos_TP, job.positions, E // 2), floats(job.sin_TP, job.positions, E // 2)
    first = head * E
    for n in range(job.count):
        row_E, position, slot = qkv_NR[n, first : first + E], positions_N[n], slots_N[n]
        for e in range(E):
            row_E[e] += bias_R[first + e]
        if head < heads + kv_heads:
            if job.norm_heads:
                norm(row_E, head_norms_L2E[2 * layer if head < heads else 2 * layer + 1], job.epsilon, row_E)
            for p in range(E // 2):
                one, other = row_E[p], row_E[E // 2 + p]
                cos, sin = cos_TP[position, p], sin_TP[position, p]
                row_E[p] = one * cos - other * sin
                row_E[E // 2 + p] = other * cos + one * sin
        if head >= heads + kv_heads:
            halve(row_E.ctypes.data, E, held(job, job.values_LSKTE, layer, slot, head - heads - kv_heads, position))
        elif head >= heads:
            halve(row_E.ctypes.data, E, held(job, job.keys_LSKTE, layer, slot, head - heads, position))


@njit(error_model="numpy", fastmath={"nnan", "nsz"})  # type: ignore[untyped-decorator]
def gate(gates_NF: Array, ups_NF: Array, first: int, last: int) -> None:
    """SwiGLU (Shazeer 2020, eq. 6), into the first argument."""
    for n in range(gates_NF.shape[0]):
        gates_F, ups_F = gates_NF[n, first:last], ups_NF[n, first:last]
        for f in range(gates_F.shape[0]):
            x = gates_F[f]
            gates_F[f] = x / (np.float32(1) + _exp(-x)) * ups_F[f]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def embed(job: Any, x_NR: Array, first: int, last: int) -> None:
    tokens_N, worth_R = words(job.tokens_N, job.count), floats(job.embedding_worth_R, 1, job.embedding_rows)[0]
    for n in range(first, last):
        token, columns = tokens_N[n], job.embedding_columns
        tile_C = bytes_(job.embedding_RC + token // ROWS * ROWS * columns, 1, ROWS * columns)[0]
        for d in range(job.width):
            place = d // LANES * LANES * ROWS + token % ROWS * LANES + d % LANES
            x_NR[n, d] = np.float32(tile_C[place]) * worth_R[token]
