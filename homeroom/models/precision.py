"""In which number format matrices are multiplied: what this machine is fastest at, by measurement.

Weights stay float32; `products_in` is autocast. Who trains and who measures asks for a format, everything below takes
the one around it.
"""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(description="auto: bfloat16 where this machine multiplies it clearly faster; weights stay float32"),
]


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


def resolve_precision(precision: Precision, model: nn.Module) -> torch.dtype:
    """The number format of matrix products. "auto" measures the machine that the model is on."""
    if precision == "auto":
        return measure_peak(next(model.parameters()).device.type).fastest
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """As settings and manifests say it."""
    return str(dtype).removeprefix("torch.")


def products_for(precision: Precision, model: nn.Module) -> torch.autocast:
    """`products_in` of what a setting comes to for this model, on the device that it is on."""
    return products_in(resolve_precision(precision, model), next(model.parameters()).device.type)


def products_in(dtype: torch.dtype, device: str = "cpu") -> torch.autocast:
    """The context in which matrices are multiplied in this format; float32 means that of the weights.

    Weights are converted once and kept until the outermost context ends: no optimizer may step within.
    """
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)


def products_dtype(like: torch.Tensor) -> torch.dtype:
    """The format in which a matrix would be multiplied here and now."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
