import math

import pytest
import torch
from pydantic import ValidationError

from homeroom.models.gpt import GPT, Config
from homeroom.models.logprobs import cross_entropy_sum


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 30}, "width 30 does not divide into 4 heads"),
        ({"kv_heads": 3}, "4 heads do not divide into 3 key-value heads"),
        ({"style": "gpt2", "kv_heads": 2}, "as many key-value heads as heads"),
        ({"width": 20}, "even head width, not 20 / 4"),
        ({"layers": 0}, "layers"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Config.model_validate({"vocab_size": 50, "width": 32, "heads": 4} | changes)


def test_learned_positions_do_not_mind_an_odd_head_width():
    Config(style="gpt2", vocab_size=50, width=20, heads=4)


@pytest.mark.parametrize(("style", "width", "hidden"), [("gpt2", 32, 128), ("llama", 96, 256), ("llama", 256, 704)])
def test_the_hidden_width_follows_the_width(style, width, hidden):
    assert Config(style=style, vocab_size=50, width=width).hidden_width == hidden


@pytest.mark.parametrize("style", ["llama", "gpt2"])
@torch.no_grad()
def test_fresh_blocks_are_the_identity_and_the_first_loss_is_log_vocabulary(style, tokens_BT):
    model = GPT(Config(style=style, vocab_size=50, max_length=24, layers=3, width=32, heads=4))
    expected = model.embedding(tokens_BT)
    if model.positions is not None:
        expected = expected + model.positions.weight[: tokens_BT.shape[1]]
    torch.testing.assert_close(model.hidden(tokens_BT), model.trunk.norm(expected))
    outputs = model(tokens_BT)
    total = cross_entropy_sum(outputs.hidden_BTD.flatten(0, 1), outputs.head_VD, tokens_BT.flatten())
    assert float(total) / tokens_BT.numel() == pytest.approx(math.log(50), abs=1e-5)


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_a_tied_head_is_the_embedding_and_counts_once(style):
    shape = {"style": style, "vocab_size": 50, "width": 32, "heads": 4, "layers": 1}
    tied, untied = GPT(Config(tied=True, **shape)), GPT(Config(**shape))
    assert tied.head.weight is tied.embedding.weight
    count = {model: sum(parameter.numel() for parameter in model.parameters()) for model in (tied, untied)}
    assert count[untied] - count[tied] == 50 * 32


def test_every_parameter_gets_a_gradient(model, tokens_BT):
    outputs = model(tokens_BT)
    cross_entropy_sum(outputs.hidden_BTD.flatten(0, 1), outputs.head_VD, tokens_BT.flatten()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []
