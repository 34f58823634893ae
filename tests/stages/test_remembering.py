"""What a model forgot is taken back, along with as little as may be of what it learned."""

import copy
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from homeroom.evaluation.likelihood import bits_per_byte, score_texts
from homeroom.models.gpt import GPT, Config
from homeroom.stages.remembering import Memory
from homeroom.text.tokenizer import Tokenizer

TEXTS = ["The sea is wide.", "The sea is deep and wide, and the wind is strong."]


@pytest.fixture
def models():
    """A champion, and what became of it."""
    tokenizer = Tokenizer.train(TEXTS * 4, 300)
    torch.manual_seed(0)
    champion = GPT(Config(vocab_size=tokenizer.vocab_size, max_length=64, layers=1, width=32, heads=2)).eval()
    tokens_BT = torch.tensor([[tokenizer.document_id, *tokenizer.encode(TEXTS[1])]])
    for _ in range(60):
        logits_BTV = champion.logits(champion.hidden(tokens_BT[:, :-1]))
        loss = cross_entropy(logits_BTV[0], tokens_BT[0, 1:])
        parameters = list(champion.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.sub_(0.5 * gradient)
    learned = copy.deepcopy(champion)
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return champion, learned, tokenizer


def cost(model, tokenizer):
    return bits_per_byte(score_texts(model, tokenizer, TEXTS))


def memory(models, worse):
    return Memory(models[0], models[2], TEXTS, worse, torch.float32)


def test_who_forgot_too_much_goes_back_part_of_the_way(models):
    champion, learned, tokenizer = models
    moved = learned.embedding.weight - champion.embedding.weight
    assert cost(learned, tokenizer) > cost(champion, tokenizer) * 1.02
    figures = memory(models, 0.01).keep(learned)
    assert cost(champion, tokenizer) * 1.004 < cost(learned, tokenizer) <= cost(champion, tokenizer) * 1.01
    assert 0 < figures["share_kept"] < 1
    kept = learned.embedding.weight - champion.embedding.weight
    torch.testing.assert_close(kept, moved * figures["share_kept"], atol=1e-6, rtol=1e-4)


def test_who_forgot_nothing_that_matters_keeps_all(models):
    _, learned, _ = models
    was = copy.deepcopy(learned)
    assert memory(models, math.inf).keep(learned)["share_kept"] == 1
    assert all(torch.equal(one, other) for one, other in zip(learned.parameters(), was.parameters(), strict=True))
