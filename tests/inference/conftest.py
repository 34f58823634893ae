"""A model of random weights whose answers end soon, and engines over it."""

from collections.abc import Callable, Iterator

import pytest
import torch

from homeroom.inference.engine import Engine
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.int8 import Int8Weights

END = 3
SHAPE = {"vocab_size": 20, "max_length": 24, "width": 16, "heads": 2, "seed": 5, "deviation": 0.4}
LONG = {"vocab_size": 51, "max_length": 128, "width": 32, "heads": 4, "kv_heads": 2, "seed": 6, "deviation": 0.3}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On a busy machine two threads that wait for each other take a thousand times what these products do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def long_model(new_model: Callable[..., GPT]) -> GPT:
    """With room for prompts that are worth taking over."""
    return new_model(**LONG).double()


@pytest.fixture(scope="session")
def compiled(new_model: Callable[..., GPT]) -> CompiledGPT:
    pytest.importorskip("numba")
    return CompiledGPT(Int8Weights.of(new_model(**LONG)))


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
