from collections.abc import Callable

import pytest
import torch

from homeroom.models.gpt import GPT

SHAPES = {
    "llama": {},
    "llama-tied": {"tied": True},
    "llama-grouped": {"kv_heads": 2, "hidden": 40, "rope_theta": 500.0, "norm_epsilon": 1e-3},
    "llama-multi-query-tied": {"kv_heads": 1, "tied": True},
    "llama-wide-heads": {"head_size": 12, "kv_heads": 2},
    "llama-3": {
        "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_length": 16}
    },
    "qwen2": {"qkv_bias": True, "kv_heads": 2, "tied": True},
    "qwen3": {"qk_norm": True, "kv_heads": 2, "head_size": 16},
    "gpt2": {"style": "gpt2"},
    "gpt2-tied": {"style": "gpt2", "tied": True, "hidden": 40, "norm_epsilon": 1e-3},
}


@pytest.fixture(params=SHAPES)
def model(request: pytest.FixtureRequest, new_model: Callable[..., GPT]) -> GPT:
    """One of each shape that a family can have."""
    return new_model(**SHAPES[request.param])


@pytest.fixture
def tokens_BT() -> torch.Tensor:
    return torch.randint(0, 50, (3, 17), generator=torch.Generator().manual_seed(1))
