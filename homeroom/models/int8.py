"""Int8 weights: a fifth of a byte's rounding for a quarter of the memory, and a model that decodes as fast as memory reads.

Each row of a matrix has a scale of its own, so that its largest weight is ±127 (symmetric, per output channel).
`homeroom.models.kernels` computes with them where Numba is installed.
Shapes: R rows, C columns, L layers, V vocabulary, D width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from homeroom.models.gpt import GPT, Config


def quantise(matrix_RC: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded weights (R, C) in int8, and what one is worth in each row (R,)."""
    worth_R = matrix_RC.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (matrix_RC / worth_R[:, None]).round().to(torch.int8), worth_R
