"""Choices scored behind their prompts: what a plain forward without a cache gives, alone and in company."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.inference.decoder import PADDING, alike
from homeroom.inference.engine import Engine
from homeroom.inference.request import Choice, Request, Sampling

END = 3
SCORED = Sampling(max_tokens=0)
TOKENS = st.integers(0, 50)
CHOICES = st.lists(
    st.builds(Choice, scored=st.lists(TOKENS, min_size=1, max_size=5), given=st.lists(TOKENS, max_size=3)),
    min_size=1,
    max_size=4,
)
BEGINNING = [(7 * i) % 47 + 4 for i in range(40)]
PROMPTS = st.builds(
    lambda shared, own: BEGINNING[:shared] + own,
    st.sampled_from([0, 3, 35, 40]),
    st.lists(TOKENS, min_size=1, max_size=12),
)


@torch.no_grad()
def plain(model, prompt, choice):
    """log p(scored | prompt, given) by one forward over all tokens, without a cache."""
    ids = [*prompt, *choice.given, *choice.scored]
    table_TV = torch.log_softmax(model.logits(model.hidden(torch.tensor([ids])))[0], dim=-1)
    first = len(ids) - len(choice.scored)
    return sum(float(table_TV[place - 1, ids[place]]) for place in range(first, len(ids)))


@settings(max_examples=40)
@given(
    asked=st.lists(st.tuples(PROMPTS, CHOICES), min_size=1, max_size=7),
    slots=st.sampled_from([1, 3, 8]),
    chunk=st.sampled_from([None, 5]),
    prefix_tokens=st.sampled_from([0, 200]),
)
def test_choices_are_worth_what_a_plain_forward_says(long_model, asked, slots, chunk, prefix_tokens):
    engine = Engine(long_model, end_id=END, slots=slots, chunk=chunk, prefix_tokens=prefix_tokens)
    requests = [Request(str(i), prompt, SCORED, choices=choices) for i, (prompt, choices) in enumerate(asked)]
    # In company of answers that are being written, too.
    others = [Request(f"other {i}", [5, i], Sampling(seed=i, max_tokens=6)) for i in range(3)]
    answers = engine.generate([*others, *requests])
    assert engine.idle
    for (prompt, choices), answer in zip(asked, answers[3:], strict=True):
        assert (answer.token_ids, answer.finish_reason) == ([], "length")
        assert answer.choices == pytest.approx([plain(long_model, prompt, one) for one in choices], abs=1e-5)
    assert [answer.choices for answer in answers[:3]] == [()] * 3
    alone = Engine(long_model, end_id=END, slots=1).generate(others)
    assert [answer.token_ids for answer in answers[:3]] == [answer.token_ids for answer in alone]


def test_of_an_int8_model_they_are_the_same_to_the_bit_whoever_else_is_asked(compiled):
    choices = [Choice([9]), Choice([5, 6, 7]), Choice([8, 8], given=[4]), Choice([1, 2])]
    requests = [Request(str(i), [*BEGINNING, i, i + 1][i:], SCORED, choices=choices[i % 2 :]) for i in range(6)]
    alone = [Engine(compiled, end_id=END, slots=1).generate([request])[0] for request in requests]
    assert Engine(compiled, end_id=END, slots=4, chunk=7, prefix_tokens=200).generate(requests) == alone
    for request, answer in zip(requests, alone, strict=True):
        for choice, worth in zip(request.choices, answer.choices, strict=True):
            # The same numbers as the scores of a prompt that ends in the choice.
            ids = [*request.prompt_ids, *choice.token_ids]
            whole = Request("whole", ids, SCORED, score_from=len(ids) - len(choice.scored))
            (scored,) = Engine(compiled, end_id=END, slots=1).generate([whole])
            assert worth == pytest.approx(sum(score.logprob for score in scored.prompt), abs=1e-6)


def test_a_prompt_and_its_choices_are_scored_together(long_model):
    request = Request("a", BEGINNING, SCORED, score_from=30, choices=[Choice([5, 6]), Choice([7])])
    (answer,) = Engine(long_model, end_id=END, slots=1).generate([request])
    assert [score.token_id for score in answer.prompt] == BEGINNING[30:]
    for place, score in enumerate(answer.prompt, start=30):
        assert score.logprob == pytest.approx(plain(long_model, BEGINNING[:place], Choice([score.token_id])), abs=1e-5)
    assert answer.choices == pytest.approx([plain(long_model, BEGINNING, one) for one in request.choices], abs=1e-5)


def test_the_prompt_is_read_once_and_a_choices_last_token_never(long_model):
    engine = Engine(long_model, end_id=END, slots=1)
    read, real = [], engine.decoder.read

    def counted(cache, pieces):
        read.append([len(piece.token_ids) for piece in pieces])
        return real(cache, pieces)

    engine.decoder.read = counted
    engine.generate([Request("a", BEGINNING, SCORED, choices=[Choice([5, 6, 7]), Choice([8]), Choice([9, 8])])])
    assert read == [[40], [2], [1]]
    read.clear()
    engine.generate([Request("a", BEGINNING, SCORED, choices=[Choice([i]) for i in range(9)])])
    assert read == [[40]]


def test_one_that_is_cancelled_between_two_choices_leaves_its_slot(long_model):
    engine = Engine(long_model, end_id=END, slots=2)
    many = [Choice([5, 6, i]) for i in range(5)]
    engine.submit(Request("a", BEGINNING, SCORED, choices=many))
    engine.submit(Request("b", BEGINNING[5:], SCORED, choices=many))
    assert engine.step() == engine.step() == []
    assert engine.cancel("a").finish_reason == "cancelled"
    events = []
    while not engine.idle:
        events += engine.step()
    (event,) = events
    assert event.choices == pytest.approx([plain(long_model, BEGINNING[5:], one) for one in many], abs=1e-5)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"choices": [Choice([])]}, "each choice needs a token that is scored"),
        ({"choices": [Choice([5])], "sampling": Sampling(max_tokens=1)}, "max_tokens must be 0"),
        ({"choices": [Choice([5]), Choice([51])]}, "the request has token id 51; 0 to 50 are in the vocabulary"),
        ({"choices": [Choice([5]), Choice([6] * 80, [7] * 9)]}, "longest choice has 129 tokens; 1 to 128 fit"),
    ],
)
def test_what_cannot_be_scored_is_refused(long_model, more, why):
    engine = Engine(long_model, end_id=END, slots=1)
    with pytest.raises(ValueError, match=f"request 'a': .*{why}"):
        engine.submit(Request(**{"id": "a", "prompt_ids": BEGINNING, "sampling": SCORED} | more))
    assert engine.idle


@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_pieces_of_like_length_are_read_together(lengths):
    groups = alike(lengths)
    assert sorted(number for group in groups for number in group) == list(range(len(lengths)))
    for group in groups:
        assert group == sorted(group)
        longest = max(lengths[number] for number in group)
        assert sum(longest - lengths[number] for number in group) <= PADDING
    assert len(alike([7] * len(lengths))) == 1


def test_what_is_read_in_several_forwards_comes_back_in_order(long_model):
    requests = [Request(str(i), [*range(4, 4 + n)], SCORED, score_from=1) for i, n in enumerate((40, 2, 44, 1, 5, 43))]
    requests += [Request(f"long {i}", BEGINNING * 3, SCORED, score_from=1) for i in range(3)]
    assert len(alike([len(request.prompt_ids) for request in requests])) > 2
    for request, answer in zip(requests, Engine(long_model, end_id=END, slots=9).generate(requests), strict=True):
        ids = request.prompt_ids
        expected = [plain(long_model, ids[:place], Choice([ids[place]])) for place in range(1, len(ids))]
        assert [score.logprob for score in answer.prompt] == pytest.approx(expected, abs=1e-5)
