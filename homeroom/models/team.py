"""Threads that compute together: one calls, the others help as they find time.

A step of a small model is a few milliseconds and 150 waits for each other, so threads wait in machine code
(`homeroom.models.forward`), not here; here they only sleep between jobs. One job at a time, as there are so many cores.
"""

import ctypes
import os
import threading
from collections.abc import Callable

import numpy as np

from homeroom.models.job import DOOR, LINE, Array, Job, address


class Team:
    """One for a process: a forked child begins it anew, for the threads and what they held stay with the parent."""

    def __init__(self, work: Callable[[int, int], None]) -> None:
        self._work = work
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._door, self._door_at = _lines(DOOR)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._door))  # a helper may stand at it when the process ends
        self._bells: list[threading.Lock] = []
        yield_now = getattr(ctypes.CDLL(None), "sched_yield", None) if os.name == "posix" else None
        self._yield_at = ctypes.cast(yield_now, ctypes.c_void_p).value if yield_now else 0

    def do(self, job: Job, waits: int, threads: int) -> None:
        """Return when the job is done."""
        with self._one_at_a_time:
            _tickets, tickets_at = _lines(waits * (threads + 1) * LINE)
            one = job.record[0]
            one["threads"], one["tickets"], one["yield_now"] = threads, tickets_at, self._yield_at
            self._door[2 * LINE // 8] = address(job.record)
            while len(self._bells) < threads - 1:
                self._hire()
            for bell in self._bells[: threads - 1]:
                if bell.locked():
                    bell.release()
            self._work(self._door_at, 0)

    def _hire(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        self._bells.append(bell)
        number = len(self._bells)
        threading.Thread(target=self._help, args=(bell, number), name=f"kernels-{number}", daemon=True).start()

    def _help(self, bell: threading.Lock, number: int) -> None:
        while True:
            bell.acquire()
            self._work(self._door_at, number)


def _lines(size: int) -> tuple[Array, int]:
    """Zeros that begin at a line, so that what stands a line apart is never in one; and their address."""
    spare = np.zeros((size + LINE) // 8, np.int64)
    skip = -address(spare) % LINE // 8
    return spare[skip : skip + size // 8], address(spare) + 8 * skip
