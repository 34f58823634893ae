"""Company may tip what float noise may tip, and nothing else. The mistakes are put into model and engine here."""

import pytest
import torch

from homeroom.evaluation.company import _Answer, _Difference, _explained, in_company
from homeroom.inference import engine as engine_module
from homeroom.inference.request import Request, Sampling
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.int8 import Int8Weights

SHAPE = {"vocab_size": 50, "max_length": 96, "width": 64, "heads": 2}
KINDS = [
    Sampling(temperature=0.0),
    Sampling(),
    Sampling(temperature=0.7, top_p=0.9),
    Sampling(top_k=8, repetition_penalty=1.3),
    Sampling(temperature=0.0, repetition_penalty=1.3),
    Sampling(temperature=1.5, min_p=0.05),
]
SERVED = {"slots": 16, "chunk": 16, "prefix_tokens": 1000}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def asked(how_many=24, tokens=12, kinds=KINDS):
    beginning = [(7 * place) % 50 for place in range(40)]
    return [
        Request(
            str(number),
            (beginning if number % 2 else []) + [number % 50] * (1 + number % 5),
            kinds[number % len(kinds)].model_copy(update={"seed": number, "max_tokens": tokens}),
        )
        for number in range(how_many)
    ]


class Disturbed(GPT):
    """In company its logits move."""

    by = 1e-2

    def hidden(self, tokens_BT, *others, **more):
        self.rows = len(tokens_BT)
        return super().hidden(tokens_BT, *others, **more)

    def logits(self, hidden):
        logits = super().logits(hidden)
        moved = torch.randn(logits.shape, generator=torch.Generator().manual_seed(self.rows))
        return logits + self.by * moved if self.rows > 1 else logits


def twins(model):
    """Each token has another that is as likely but for a rounding."""
    with torch.no_grad():
        weight_VD = model.head.weight
        noise = torch.randn(weight_VD[1::2].shape, generator=torch.Generator().manual_seed(0))
        weight_VD[1::2] = weight_VD[::2] * (1 + 1e-7 * noise)
    return model


def test_float32_differs_by_no_more_than_noise(new_model):
    found = in_company(new_model(**SHAPE), asked(), **SERVED)
    assert found.requests == 24
    assert found.different == found.explained
    assert found.tokens == 24 * 12 or found.different
    assert 0 < found.noise < 1e-4
    assert 0 < found.apart < 1e-4


def test_int8_differs_nowhere_and_has_no_noise(new_model):
    pytest.importorskip("numba")
    found = in_company(CompiledGPT(Int8Weights.of(new_model(**SHAPE))), asked(), **SERVED)
    assert (found.tokens, found.different, found.noise, found.apart) == (24 * 12, 0, 0.0, 0.0)


def test_a_choice_between_twins_is_tipped_by_noise_and_explained(new_model):
    kinds = [KINDS[0], Sampling(temperature=0.0, repetition_penalty=0.2)]  # the second prefers what was said
    found = in_company(twins(new_model(**SHAPE)), asked(kinds=kinds), **SERVED)
    assert found.different > 3
    assert found.explained == found.different


@pytest.mark.parametrize(("company", "explained"), [([0.1, 0.2], True), ([-0.75, 0.5], False), ([2.5, 3.0], False)])
def test_greedy_picks_are_explained_where_both_gaps_are_below_the_noise(company, explained):
    """The second puts the two farther apart than the noise, the third is too far from [0, 0] to be noise."""
    request = Request("a", [1], Sampling(temperature=0.0))
    alone, there = _Answer([0], torch.zeros(1, 2)), torch.tensor(company)
    difference = _Difference(0, 1, there, apart=float(there.abs().max()))
    assert _explained(request, alone, difference, noise=1.0) == explained


def test_logits_that_company_moves_are_no_noise(new_model):
    model = Disturbed(new_model(**SHAPE).config).eval()
    model.load_state_dict(new_model(**SHAPE).state_dict())
    found = in_company(model, asked(48, 24), **SERVED)
    assert found.different > 0
    assert found.explained == 0
    assert found.noise < 1e-4
    assert found.apart > 1e-2


def test_a_random_number_that_is_anothers_is_no_noise(new_model, monkeypatch):
    """The logits are right: only the pick is not."""
    plainly = engine_module.sample
    monkeypatch.setattr(
        engine_module, "sample", lambda logits, settings, uniform: plainly(logits, settings, uniform.roll(1))
    )
    found = in_company(new_model(**SHAPE), asked(kinds=KINDS[1:2]), **SERVED)
    assert found.different > 3
    assert found.explained == 0
    assert found.apart < 1e-4


def test_an_answer_that_ends_is_compared_to_its_end(new_model):
    found = in_company(new_model(**SHAPE), asked(tokens=30), end_id=(3, 4, 5, 6), slots=8)
    assert found.different == found.explained
    assert 24 < found.tokens < 24 * 30


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(seed=1, max_tokens=0)])
def test_what_cannot_be_asked_twice_is_refused(new_model, sampling):
    with pytest.raises(ValueError, match="request 'a': to be asked twice"):
        in_company(new_model(**SHAPE), [Request("a", [1], sampling)])
