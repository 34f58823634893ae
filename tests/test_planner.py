"""The planner's arithmetic against the model it describes, and the dial's order of derivation."""

from dataclasses import asdict
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom import planner
from homeroom.models import gpt
from homeroom.planner import Shape, dial, flops_per_token, parameters, shape_of, tokens_for


@given(
    style=st.sampled_from(["gpt2", "llama"]),
    layers=st.integers(1, 3),
    heads=st.sampled_from([2, 4]),
    kv_heads=st.sampled_from([1, 2]),
    tied=st.booleans(),
    hidden=st.sampled_from([None, 48]),
)
@settings(max_examples=20)
def test_counts_the_parameters_that_the_model_has(
    style: Literal["gpt2", "llama"], layers: int, heads: int, kv_heads: int, tied: bool, hidden: int | None
) -> None:
    if style == "gpt2":
        kv_heads = heads
    shape = Shape(
        style=style, layers=layers, width=32, heads=heads, kv_heads=kv_heads, vocab_size=300, max_length=16, tied=tied,
        hidden=hidden,
    )  # fmt: skip
    model = gpt.GPT(gpt.Config(**asdict(shape)))
    assert parameters(shape) == sum(p.numel() for p in model.parameters())


def test_flops_count_every_multiplied_weight_six_times() -> None:
    shape = Shape(layers=1, width=64, heads=1, vocab_size=1000, max_length=32)
    matrices = 4 * 64 * 64 + 3 * 64 * shape.hidden_width + 1000 * 64
    norms = 3 * 64
    assert flops_per_token(shape) == 6 * (matrices + norms) + 6 * 64 * 32
    tied = Shape(layers=1, width=64, heads=1, vocab_size=1000, max_length=32, tied=True)
    assert flops_per_token(tied) == flops_per_token(shape)


@pytest.mark.parametrize("depth", planner.SIZES.values())
def test_every_size_gives_a_shape_that_fits_together(depth: int) -> None:
    chosen = {choice.name: choice.value for choice in dial(depth, {})}
    assert chosen["width"] % chosen["heads"] == 0
    assert chosen["batch_tokens"] % chosen["max_length"] == 0
    assert 1e-4 < chosen["learning_rate"] < 1e-2


@pytest.mark.parametrize(("width", "heads"), [(32, 1), (96, 1), (192, 3), (200, 4), (224, 4), (226, 1), (384, 6)])
def test_heads_divide_any_width_into_an_even_number(width: int, heads: int) -> None:
    chosen = {choice.name: choice.value for choice in dial(4, {"width": width})}
    assert chosen["heads"] == heads
    assert width % heads == 0
    assert width // heads % 2 == 0


def test_larger_models_get_more_tokens_larger_batches_and_smaller_steps() -> None:
    small, large = ({c.name: c.value for c in dial(depth, {})} for depth in (4, 12))
    assert small["tokens"] < large["tokens"]
    assert small["batch_tokens"] < large["batch_tokens"]
    assert small["learning_rate"] > large["learning_rate"]


def test_what_is_given_is_kept_and_nonsense_is_left_for_the_recipe_to_refuse() -> None:
    kept = {choice.name: choice for choice in dial(4, {"width": 96})}
    assert (kept["width"].value, kept["heads"].value, kept["vocab_size"].value) == (96, 1, 2304)
    for nonsense in ("wide", True, -3, 0, None, [1], float("inf"), float("nan"), 1e300):
        assert dial(4, {"width": nonsense}) == dial(4, {})


def test_a_tied_head_is_counted_once() -> None:
    chosen = {choice.name: choice.value for choice in dial(4, {})}
    untied, tied = (parameters(shape_of(chosen, {"tied": tied})) for tied in (False, True))
    assert untied - tied == chosen["vocab_size"] * chosen["width"]


def test_a_time_budget_is_whole_batches_and_at_least_one() -> None:
    assert tokens_for(10, 1000, 4096) == 8192
    assert tokens_for(0.1, 1000, 4096) == 4096
