"""A model of random weights whose answers end soon, and engines over it."""

from collections.abc import Callable

import pytest
import torch

from homeroom.inference.engine import Engine
from homeroom.models.gpt import GPT, Config

VOCABULARY, CONTEXT, END = 20, 24, 3


def random_model(style: str = "llama", kv_heads: int | None = None) -> GPT:
    shape = {"vocab_size": VOCABULARY, "max_length": CONTEXT, "layers": 2, "width": 16, "heads": 2}
    model = GPT(Config.model_validate({"style": style, "kv_heads": kv_heads, **shape})).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=float(name.endswith("norm.weight")), std=0.4, generator=generator)
    return model


@pytest.fixture(scope="session")
def shared_model() -> GPT:
    """In float64, so that whom a request is batched with cannot tip a choice between two tokens by rounding."""
    return random_model(kv_heads=1).double()


@pytest.fixture(scope="session")
def new_engine(shared_model: GPT) -> Callable[..., Engine]:
    return lambda slots=4, **more: Engine(shared_model, end_id=END, slots=slots, **more)


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> GPT:
    return random_model(request.param)


@pytest.fixture
def engine(model: GPT) -> Engine:
    return Engine(model, end_id=END, slots=4)
