"""What this machine multiplies: its measured peak, and which number format reaches it."""

import time
from dataclasses import dataclass
from functools import lru_cache

import torch


@dataclass(frozen=True)
class Peak:
    """FLOP/s of a large matrix product, by number format."""

    float32: float
    bfloat16: float

    @property
    def fastest(self) -> torch.dtype:
        # Autocast costs conversions: it has to win clearly before it wins at all.
        return torch.bfloat16 if self.bfloat16 > 1.5 * self.float32 else torch.float32

    def of(self, dtype: torch.dtype) -> float:
        return self.bfloat16 if dtype == torch.bfloat16 else self.float32


@lru_cache(maxsize=4)
def measure_peak(device: str = "cpu", size: int = 1536, seconds: float = 0.25) -> Peak:
    """The best of as many products as fit into the time, for each format (about half a second in all)."""
    return Peak(_best(torch.float32, device, size, seconds), _best(torch.bfloat16, device, size, seconds))


def _best(dtype: torch.dtype, device: str, size: int, seconds: float) -> float:
    a = torch.ones(size, size, dtype=dtype, device=device)
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds or best == float("inf"):
        started = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for an asynchronous device
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
