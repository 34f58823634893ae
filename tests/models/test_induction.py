"""A wired model copies before it has learned anything; a plain one does not."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from homeroom.models import induction
from homeroom.models.gpt import GPT, Config

ROOMY = [
    {"width": 192, "heads": 3},
    {"width": 128, "heads": 2},
    {"width": 192, "heads": 4, "kv_heads": 2},
    {"width": 192, "heads": 6, "layers": 3, "rope_theta": 500_000.0},
]


def second_reading(model: GPT) -> tuple[float, float]:
    """Nats per token of random text when it is read first, and when it is read again in the same row."""
    once_BT = torch.randint(0, model.config.vocab_size, (8, 24), generator=torch.Generator().manual_seed(7))
    tokens_BT = once_BT.repeat(1, 2)
    with torch.no_grad():
        logits_BTV: Tensor = model.logits(model.hidden(tokens_BT[:, :-1]))
    nats_BT = cross_entropy(logits_BTV.transpose(1, 2), tokens_BT[:, 1:], reduction="none")
    return float(nats_BT[:, :23].mean()), float(nats_BT[:, 24:].mean())


@pytest.mark.parametrize("shape", ROOMY)
def test_a_wired_model_predicts_a_repetition_and_a_plain_one_does_not(shape: dict[str, int]) -> None:
    torch.manual_seed(0)
    model = GPT(Config(**{"vocab_size": 500, "layers": 2, **shape}))
    first, second = second_reading(model)
    assert second == pytest.approx(first, abs=0.01)
    induction.wire(model)
    _, second = second_reading(model)
    assert second < 0.6 * first


def test_it_copies_over_whatever_distance_a_question_and_its_answer_have() -> None:
    torch.manual_seed(0)
    model = GPT(Config(vocab_size=500, layers=2, width=192, heads=3))
    induction.wire(model)
    for gap in (0, 10, 40):
        word, between = torch.arange(10, 14), torch.arange(100, 100 + gap)
        row = torch.cat([torch.tensor([3]), word, between, word[:2]])
        with torch.no_grad():
            assert int(model.logits(model.hidden(row[None])[:, -1]).argmax()) == 12


@pytest.mark.parametrize("shape", [{"style": "gpt2"}, {"tied": True}, {"layers": 1}])
def test_a_shape_without_room_is_refused(shape: dict[str, object]) -> None:
    config = Config(**{"vocab_size": 50, "layers": 2, "width": 64, "heads": 2, **shape})  # type: ignore[arg-type]
    assert not induction.has_room(config)
    with pytest.raises(ValueError, match="two layers"):
        induction.wire(GPT(config))
