import pytest
import torch

from homeroom.models.gpt import GPT, Config
from homeroom.text.tokenizer import Tokenizer

TEXTS = [
    "画蛇添足：比喻做了多余的事，反而不恰当。",
    "守株待兔：比喻不主动努力，而存万一的侥幸心理。",
    "def dumps(obj):\n    return encoder.encode(obj)\n",
    "Serialize obj to a JSON formatted str. How are you today? I am fine.",
]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, 400)


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> GPT:
    """Random weights that are far from uniform, so that a mistake in what is scored shows."""
    torch.manual_seed(0)
    config = Config(style=request.param, vocab_size=tokenizer.vocab_size, max_length=48, layers=2, width=32, heads=2)
    gpt = GPT(config).eval()
    for parameter in gpt.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.5)
    return gpt
