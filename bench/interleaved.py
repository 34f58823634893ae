"""Fair timings on a noisy machine: contenders take turns in one run, medians are compared.

Memory is measured apart, each contender in a process of its own, because a process never gives back its peak.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def medians(contenders: Mapping[str, Callable[[], None]], *, rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Seconds of every round of every contender, taken in turn: A B A B …"""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warmup + rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            elapsed = time.perf_counter() - started
            if number >= warmup:
                times[name].append(elapsed)
                print(f"round {number - warmup + 1}/{rounds}  {name:<24} {elapsed:7.3f} s", flush=True)
    return times


def median(values: list[float]) -> float:
    return statistics.median(values)


def peak_memory_bytes() -> int:
    """Of this program. Linux keeps `ru_maxrss` over exec, so a child would report its parent's; VmHWM begins anew."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_own_process(module: str, *arguments: str) -> dict[str, float]:
    """Run `python -m module arguments` and read the JSON object of its last line."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
