"""Prompts read in pieces, taken over from others, and scored: the answers and scores stay the plain ones."""

from itertools import pairwise

import pytest
import torch

from homeroom.inference.engine import Engine
from homeroom.inference.prefixes import WORTH, Prefixes
from homeroom.inference.request import Event, Request, Sampling
from homeroom.inference.sampling import sample
from homeroom.models.kv_cache import Held
from homeroom.models.precision import products_in

END, KEPT = 3, 200
SYSTEM = [(7 * i) % 47 + 4 for i in range(40)]


def asked(**more):
    """Prompts that begin alike to different lengths, short ones, and one whole within another."""
    prompts = [[*SYSTEM, 5, 6], SYSTEM[:36] + [9] * 8, [8], SYSTEM, [*SYSTEM, 5, 6, 7], SYSTEM[:10], [11] * 50]
    return [
        Request(str(i), prompt, Sampling(seed=i, max_tokens=9, temperature=i % 3 / 2), **more)
        for i, prompt in enumerate(prompts)
    ]


@torch.no_grad()
def log_probs(model, ids):
    return torch.log_softmax(model.logits(model.hidden(torch.tensor([ids])))[0], dim=-1)


@pytest.mark.parametrize("chunk", [None, 1, 7, 64])
@pytest.mark.parametrize("prefix_tokens", [0, KEPT])
@pytest.mark.parametrize("slots", [2, 8])
def test_answers_and_scores_are_the_plain_engines(compiled, long_model, chunk, prefix_tokens, slots):
    requests = asked(score_from=2, top=2)[:2] + asked()[2:5] + asked(score_from=3)[5:]
    for model, exact in ((compiled, True), (long_model, False)):
        plain = [Engine(model, end_id=END, slots=1).generate([request])[0] for request in requests]
        engine = Engine(model, end_id=END, slots=slots, chunk=chunk, prefix_tokens=prefix_tokens)
        for _ in range(2):
            answers = engine.generate(requests)
            assert len(engine.prefixes) <= prefix_tokens
            if exact:
                assert answers == plain
            for answer, expected in zip(answers, plain, strict=True):
                assert (answer.token_ids, answer.finish_reason) == (expected.token_ids, expected.finish_reason)
                assert answer.logprobs == pytest.approx(expected.logprobs, abs=1e-5)
                scores = [[score.logprob for score in one.prompt] for one in (answer, expected)]
                assert scores[0] == pytest.approx(scores[1], abs=1e-5)
        assert (engine.reused > 0) == (prefix_tokens > 0)


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("score_from", [1, 20, 41, 42])
def test_scores_of_a_prompt_are_a_whole_forwards(long_model, chunk, score_from):
    prompt = [*SYSTEM, 5, 6]
    engine = Engine(long_model, end_id=END, slots=2, chunk=chunk, prefix_tokens=KEPT)
    expected_TV = log_probs(long_model, prompt)
    for name in "ab":
        (answer,) = engine.generate([Request(name, prompt, Sampling(max_tokens=0), score_from=score_from, top=3)])
        assert (answer.token_ids, answer.finish_reason) == ([], "length")
        assert [score.token_id for score in answer.prompt] == prompt[score_from:]
        for place, score in enumerate(answer.prompt, start=score_from):
            assert score.logprob == pytest.approx(expected_TV[place - 1, prompt[place]].item(), abs=1e-5)
            best = expected_TV[place - 1].topk(3)
            assert [token for token, _ in score.top] == best.indices.tolist()
            assert [logprob for _, logprob in score.top] == pytest.approx(best.values.tolist(), abs=1e-5)
    # What stands before a scored token is read again, the rest is taken over.
    assert engine.reused == (score_from - 1 if score_from > WORTH else 0)


def test_a_prompt_that_fills_the_context_can_be_scored_but_not_answered(long_model):
    engine = Engine(long_model, end_id=END, slots=1, max_length=20)
    with pytest.raises(ValueError, match="the prompt has 20 tokens; 1 to 19 fit a context of 20"):
        engine.submit(Request("a", [5] * 20))
    engine.submit(Request("a", [5] * 20, Sampling(max_tokens=0), score_from=1))
    (event,) = engine.step()
    assert (event.token_id, event.finish_reason, len(event.prompt)) == (None, "length", 19)
    assert engine.idle
    for wrong in (0, 3, -1):
        with pytest.raises(ValueError, match=f"score_from is {wrong}; 1 to 2 can be scored"):
            engine.submit(Request("b", [5, 6], score_from=wrong))


def test_the_likeliest_tokens_come_with_each_token(long_model):
    engine = Engine(long_model, end_id=END, slots=2)
    engine.submit(Request("a", [5, 6], Sampling(seed=1, max_tokens=4, top_k=3), top=5))
    engine.submit(Request("b", [5, 6], Sampling(seed=1, max_tokens=4, top_k=3)))
    ids = [5, 6]
    while not engine.idle:
        for event in engine.step():
            if event.request_id == "a":
                best = log_probs(long_model, ids)[-1].topk(5)
                assert [token for token, _ in event.top][:5] == best.indices.tolist()
                ids.append(event.token_id)


@pytest.mark.parametrize("fixture", ["compiled", "long_model"])
def test_a_beginning_is_taken_over_from_the_running_and_from_the_ended(request, fixture):
    engine = Engine(request.getfixturevalue(fixture), end_id=-1, slots=2, prefix_tokens=KEPT)
    engine.submit(Request("a", [*SYSTEM, 5], Sampling(max_tokens=3)))
    engine.step()
    engine.submit(Request("b", [*SYSTEM, 6], Sampling(max_tokens=1)))
    engine.step()
    assert engine.reused == 40  # of a, which runs on
    engine.step()
    assert engine.idle
    engine.generate([Request("c", [*SYSTEM[:35], 7], Sampling(max_tokens=1))])
    assert engine.reused == 75  # of what was kept
    engine.generate([Request("d", [*SYSTEM[: WORTH - 1], 7], Sampling(max_tokens=1))])
    assert engine.reused == 75  # too little to look for


def test_one_that_begins_like_another_waits_for_it_and_takes_over(long_model):
    engine = Engine(long_model, end_id=-1, slots=4, prefix_tokens=KEPT)
    for name in "abc":
        engine.submit(Request(name, [*SYSTEM, ord(name) % 40], Sampling(max_tokens=9)))
    assert [event.request_id for event in engine.step()] == ["a"]
    assert [event.request_id for event in engine.step()] == ["a", "b", "c"]
    assert engine.reused == 80


def test_other_weights_forget_what_was_kept(new_model, long_model):
    model = new_model(vocab_size=51, max_length=128, width=32)
    engine = Engine(model, end_id=-1, slots=2, prefix_tokens=KEPT)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def step():
        model.hidden(torch.tensor([[1, 2]])).sum().backward()
        optimizer.step()

    def load():
        model.load_state_dict(new_model(vocab_size=51, max_length=128, width=32, seed=9).state_dict())

    requests = [Request("a", [*SYSTEM, 5], Sampling(seed=1, max_tokens=6))]
    answers = [engine.generate(requests)]
    for change in (step, load):
        reused = engine.reused
        change()
        answers.append(engine.generate(requests))
        assert engine.reused == reused
        assert answers[-1] == Engine(model, end_id=-1, slots=1).generate(requests)
        engine.generate(requests)
        assert engine.reused > reused
    assert all(one != other for one, other in pairwise(answers))


def test_another_number_format_forgets_what_was_kept(new_model):
    model = new_model(vocab_size=51, max_length=128, width=32)
    engine = Engine(model, end_id=-1, slots=2, prefix_tokens=KEPT)
    requests = [Request("a", [*SYSTEM, 5], Sampling(seed=1, max_tokens=6))]
    plain = engine.generate(requests)
    with products_in(torch.bfloat16):
        assert engine.generate(requests) == Engine(model, end_id=-1, slots=1).generate(requests)
    assert engine.reused == 0
    assert engine.generate(requests) == plain
    assert engine.reused == 0


def test_kept_beginnings_stay_within_their_room_the_unused_go_first():
    prefixes = Prefixes(10)
    prefixes.at_version(1)
    for first in (1, 2):
        prefixes.keep([first] * 5, Held(torch.zeros(1, 1, 5, 1), torch.zeros(1, 1, 5, 1)))
    assert prefixes.longest([1, 1, 9])[0] == 2
    prefixes.keep([3] * 4, Held(torch.zeros(1, 1, 4, 1), torch.zeros(1, 1, 4, 1)))
    assert len(prefixes) == 9
    assert [prefixes.longest([first] * 9)[0] for first in (1, 2, 3)] == [5, 0, 4]
    prefixes.keep([3] * 5, Held(torch.zeros(1, 1, 5, 1), torch.zeros(1, 1, 5, 1)))  # goes on from one that is kept
    assert len(prefixes) == 10
    prefixes.at_version(2)
    assert prefixes.longest([1, 1, 1]) == (0, None)


def test_a_long_prompt_that_is_cancelled_frees_its_slot_at_once(long_model):
    engine = Engine(long_model, end_id=-1, slots=1, chunk=4, prefix_tokens=KEPT)
    engine.submit(Request("long", SYSTEM * 2))
    engine.submit(Request("next", [5, 6], Sampling(max_tokens=1)))
    assert engine.step() == engine.step() == []
    assert engine.cancel("long") == Event("long", None, 0.0, "cancelled")
    assert [event.request_id for event in engine.step()] == ["next"]
    assert engine.idle


def test_a_long_prompt_does_not_hold_up_the_words_of_others(long_model):
    engine = Engine(long_model, end_id=-1, slots=3, chunk=8)
    engine.submit(Request("running", [5], Sampling(max_tokens=30)))
    engine.step()
    engine.submit(Request("long", SYSTEM * 2))
    told = [[event.request_id for event in engine.step()] for _ in range(10)]
    assert told == [["running"]] * 9 + [["running", "long"]]


def test_any_of_several_ends_ends_an_answer(long_model):
    ends = {3, 10, 17, 20, 30}
    engine = Engine(long_model, end_id=ends, slots=8)
    answers = engine.generate([Request(str(i), [5, i], Sampling(seed=i, max_tokens=60)) for i in range(30)])
    assert len({answer.token_ids[-1] for answer in answers if answer.finish_reason == "stop"}) > 2
    for answer in answers:
        assert not ends & set(answer.token_ids[:-1])
        assert (answer.finish_reason == "stop") == (answer.token_ids[-1] in ends)


@pytest.mark.parametrize(("min_p", "kept"), [(0.0, 4), (0.09, 4), (0.11, 3), (0.29, 3), (0.31, 2), (0.7, 1), (1.0, 1)])
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(min_p, kept):
    logits_NV = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(200, 1)
    uniform_N = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    picked = sample(logits_NV, [Sampling(min_p=min_p)] * 200, uniform_N)
    whole = torch.tensor([0.5, 0.3, 0.15, 0.05][:kept])
    assert (picked.bincount(minlength=kept) / 200).tolist() == pytest.approx((whole / whole.sum()).tolist(), abs=0.011)


class OnlyEven:
    """Three even tokens, then the end."""

    def __init__(self):
        self.said = []

    def allowed(self):
        mask_V = torch.zeros(51, dtype=torch.bool)
        mask_V[[END] if len(self.said) == 3 else range(4, 51, 2)] = True
        return mask_V

    def accept(self, token_id):
        self.said.append(token_id)


@pytest.mark.parametrize("fixture", ["compiled", "long_model"])
def test_a_constraint_is_obeyed_and_binds_nobody_else(request, fixture):
    engine = Engine(request.getfixturevalue(fixture), end_id=END, slots=4, chunk=6, prefix_tokens=KEPT)
    free = [Request(str(i), [*SYSTEM, i], Sampling(seed=i, max_tokens=8)) for i in range(4)]
    alone = engine.generate(free)
    held = [Request(f"held {i}", [5, i], Sampling(seed=i, temperature=i / 2), constraint=OnlyEven()) for i in range(4)]
    answers = engine.generate([*held, *free])
    assert [answer.token_ids for answer in answers[4:]] == [answer.token_ids for answer in alone]
    for asked_for, answer in zip(held, answers, strict=False):
        assert answer.token_ids == asked_for.constraint.said
        assert [token % 2 for token in answer.token_ids[:3]] == [0, 0, 0]
        assert answer.token_ids[3:] == [END]
        assert answer.finish_reason == "stop"
        # The model's own opinion, not that of what it was held to.
        assert all(logprob < -0.01 for logprob in answer.logprobs)
