"""A Llama-style model's whole forward over a KV cache as one function: which thread computes what, and when.

Compiled by `homeroom.models.machine_code`, called by `homeroom.models.team` once for each thread, told by a
`homeroom.models.job`. A phase's tiles may be computed in any order by anyone; the next phase begins when all are done.
Letters as in `homeroom.models.kernels`, which computes the tiles.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from homeroom.models.instructions import call_c, give, pause, seen, take
from homeroom.models.job import FORWARD, JOB, LINE
from homeroom.models.kernels import (
    attend,
    bytes_,
    embed,
    floats,
    gate,
    halves,
    held,
    multiply,
    norm,
    norm_rows,
    place_head,
    pointer,
    quantise_rows,
    words,
)

Array = np.ndarray[Any, Any]
_TILE, _HEAD_TILE, _SOME = 32, 256, 4  # rows of a matrix, of the head's, of tokens: what one thread claims at a time
_PATIENCE = 4000  # pauses of some 40 cycles


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _claim(job: Any, phase: int, thread: int, tiles: int) -> Any:
    """The next tile of this phase for this thread, or -1 when all are taken.

    First those of its own share, one behind the other as they stand in memory; then what is left of others' shares. A
    thread that does not run, because another program has its processor, delays nobody by more than the tile it holds.
    """
    line = job.tickets + phase * (job.threads + 1) * LINE
    for step in range(job.threads):
        whose = (thread + step) % job.threads
        first, last = tiles * whose // job.threads, tiles * (whose + 1) // job.threads
        ticket = line + (whose + 1) * LINE
        if first + seen(ticket) < last:
            tile = first + take(ticket)
            if tile < last:
                return tile
    return -1


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _rest(job: Any, waited: int) -> None:
    """One moment of waiting; after many, the processor goes to whoever needs it."""
    if waited % _PATIENCE == _PATIENCE - 1 and job.yield_now != 0:
        call_c(job.yield_now)
    else:
        pause()


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _finish(job: Any, phase: int, mine: int, tiles: int) -> Any:
    """Wait until all tiles of a phase are done, `mine` by this thread; returns the next phase."""
    line = job.tickets + phase * (job.threads + 1) * LINE
    if mine:
        give(line, mine)
    waited = 0
    while seen(line) < tiles:
        _rest(job, waited)
        waited += 1
    return phase + 1


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _norm_all(
    job: Any, phase: int, thread: int, x_NR: Array, weight_D: Array, scratch_D: Array, input_NC: Array, worth_N: Array
) -> Any:
    """The inputs of all rows as a phase of its own, where threads do not each make them for themselves."""
    tiles, mine = -(-job.count // _SOME), 0
    tile = _claim(job, phase, thread, tiles)
    while tile >= 0:
        first, last = tile * _SOME, min(tile * _SOME + _SOME, job.count)
        norm_rows(x_NR, weight_D, job.epsilon, scratch_D, input_NC, worth_N, first, last)
        mine += 1
        tile = _claim(job, phase, thread, tiles)
    return _finish(job, phase, mine, tiles)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _quantise_all(job: Any, phase: int, thread: int, x_NC: Array, quantised_NC: Array, worth_N: Array) -> Any:
    tiles, mine = -(-job.count // _SOME), 0
    tile = _claim(job, phase, thread, tiles)
    while tile >= 0:
        quantise_rows(x_NC, quantised_NC, worth_N, tile * _SOME, min(tile * _SOME + _SOME, job.count))
        mine += 1
        tile = _claim(job, phase, thread, tiles)
    return _finish(job, phase, mine, tiles)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _quantise_and_multiply(
    job: Any, phase: int, thread: int, x_NC: Array, quantised_NC: Array, worth_N: Array,
    matrix_RC: Array, matrix_worth_R: Array, out_NR: Array, tile_rows: int, add: bool,
) -> Any:  # fmt: skip
    """matrix · tokens, into (or onto) `out_NR`."""
    if not job.fold:
        phase = _quantise_all(job, phase, thread, x_NC, quantised_NC, worth_N)
    rows, mine, ready = matrix_RC.shape[0], 0, job.fold == 0
    tiles = -(-rows // tile_rows)
    tile = _claim(job, phase, thread, tiles)
    while tile >= 0:
        if not ready:
            quantise_rows(x_NC, quantised_NC, worth_N, 0, job.count)
            ready = True
        first, last = tile * tile_rows, min(tile * tile_rows + tile_rows, rows)
        multiply(matrix_RC, matrix_worth_R, quantised_NC, worth_N, out_NR, first, last, add)
        mine += 1
        tile = _claim(job, phase, thread, tiles)
    return _finish(job, phase, mine, tiles)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _forward(job: Any, thread: int) -> None:
    """The last norm's output of every row; keys and values are written to the rows' slots. Rows of one slot must stand
    in order."""
    N, D, F, R, L = job.count, job.width, job.gate_rows, job.out_rows, job.layers
    heads, kv_heads, E, copy = job.heads, job.kv_heads, job.head_width, thread if job.fold else 0
    both, HE = heads + 2 * kv_heads, heads * E
    positions_N, slots_N = words(job.positions_N, N), words(job.slots_N, N)
    x_NR, normed_ND = floats(job.x_NR, N, R), floats(job.normed_ND, N, D)
    scratch_D = floats(job.scratch_ID, job.threads, D)[thread]
    qkv_NR, mixed_ND = floats(job.qkv_NR, N, job.qkv_rows), floats(job.mixed_ND, N, HE)
    gates_NF, ups_NF = floats(job.gates_NF, N, F), floats(job.ups_NF, N, F)
    input_NC = halves(job.input_INC, copy, N, job.qkv_columns)
    mixed_NC = halves(job.mixed_INC, copy, N, job.out_columns)
    gated_NC = halves(job.gated_INC, copy, N, job.down_columns)
    worth_N = floats(job.worth_IN, copy + 1, N)[copy]
    scores_T = floats(job.scores_IT, job.threads, job.extent)[thread]
    norms_LD = floats(job.norms_LD, 2 * L + 1, D)

    phase = mine = 0
    some = -(-N // _SOME)
    tile = _claim(job, phase, thread, some)
    while tile >= 0:
        embed(job, x_NR, tile * _SOME, min(tile * _SOME + _SOME, N))
        mine += 1
        tile = _claim(job, phase, thread, some)
    phase = _finish(job, phase, mine, some)

    for layer in range(L):
        norm_D = norms_LD[2 * layer]
        if not job.fold:
            phase = _norm_all(job, phase, thread, x_NR, norm_D, scratch_D, input_NC, worth_N)
        matrix_RC = bytes_(job.qkv_LRC + layer * job.qkv_rows * job.qkv_columns, job.qkv_rows, job.qkv_columns)
        matrix_worth_R = floats(job.qkv_worth_LR, L, job.qkv_rows)[layer]
        bias_R = floats(job.qkv_bias_LR, L, job.qkv_rows)[layer]
        mine, ready, tile = 0, job.fold == 0, _claim(job, phase, thread, both)
        while tile >= 0:
            if not ready:
                norm_rows(x_NR, norm_D, job.epsilon, scratch_D, input_NC, worth_N, 0, N)
                ready = True
            multiply(matrix_RC, matrix_worth_R, input_NC, worth_N, qkv_NR, tile * E, tile * E + E, False)
            place_head(job, layer, tile, qkv_NR, bias_R, positions_N, slots_N)
            mine += 1
            tile = _claim(job, phase, thread, both)
        phase = _finish(job, phase, mine, both)

        mine, tile = 0, _claim(job, phase, thread, N * heads)
        while tile >= 0:
            n, head = tile // heads, tile % heads
            keys_TE = held(job, job.keys_LSKTE, layer, slots_N[n], head // (heads // kv_heads), 0)
            values_TE = held(job, job.values_LSKTE, layer, slots_N[n], head // (heads // kv_heads), 0)
            attend(qkv_NR[n, head * E : head * E + E], keys_TE, values_TE, positions_N[n] + 1, scores_T,
                    mixed_ND[n, head * E : head * E + E])  # fmt: skip
            mine += 1
            tile = _claim(job, phase, thread, N * heads)
        phase = _finish(job, phase, mine, N * heads)

        matrix_RC = bytes_(job.out_LRC + layer * R * job.out_columns, R, job.out_columns)
        matrix_worth_R = floats(job.out_worth_LR, L, R)[layer]
        phase = _quantise_and_multiply(job, phase, thread, mixed_ND, mixed_NC, worth_N, matrix_RC, matrix_worth_R, x_NR,
                                       _TILE, True)  # fmt: skip

        norm_D = norms_LD[2 * layer + 1]
        if not job.fold:
            phase = _norm_all(job, phase, thread, x_NR, norm_D, scratch_D, input_NC, worth_N)
        start, tiles = layer * F * job.qkv_columns, -(-F // _TILE)
        gate_RC, up_RC = (
            bytes_(job.gate_LRC + start, F, job.qkv_columns),
            bytes_(job.up_LRC + start, F, job.qkv_columns),
        )
        gate_R, up_R = floats(job.gate_worth_LR, L, F)[layer], floats(job.up_worth_LR, L, F)[layer]
        mine, ready, tile = 0, job.fold == 0, _claim(job, phase, thread, tiles)
        while tile >= 0:
            if not ready:
                norm_rows(x_NR, norm_D, job.epsilon, scratch_D, input_NC, worth_N, 0, N)
                ready = True
            first, last = tile * _TILE, min(tile * _TILE + _TILE, F)
            multiply(gate_RC, gate_R, input_NC, worth_N, gates_NF, first, last, False)
            multiply(up_RC, up_R, input_NC, worth_N, ups_NF, first, last, False)
            gate(gates_NF, ups_NF, first, last)
            mine += 1
            tile = _claim(job, phase, thread, tiles)
        phase = _finish(job, phase, mine, tiles)

        matrix_RC = bytes_(job.down_LRC + layer * R * job.down_columns, R, job.down_columns)
        matrix_worth_R = floats(job.down_worth_LR, L, R)[layer]
        phase = _quantise_and_multiply(job, phase, thread, gates_NF, gated_NC, worth_N, matrix_RC, matrix_worth_R, x_NR,
                                       _TILE, True)  # fmt: skip

    mine, tile = 0, _claim(job, phase, thread, some)
    while tile >= 0:
        for n in range(tile * _SOME, min(tile * _SOME + _SOME, N)):
            norm(x_NR[n, :D], norms_LD[2 * L], job.epsilon, normed_ND[n])
        mine += 1
        tile = _claim(job, phase, thread, some)
    _finish(job, phase, mine, some)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _project(job: Any, thread: int) -> None:
    """x · matrixᵀ (N, R): logits, where the matrix is the head."""
    N, R, C, copy = job.count, job.matrix_rows, job.matrix_columns, thread if job.fold else 0
    _quantise_and_multiply(
        job, 0, thread, floats(job.x_NR, N, job.width), halves(job.input_INC, copy, N, C),
        floats(job.worth_IN, copy + 1, N)[copy], bytes_(job.matrix_RC, R, C),
        floats(job.matrix_worth_R, 1, R)[0], floats(job.result_NR, N, R), _HEAD_TILE, False,
    )  # fmt: skip


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _let_in(door: int) -> bool:
    """A helper may have been called a moment before the door opens, or come when all is done."""
    for _ in range(_PATIENCE):
        if seen(door) == 1:
            take(door + LINE)
            if seen(door) == 1:
                return True
            give(door + LINE, -1)
        pause()
    return False


def work(door: int, thread: int) -> None:
    """Do a share of the job behind a door. Thread 0 opens it, and returns when the job is done and every helper has
    left; helpers come and go as they find time, or not at all."""
    if thread == 0:
        take(door)
    elif not _let_in(door):
        return
    job = carray(pointer(seen(door + 2 * LINE)), 1, JOB)[0]
    if thread >= job.threads:  # called to another job, which had room for more
        give(door + LINE, -1)
        return
    if job.kind == FORWARD:
        _forward(job, thread)
    else:
        _project(job, thread)
    if thread != 0:
        give(door + LINE, -1)
        return
    give(door, -1)
    waited = 0
    while seen(door + LINE) > 0:
        _rest(job, waited)
        waited += 1
