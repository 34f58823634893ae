from dataclasses import replace

import pytest
import torch

from homeroom.inference.engine import Engine
from homeroom.inference.request import Completion, Event, Request, Sampling
from homeroom.inference.sampling import penalize, sample, uniforms
from homeroom.models.precision import products_in

END, CONTEXT = 3, 24


def asked(**changes):
    """Requests of mixed lengths and settings, more than there are slots."""
    kinds = [
        Sampling(**{"seed": 1, "max_tokens": 30} | changes),
        Sampling(**{"seed": 2, "temperature": 0.0, "max_tokens": 5} | changes),
        Sampling(**{"seed": 3, "temperature": 0.7, "top_k": 5, "max_tokens": 12} | changes),
        Sampling(**{"seed": 4, "temperature": 1.5, "top_p": 0.8, "max_tokens": 9} | changes),
        Sampling(**{"seed": -5, "repetition_penalty": 1.4, "max_tokens": 20} | changes),
        Sampling(**{"seed": 6, "top_k": 8, "top_p": 0.9, "repetition_penalty": 1.2, "max_tokens": 1} | changes),
    ]
    prompts = [[4, 5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [1, 2], [END, 6, END], [15] * 20]
    return [Request(str(i), prompt, kind) for i, (prompt, kind) in enumerate(zip(prompts, kinds, strict=True))]


@torch.no_grad()
def plainly(model, request: Request) -> Completion:
    """One request alone, without a cache: a whole forward for every token."""
    ids, sampling, logprobs = list(request.prompt_ids), request.sampling, []
    room = min(sampling.max_tokens, model.config.max_length - len(ids))
    for number in uniforms(sampling.seed, room):
        logits = model.logits(model.hidden(torch.tensor([ids])))[:, -1]
        own = torch.log_softmax(logits, dim=1)[0]
        penalize(logits, [ids], [sampling])
        picked = sample(logits, [sampling], torch.tensor([number])).item()
        ids.append(picked)
        logprobs.append(own[picked].item())
        if picked == END:
            break
    answer = ids[len(request.prompt_ids) :]
    return Completion(request.id, answer, logprobs, "stop" if answer[-1] == END else "length")


def test_answers_are_those_of_a_plain_loop(model, engine):
    requests = [replace(one, id=f"{one.id}-{seed}") for seed in range(4) for one in asked(seed=seed)]
    answers = engine.generate(requests)
    for answer, request in zip(answers, requests, strict=True):
        expected = plainly(model, request)
        assert (answer.request_id, answer.token_ids) == (request.id, expected.token_ids)
        assert answer.finish_reason == expected.finish_reason
        assert answer.logprobs == pytest.approx(expected.logprobs, abs=1e-5)
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


@torch.no_grad()
def test_log_probabilities_are_the_training_forwards(model, engine):
    requests = [Request(str(i), [i % 17 + 1] * (i % 9 + 1), Sampling(seed=i, top_k=i % 4 * 3)) for i in range(20)]
    for request, answer in zip(requests, engine.generate(requests), strict=True):
        row = torch.tensor([request.prompt_ids + answer.token_ids])
        outputs = model(row[:, :-1])
        table = (outputs.hidden_BTD @ outputs.head_VD.t()).log_softmax(-1)[0, len(request.prompt_ids) - 1 :]
        expected = table.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_it_works_in_the_number_format_around_it_and_changes_it_between_answers(new_model):
    model = new_model(vocab_size=20, max_length=24, width=16, heads=2, seed=5, deviation=0.4)
    engine = Engine(model, end_id=END, slots=8)
    requests = [Request(str(i), [i % 17 + 1] * (i % 9 + 1), Sampling(seed=i)) for i in range(24)]
    plain = engine.generate(requests)
    gaps = []
    with products_in(torch.bfloat16):
        answers = engine.generate(requests)
        for request, answer in zip(requests, answers, strict=True):
            row = torch.tensor([request.prompt_ids + answer.token_ids])
            outputs = model(row[:, :-1])
            logits = (outputs.hidden_BTD @ outputs.head_VD.t()).float()[0, len(request.prompt_ids) - 1 :]
            expected = logits.log_softmax(-1).gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
            gaps += (torch.tensor(answer.logprobs) - expected).abs().tolist()
    assert sum(gaps) / len(gaps) < 0.02  # bfloat16 keeps 8 bits: a logit of 4 is known to 1/64
    assert [answer.logprobs for answer in answers] != [answer.logprobs for answer in plain]
    assert engine.generate(requests) == plain


def test_an_engine_that_changed_its_format_can_be_stopped(model):
    """Its new cache is moved in by cancel(), which is no inference."""
    engine = Engine(model, end_id=END, slots=4)

    def stop(_: Completion) -> None:
        raise KeyboardInterrupt

    with products_in(torch.bfloat16):
        with pytest.raises(KeyboardInterrupt):
            engine.generate(asked(), stop)
        assert engine.idle
        assert len(engine.generate(asked())) == len(asked())


def test_the_weights_are_read_as_they_stand(model, engine):
    before = engine.generate(asked(temperature=0.0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-0.7)
    after = engine.generate(asked(temperature=0.0))
    assert [answer.token_ids for answer in before] != [answer.token_ids for answer in after]
    assert [answer.token_ids for answer in after] == [plainly(model, one).token_ids for one in asked(temperature=0.0)]


def test_generation_leaves_mode_gradients_and_global_randomness_alone(model, engine):
    model.train()
    state = torch.random.get_rng_state()
    recording = []
    model.trunk.register_forward_hook(lambda *_: recording.append(torch.is_grad_enabled()))
    engine.generate(asked())
    assert recording
    assert not any(recording)
    assert model.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    model.hidden(torch.tensor([[1, 2]])).sum().backward()


def test_a_seed_gives_the_same_answer_again_and_another_another(engine):
    def answers(seed):
        return engine.generate([Request("a", [4, 5], Sampling(seed=seed, max_tokens=20, temperature=2.0))])[0].token_ids

    assert answers(11) == answers(11)
    assert answers(-11) == answers(-11)
    assert len({tuple(answers(seed)) for seed in range(8)}) > 4
    assert len({tuple(answers(None)) for _ in range(8)}) > 4


def test_the_end_token_is_the_last_of_an_answer(engine):
    answers = [answer for seed in range(12) for answer in engine.generate(asked(seed=seed, max_tokens=24))]
    for answer in answers:
        assert (answer.finish_reason == "stop") == (answer.token_ids[-1] == END)
        assert END not in answer.token_ids[:-1]
        assert len(answer.logprobs) == len(answer.token_ids)
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


@pytest.mark.parametrize("max_tokens", [1, 4, 20, 64, 10**15])
def test_an_answer_is_no_longer_than_asked_for_and_fits_the_context(model, max_tokens):
    engine = Engine(model, end_id=-1, slots=2)  # which no token is: nothing ends by itself
    prompts = [[5], [6] * 10, [7] * (CONTEXT - 1)]
    requests = [Request(str(i), prompt, Sampling(max_tokens=max_tokens)) for i, prompt in enumerate(prompts)]
    for prompt, answer in zip(prompts, engine.generate(requests), strict=True):
        assert len(answer.token_ids) == len(answer.logprobs) == min(max_tokens, CONTEXT - len(prompt))
        assert answer.finish_reason == "length"


def test_an_engine_may_have_a_shorter_context_than_its_model(model):
    engine = Engine(model, end_id=-1, slots=2, max_length=10)
    assert len(engine.generate([Request("a", [5] * 4)])[0].token_ids) == 6
    with pytest.raises(ValueError, match="the prompt has 10 tokens; 1 to 9 fit a context of 10"):
        engine.submit(Request("a", [5] * 10))
    assert Engine(model, end_id=-1, slots=1, max_length=1000).max_length == CONTEXT


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "'bad': the prompt has 0 tokens; 1 to 23 fit a context of 24"),
        ([5] * 24, "'bad': the prompt has 24 tokens"),
        ([5, 20], "'bad': the prompt has token id 20; 0 to 19 are in the vocabulary"),
        ([-1, 5], "'bad': the prompt has token id -1"),
    ],
)
def test_a_bad_request_is_refused_and_harms_nobody(engine, prompt, message):
    good = Request("good", [5, 6], Sampling(seed=1))
    expected = engine.generate([good])
    engine.submit(good)
    with pytest.raises(ValueError, match=message):
        engine.submit(Request("bad", prompt))
    with pytest.raises(ValueError, match="'good' is already waiting or running"):
        engine.submit(good)
    with pytest.raises(RuntimeError, match="idle engine"):
        engine.generate([good])
    tokens = []
    while not engine.idle:
        tokens += [event.token_id for event in engine.step()]
    assert tokens == expected[0].token_ids
    with pytest.raises(ValueError, match=message):
        engine.generate([good, Request("bad", prompt)])
    assert engine.generate([good]) == expected  # what stood before the bad one is not left behind


def test_nothing_asked_is_nothing_done(engine):
    assert engine.generate([]) == []
    assert engine.step() == []
    assert engine.idle


def test_the_room_for_answers_is_given_back_and_taken_again(engine):
    expected = engine.generate(asked())
    grown = engine._cache.keys_LSKTE.numel()
    engine.give_back()
    assert engine._cache.keys_LSKTE.numel() < grown
    assert engine.generate(asked()) == expected
    engine.submit(asked()[0])
    with pytest.raises(RuntimeError, match="idle engine"):
        engine.give_back()


def test_a_finished_name_may_be_used_again(engine):
    assert engine.generate(asked()) == engine.generate(asked())


def test_each_answer_is_told_once_when_it_ends(engine):
    told = []
    answers = engine.generate(asked(), told.append)
    assert sorted(told, key=lambda answer: answer.request_id) == answers
    assert [answer.request_id for answer in told] != [answer.request_id for answer in answers]


@pytest.mark.timeout(60)
def test_what_is_cancelled_while_generating_comes_back_cancelled(engine):
    whole = engine.generate(asked())
    first = []

    def cancel_the_others(answer):
        if not first:
            first.append(answer.request_id)
            for request in asked():
                engine.cancel(request.id)

    for answer, complete in zip(engine.generate(asked(), cancel_the_others), whole, strict=True):
        assert answer.request_id == complete.request_id
        assert answer.token_ids == complete.token_ids[: len(answer.token_ids)]
        assert answer.finish_reason in ("cancelled", complete.finish_reason)
        assert len(answer.logprobs) == len(answer.token_ids)
    assert engine.generate(asked()) == whole


def test_after_an_exception_the_engine_is_idle_and_right(engine):
    whole = engine.generate(asked())

    def fail(_answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(asked(), fail)
    assert engine.idle
    assert engine.generate(asked()) == whole


def test_a_cancelled_request_gives_its_slot_to_the_next(model):
    engine = Engine(model, end_id=-1, slots=1)
    for name in "abc":
        engine.submit(Request(name, [5], Sampling(seed=1)))
    assert [event.request_id for event in engine.step()] == ["a"]
    assert engine.cancel("b") == Event("b", None, 0.0, "cancelled")  # waiting
    assert engine.cancel("a") == Event("a", None, 0.0, "cancelled")  # running
    assert engine.cancel("a") is None
    assert engine.cancel("never") is None
    assert [event.request_id for event in engine.step()] == ["c"]
    engine.cancel("c")
    assert engine.idle
    assert engine.step() == []


def test_everybody_gets_as_many_alternatives_as_he_asked_for(model):
    engine = Engine(model, end_id=END, slots=3)
    for top in (1, 5, 0):
        engine.submit(Request(str(top), [5, 6, 7], Sampling(seed=1, max_tokens=6), top=top))
    seen = set()
    while not engine.idle:
        seen |= {(int(event.request_id), len(event.top)) for event in engine.step()}
    assert seen == {(1, 1), (5, 5), (0, 0)}
