"""What the compiled kernels are told: one record of addresses and sizes, and the door through which threads come to it.

Shared by `homeroom.models.forward`, which reads it as machine code, and `homeroom.models.compiled`, which fills it;
knows neither Numba nor torch.
Letters of sizes: N rows (tokens), D width, F hidden width, H heads, K key-value heads, E width of a head, S slots, T
positions, R rows and C columns of a matrix (both padded).
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LINE = 64  # bytes: numbers that different threads write stand so far apart, or each write stalls the other thread
FORWARD, PROJECT = 0, 1

_NUMBERS = """
kind threads count layers width heads kv_heads head_width norm_heads slots cached positions extent fold
embedding_rows qkv_rows out_rows gate_rows matrix_rows embedding_columns qkv_columns out_columns down_columns
matrix_columns
"""
_ADDRESSES = """
tokens_N positions_N slots_N
embedding_RC embedding_worth_R qkv_LRC qkv_worth_LR qkv_bias_LR out_LRC out_worth_LR gate_LRC gate_worth_LR up_LRC
up_worth_LR down_LRC down_worth_LR norms_LD head_norms_L2E cos_TP sin_TP keys_LSKTE values_LSKTE
x_NR normed_ND scratch_ID qkv_NR mixed_ND gates_NF ups_NF input_INC mixed_INC gated_INC worth_IN scores_IT
matrix_RC matrix_worth_R result_NR tickets yield_now
"""
JOB = np.dtype([*((name, np.int64) for name in (_NUMBERS + _ADDRESSES).split()), ("epsilon", np.float64)])
"""`input_INC`, `mixed_INC`, `gated_INC` and `worth_IN` have a copy for each thread where `fold` is set, else one.
`tickets` are `waits(layers)` times `threads + 1` zeros, a line apart. A missing `yield_now` is 0."""

DOOR = 3 * LINE
"""Bytes of a door: whether it is open, how many helpers are inside, the address of the job."""


def waits(layers: int) -> int:
    """How often threads wait for each other in a forward, at most."""
    return 9 * layers + 2


class Job:
    """A record, and the arrays that it points at."""

    def __init__(self, **fields: Array | float) -> None:
        self.record = np.zeros(1, JOB)
        self._kept: tuple[Array, ...] = ()
        self._fill(fields)

    def with_(self, **fields: Array | float) -> "Job":
        """Another one, with these besides."""
        other = Job()
        other.record[:] = self.record
        other._kept = self._kept
        other._fill(fields)
        return other

    def _fill(self, fields: dict[str, Array | float]) -> None:
        one = self.record[0]
        for name, value in fields.items():
            one[name] = address(value) if isinstance(value, np.ndarray) else value
        self._kept += tuple(value for value in fields.values() if isinstance(value, np.ndarray))


def address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
