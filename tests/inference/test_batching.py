"""Whoever else is being answered, in whatever order and in however many slots: an answer stays the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.inference.request import Request, Sampling

SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0, 1.6]),
    top_k=st.sampled_from([0, 4, 12]),
    top_p=st.sampled_from([1.0, 0.9, 0.4]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    max_tokens=st.integers(1, 20),
    seed=st.integers(-3, 50),
)
PROMPTS = st.lists(st.integers(0, 19), min_size=1, max_size=18)


@st.composite
def some_requests(draw):
    asked = draw(st.lists(st.tuples(PROMPTS, SAMPLINGS), min_size=1, max_size=7))
    return [Request(f"r{i}", prompt, sampling) for i, (prompt, sampling) in enumerate(asked)]


def alone(new_engine, requests):
    engine = new_engine(slots=1)
    return {request.id: engine.generate([request])[0] for request in requests}


@settings(max_examples=25)
@given(requests=some_requests(), slots=st.integers(1, 4), data=st.data())
def test_batched_is_alone_in_any_order(new_engine, requests, slots, data):
    expected = alone(new_engine, requests)
    order = data.draw(st.permutations(requests))
    engine = new_engine(slots=slots)
    for answer, request in zip(engine.generate(order), order, strict=True):
        assert answer.request_id == request.id
        assert answer.token_ids == expected[request.id].token_ids
        assert answer.finish_reason == expected[request.id].finish_reason
        assert answer.logprobs == pytest.approx(expected[request.id].logprobs, abs=1e-5)
    assert engine.idle


@settings(max_examples=25)
@given(requests=some_requests(), slots=st.integers(1, 3), data=st.data())
def test_coming_late_and_leaving_early_disturbs_nobody(new_engine, requests, slots, data):
    expected = alone(new_engine, requests)
    engine = new_engine(slots=slots)
    told = {request.id: [] for request in requests}
    left, ended, coming = set(), {}, list(requests)
    while coming or not engine.idle:
        action = data.draw(st.sampled_from(["submit", "step", "step", "cancel"]))
        if action == "submit" and coming:
            engine.submit(coming.pop(0))
        elif action == "cancel":
            name = data.draw(st.sampled_from(sorted(told)))
            event = engine.cancel(name)
            assert (event is None) == (name in ended or name in left or name in {one.id for one in coming})
            if event is not None:
                left.add(name)
        else:
            events = engine.step()
            assert len(events) <= slots
            for event in events:
                assert event.request_id not in left | ended.keys()
                told[event.request_id].append(event.token_id)
                if event.finish_reason is not None:
                    ended[event.request_id] = event.finish_reason
    for name, tokens in told.items():
        whole = expected[name]
        if name in left:
            assert tokens == whole.token_ids[: len(tokens)]
        else:
            assert (tokens, ended[name]) == (whole.token_ids, whole.finish_reason)


def test_every_slot_is_used_and_first_come_is_first_served(new_engine):
    engine = new_engine(slots=3)
    requests = [Request(f"r{i}", [5], Sampling(max_tokens=i % 3 + 1, seed=i)) for i in range(9)]
    for request in requests:
        engine.submit(request)
    begun, most = [], 0
    while not engine.idle:
        waiting = len(engine.scheduler.waiting)
        events = engine.step()
        most = max(most, len(events))
        assert len(events) == 3 or waiting < 3
        begun += [event.request_id for event in events if event.request_id not in begun]
    assert most == 3
    assert begun == [request.id for request in requests]


def test_a_sampled_distribution_is_the_models(new_engine, shared_model):
    requests = [Request(str(seed), [5, 9], Sampling(seed=seed, max_tokens=1)) for seed in range(2000)]
    picked = torch.tensor([answer.token_ids[0] for answer in new_engine(slots=500).generate(requests)])
    with torch.no_grad():
        expected = shared_model.logits(shared_model.hidden(torch.tensor([[5, 9]])))[0, -1].softmax(-1)
    assert (picked.bincount(minlength=20) / 2000 - expected).abs().max() < 0.04
