"""A model of random weights whose answers end soon, and engines over it."""

from collections.abc import Callable

import pytest

from homeroom.inference.engine import Engine
from homeroom.models.gpt import GPT

END = 3
SHAPE = {"vocab_size": 20, "max_length": 24, "width": 16, "heads": 2, "seed": 5, "deviation": 0.4}


@pytest.fixture(scope="session")
def shared_model(new_model: Callable[..., GPT]) -> GPT:
    """In float64, so that whom a request is batched with cannot tip a choice between two tokens by rounding."""
    return new_model(**SHAPE, kv_heads=1).double()


@pytest.fixture(scope="session")
def new_engine(shared_model: GPT) -> Callable[..., Engine]:
    return lambda slots=4, **more: Engine(shared_model, end_id=END, slots=slots, **more)


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, new_model: Callable[..., GPT]) -> GPT:
    return new_model(**SHAPE, style=request.param)


@pytest.fixture
def engine(model: GPT) -> Engine:
    return Engine(model, end_id=END, slots=4)
