import math
import shutil
import subprocess

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeroom.evaluation.likelihood import (
    batches,
    bits_per_byte,
    bits_per_byte_by_language,
    choice_logprobs,
    score_texts,
    xz_bits_per_byte,
)
from homeroom.inference.request import Choice

SAME_MODEL = settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@torch.no_grad()
def logprobs(model, token_ids):
    """log p of every token but the first, one plain forward."""
    tokens = torch.tensor([token_ids])
    table = model.logits(model.hidden(tokens)).double().log_softmax(-1)[0]
    return [float(table[i, token]) for i, token in enumerate(token_ids[1:])]


def test_a_short_text_costs_the_sum_of_its_tokens(model, tokenizer):
    texts = ["守株待兔", "How are you?", "é\n"]
    for text, score in zip(texts, score_texts(model, tokenizer, texts), strict=True):
        expected = -sum(logprobs(model, [tokenizer.document_id, *tokenizer.encode(text)]))
        assert score.nats == pytest.approx(expected, rel=1e-5)
        assert score.bytes == len(text.encode())


def test_a_long_text_is_scored_once_per_token_each_with_enough_context(model, tokenizer):
    text = "守株待兔 How are you today? " * 18
    token_ids = [tokenizer.document_id, *tokenizer.encode(text)]
    context = model.config.max_length
    assert len(token_ids) > 3 * context
    expected, scored, begin = 0.0, 1, 0
    while scored < len(token_ids):
        piece = token_ids[begin : begin + context]
        assert begin == 0 or scored - begin == context // 4
        expected -= sum(logprobs(model, piece)[scored - begin - 1 :])
        scored = begin + len(piece)
        begin = scored - context // 4
    assert score_texts(model, tokenizer, [text])[0].nats == pytest.approx(expected, rel=1e-5)


@SAME_MODEL
@given(texts=st.lists(st.text(max_size=80), min_size=1, max_size=8), budget=st.sampled_from([1, 100, 8192]))
def test_a_texts_cost_does_not_depend_on_its_neighbours(model, tokenizer, texts, budget):
    together = score_texts(model, tokenizer, texts, batch_tokens=budget)
    for text, score in zip(texts, together, strict=True):
        assert score.nats == pytest.approx(score_texts(model, tokenizer, [text])[0].nats, rel=1e-4, abs=1e-4)


def test_bits_per_byte_of_an_untrained_model_is_that_of_a_uniform_guess(model, tokenizer):
    torch.nn.init.zeros_(model.head.weight)
    text = "守株待兔"
    expected = len(tokenizer.encode(text)) * math.log2(tokenizer.vocab_size) / 12
    assert bits_per_byte(score_texts(model, tokenizer, [text])) == pytest.approx(expected, rel=1e-5)


def test_languages_are_weighed_by_their_bytes(model, tokenizer):
    scores = score_texts(model, tokenizer, ["守株待兔", "How are you today? I am fine.", ""])
    figures = bits_per_byte_by_language(scores, ["zh", "en", "code"])
    assert set(figures) == {"all", "zh", "en"}
    assert figures["all"] == pytest.approx((figures["zh"] * 12 + figures["en"] * 29) / 41)


@SAME_MODEL
@given(
    shared=st.lists(st.integers(10, 90), max_size=12),
    items=st.lists(
        st.tuples(
            st.lists(st.integers(10, 90), min_size=1, max_size=20),
            st.lists(
                st.builds(
                    Choice,
                    scored=st.lists(st.integers(10, 90), min_size=1, max_size=4),
                    given=st.lists(st.integers(10, 90), max_size=4),
                ),
                min_size=1,
                max_size=4,
            ),
        ),
        min_size=1,
        max_size=7,
    ),
    budget=st.sampled_from([1, 60, 8192]),
)
def test_choices_from_the_cache_score_as_in_one_plain_forward(model, shared, items, budget):
    prompts = [shared + prompt for prompt, _ in items]
    choices = [options for _, options in items]
    for prompt, options, scores in zip(
        prompts, choices, choice_logprobs(model, prompts, choices, batch_tokens=budget), strict=True
    ):
        expected = [
            sum(logprobs(model, prompt + option.token_ids)[len(prompt) + len(option.given) - 1 :]) for option in options
        ]
        assert scores == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_prompt_that_overflows_the_context_is_refused(model):
    with pytest.raises(ValueError, match="prompt with its longest choice has 49 tokens; 1 to 48 fit"):
        choice_logprobs(model, [[5] * 40], [[Choice([6] * 9), Choice([7])]])
    choice_logprobs(model, [[5] * 40], [[Choice([6] * 4, [6] * 4), Choice([7])]])
    with pytest.raises(ValueError, match="each choice needs a token that is scored"):
        choice_logprobs(model, [[5]], [[Choice([])]])
    assert choice_logprobs(model, [], []) == []


@given(lengths=st.lists(st.integers(1, 50), max_size=30), budget=st.integers(1, 200))
def test_batches_hold_everything_once_within_the_budget(lengths, budget):
    cut = list(batches(lengths, lambda n: n, budget))
    assert sorted(n for batch in cut for n in batch) == sorted(lengths)
    assert all(len(batch) == 1 or max(batch) * len(batch) <= budget for batch in cut)


@pytest.mark.skipif(shutil.which("xz") is None, reason="needs the xz program as the reference")
def test_the_xz_figure_is_that_of_the_program():
    texts = [f"document {i}: {i * i} squares\n" for i in range(2000)]
    data = "\n".join(texts).encode()
    packed = subprocess.run(["xz", "-9e", "--stdout"], input=data, capture_output=True, check=True).stdout
    assert xz_bits_per_byte(texts) == pytest.approx(8 * len(packed) / len(data), rel=1e-3)


def test_xz_primed_with_the_same_text_needs_almost_nothing():
    generator = torch.Generator().manual_seed(0)
    texts = [bytes(torch.randint(32, 127, (400,), generator=generator).tolist()).decode() for _ in range(50)]
    assert xz_bits_per_byte(texts) > 6
    assert xz_bits_per_byte(texts, primed_with=["unrelated", *texts]) < 0.1


def test_no_text_has_no_bits_per_byte():
    with pytest.raises(ValueError, match="at least one byte"):
        xz_bits_per_byte([])
    with pytest.raises(ValueError, match="at least one byte"):
        bits_per_byte([])
