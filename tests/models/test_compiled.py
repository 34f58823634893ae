"""The compiled forward: the ordinary module's results, exact products, and the same bits in whatever company."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.models import machine_code
from homeroom.models.compiled import CompiledGPT, _packed, can_compile, project
from homeroom.models.int8 import Int8Weights
from homeroom.models.kv_cache import Piece

pytest.importorskip("numba")
ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_length": 16}
SHAPES = {
    "plain": {},
    "tied": {"tied": True, "vocab_size": 51},
    "grouped": {"kv_heads": 2, "hidden": 40, "rope_theta": 500.0, "norm_epsilon": 1e-3},
    "odd": {"width": 40, "heads": 5, "kv_heads": 1, "hidden": 44, "vocab_size": 51},
    "odd-tied": {"width": 42, "heads": 3, "head_size": 24, "hidden": 45, "tied": True},
    "wide-heads": {"head_size": 72, "kv_heads": 2},  # more than one of 64 and one of 8
    "llama-3": {"rope_scaling": ROPE},
    "qwen2": {"qkv_bias": True, "kv_heads": 2, "tied": True},
    "qwen3": {"qk_norm": True, "kv_heads": 2, "head_size": 16},
}


def compiled_of(model, threads=2):
    made = CompiledGPT(Int8Weights.of(model))
    made._threads = threads
    return made


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_it_computes_what_the_module_computes(new_model, shape):
    model = new_model(**SHAPES[shape])
    weights = Int8Weights.of(model)
    compiled, restored = CompiledGPT(weights), weights.restored()
    tokens_BT = torch.randint(0, model.config.vocab_size, (3, 21), generator=torch.Generator().manual_seed(1))
    tokens_BT[0, 0] = model.config.vocab_size - 1
    pieces = [Piece(slot, 0, row.tolist()) for slot, row in enumerate(tokens_BT)]
    hidden_ND = compiled.read(compiled.new_cache(3, 24), pieces)
    logits_NV = compiled.logits(hidden_ND)
    expected_BTD = restored.hidden(tokens_BT)
    for found, expected in (
        (hidden_ND, expected_BTD.flatten(0, 1)),
        (logits_NV, restored.logits(expected_BTD).flatten(0, 1)),
    ):
        assert found.shape == expected.shape
        # An activation is rounded by up to 2^-16 of its row's largest, keys and values to 11 bits. Ten products one
        # after the other, and weights that make differences grow, leave up to 3 · 10^-3 of the largest result; a part
        # left out would leave 10^-1.
        assert (found - expected).abs().max() < 5e-3 * expected.abs().max()


@torch.no_grad()
def test_rounded_rows_are_as_near_where_columns_are_many(new_model):
    """From 516 columns on, activations have fewer than 16 bits, or their sums would not fit."""
    model = new_model(width=1024, layers=1, deviation=0.03)
    weights = Int8Weights.of(model)
    compiled, tokens = CompiledGPT(weights), list(range(20))
    found = compiled.logits(compiled.read(compiled.new_cache(1, 24), [Piece(0, 0, tokens)]))
    expected = weights.restored().logits(weights.restored().hidden(torch.tensor([tokens])))[0]
    assert (found - expected).abs().max() < 2e-3 * expected.abs().max()


def exact(weights_RC, activations_NC, threads):
    """Through the kernel, with rows whose largest activation is the largest integer: then rounding changes nothing."""
    rows = len(weights_RC)
    matrix = torch.from_numpy(weights_RC)
    packed_LRC, worth_LR = _packed([matrix], [torch.ones(rows)], 1, machine_code.load())
    out_NR = project(activations_NC.astype(np.float32), packed_LRC[0], worth_LR[0], threads)
    assert not out_NR[:, rows:].any()
    expected_NR = activations_NC.astype(np.int64) @ weights_RC.astype(np.int64).T
    np.testing.assert_array_equal(out_NR[:, :rows], expected_NR.astype(np.float32))


def largest(columns):
    from homeroom.models import kernels

    return kernels.greatest.py_func(-(-columns // 64) * 64)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 1400),
    count=st.integers(1, 11) | st.sampled_from([63, 64, 65, 130]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_products_are_exact(rows, columns, count, threads, seed):
    random, most = np.random.default_rng(seed), largest(columns)
    weights_RC = random.integers(-127, 128, (rows, columns), dtype=np.int8)
    activations_NC = random.integers(-most, most + 1, (count, columns))
    activations_NC[np.arange(count), random.integers(0, columns, count)] = most
    exact(weights_RC, activations_NC, threads)


@pytest.mark.parametrize("columns", [1, 64, 512, 576, 1536, 8192])
def test_the_largest_products_do_not_overflow(columns):
    signs = np.array([[1], [-1]])
    weights_RC = (signs * np.full(columns, 127)).astype(np.int8)
    exact(weights_RC, np.concatenate([signs * np.full(columns, largest(columns))] * 3), 1)
    # Neighbours are added in one instruction: both at their extreme, of one sign and of two.
    mixed_C = np.where(np.arange(columns) % 3 == 0, -1, 1)
    exact((weights_RC * mixed_C).astype(np.int8), mixed_C[None] * largest(columns), 1)


@st.composite
def readings(draw):
    """Prompts in pieces, and which pieces are read together."""
    prompts = draw(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=30), min_size=1, max_size=5))
    slots = draw(st.permutations(range(7)))
    left = [(slot, prompt, 0) for slot, prompt in zip(slots, prompts, strict=False)]
    together = []
    while left:
        chosen = draw(st.lists(st.integers(0, len(left) - 1), min_size=1, unique=True))
        pieces = []
        for index in chosen:
            slot, prompt, start = left[index]
            end = draw(st.integers(start + 1, len(prompt)))
            pieces.append(Piece(slot, start, prompt[start:end]))
            left[index] = (slot, prompt, end)
        together.append(pieces)
        left = [one for one in left if one[2] < len(one[1])]
    return prompts, slots, together


@pytest.fixture(scope="module", params=["grouped", "qwen3"])
def small(request, new_model):
    return compiled_of(new_model(**SHAPES[request.param] | {"vocab_size": 51, "max_length": 32}))


@settings(max_examples=30)
@given(reading=readings(), threads=st.integers(1, 3))
def test_results_are_the_same_to_the_bit_in_any_company(small, reading, threads):
    prompts, slots, together = reading
    small._threads = threads
    cache, found = small.new_cache(7, 32), {slot: [] for slot in slots}
    for pieces in together:
        hidden_ND = small.read(cache, pieces)
        logits_NV = small.logits(hidden_ND)
        lengths = [len(piece.token_ids) for piece in pieces]
        for piece, part, scores in zip(pieces, hidden_ND.split(lengths), logits_NV.split(lengths), strict=True):
            found[piece.slot].append((part, scores))
    small._threads = 1
    for slot, prompt in zip(slots, prompts, strict=False):
        alone_ND = small.read(small.new_cache(1, 32), [Piece(0, 0, prompt)])
        assert torch.equal(torch.cat([part for part, _ in found[slot]]), alone_ND)
        assert torch.equal(torch.cat([scores for _, scores in found[slot]]), small.logits(alone_ND))


def test_it_says_which_shapes_it_knows(new_model):
    for changes in ({"style": "gpt2"}, {"head_size": 12}):
        model = new_model(**changes)
        assert not can_compile(model.config)
        with pytest.raises(ValueError, match="Llama-style models with heads of a multiple of 8"):
            CompiledGPT(Int8Weights.of(model))
    assert can_compile(new_model().config)


def run(code):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_numba_is_loaded_only_where_something_is_compiled():
    run("""
        import sys
        import homeroom.inference.engine
        assert not {"numba", "llvmlite"} & sys.modules.keys()
    """)


def test_without_numba_everything_else_works():
    run("""
        import importlib.util, sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("numba", "llvmlite"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *more: None if name == "numba" else find(name, *more)
        sys.meta_path.insert(0, Blocker())
        from homeroom.inference.engine import Engine
        from homeroom.inference.request import Request
        from homeroom.models.compiled import CompiledGPT, can_compile
        from homeroom.models.gpt import GPT, Config
        from homeroom.models.int8 import Int8Weights

        config = Config(vocab_size=50, width=32, layers=1)
        assert not can_compile(config)
        weights = Int8Weights.of(GPT(config))
        (answer,) = Engine(weights.restored(), end_id=3).generate([Request("a", [1, 2])])
        assert answer.token_ids
        try:
            CompiledGPT(weights)
        except (ImportError, ValueError):
            pass
        else:
            raise AssertionError("compiled without a compiler")
    """)
