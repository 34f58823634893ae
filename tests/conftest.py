"""What all tests share: hypothesis judges results, not the machine's speed, and models of random weights."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from homeroom.models.gpt import GPT

settings.register_profile("homeroom", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("homeroom")


def _new_model(*, seed: int = 0, deviation: float = 0.3, **changes: object) -> "GPT":
    # Here, because most tests have no use for torch and need not wait for it.
    import torch

    from homeroom.models.gpt import GPT, Config

    shape = {"vocab_size": 50, "max_length": 24, "layers": 2, "width": 32, "heads": 4}
    model = GPT(Config.model_validate(shape | changes)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=float(name.endswith("norm.weight")), std=deviation, generator=generator)
    return model


@pytest.fixture(scope="session")
def new_model() -> "Callable[..., GPT]":
    """Every weight far from what a fresh model has, norms and biases too, so that one left out or swapped shows."""
    return _new_model
