from collections.abc import Callable

import pytest
import torch

from homeroom.models.gpt import GPT, Config

SHAPES = {
    "llama": {},
    "llama-tied": {"tied": True},
    "llama-grouped": {"kv_heads": 2, "hidden": 40, "rope_theta": 500.0, "norm_epsilon": 1e-3},
    "llama-multi-query-tied": {"kv_heads": 1, "tied": True},
    "gpt2": {"style": "gpt2"},
    "gpt2-tied": {"style": "gpt2", "tied": True, "hidden": 40, "norm_epsilon": 1e-3},
}


def random_model(**changes: object) -> GPT:
    """Every weight far from what a fresh model has, norms and biases too, so that one left out or swapped shows."""
    shape = {"vocab_size": 50, "max_length": 24, "layers": 2, "width": 32, "heads": 4}
    model = GPT(Config.model_validate(shape | changes)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=float(name.endswith("norm.weight")), std=0.3, generator=generator)
    return model


@pytest.fixture(scope="session")
def new_model() -> Callable[..., GPT]:
    return random_model


@pytest.fixture(params=SHAPES)
def model(request: pytest.FixtureRequest) -> GPT:
    """One of each shape that a family can have."""
    return random_model(**SHAPES[request.param])


@pytest.fixture
def tokens_BT() -> torch.Tensor:
    return torch.randint(0, 50, (3, 17), generator=torch.Generator().manual_seed(1))
