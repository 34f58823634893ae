"""Weights in int8: rounded no further than half a step, and read from folders with suspicion."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from homeroom.models.checkpoint import SETTINGS, CheckpointError
from homeroom.models.int8 import WEIGHTS, Int8Weights, quantise


@given(seed=st.integers(0, 999), rows=st.integers(1, 9), columns=st.integers(1, 40), power=st.integers(-30, 30))
def test_a_weight_is_rounded_by_half_a_step_at_most(seed, rows, columns, power):
    matrix_RC = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 2.0**power
    matrix_RC[seed % rows] = 0
    rounded_RC, worth_R = quantise(matrix_RC)
    assert rounded_RC.dtype == torch.int8
    error_RC = (rounded_RC.double() * worth_R.double()[:, None] - matrix_RC).abs()
    assert (error_RC <= worth_R.double()[:, None] * (0.5 + 1e-5)).all()  # the division is rounded as well
    assert not rounded_RC[seed % rows].any()
    assert worth_R.isfinite().all()
    largest_R = rounded_RC.abs().amax(dim=1)
    assert ((largest_R == 127) | (matrix_RC == 0).all(dim=1)).all()


@torch.no_grad()
def test_what_is_saved_comes_back_to_the_bit(model, tokens_BT, tmp_path):
    weights = Int8Weights.of(model)
    weights.save(tmp_path, {"eos_token_id": 3})
    loaded = Int8Weights.load(tmp_path)
    said = {name: value for name, value in model.config.model_dump().items() if value is not None}
    assert {name: loaded.config.model_dump()[name] for name in said} == said
    assert loaded.tensors.keys() == weights.tensors.keys()
    for name, tensor in weights.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor), name
    restored = loaded.restored()
    assert torch.equal(restored.hidden(tokens_BT), weights.restored().hidden(tokens_BT))
    for name, tensor in model.state_dict().items():
        matrix = tensor.ndim == 2 and name != "positions.weight"
        step = tensor.abs().amax(dim=-1, keepdim=True) / 127 * (0.5 + 1e-5) if matrix else torch.zeros(1)
        assert ((restored.state_dict()[name] - tensor).abs() <= step).all(), name
    assert sum(t.nbytes for t in weights.tensors.values()) < 0.4 * sum(p.nbytes for p in model.state_dict().values())


def _drop(tensors):
    del tensors["trunk.blocks.0.attention.qkv.weight"]


def _drop_scale(tensors):
    del tensors["head.scale"]


def _floats(tensors):
    tensors["head.weight"] = tensors["head.weight"].float()


def _rounded_norm(tensors):
    tensors["trunk.norm.weight"] = tensors["trunk.norm.weight"].to(torch.int8)


def _short(tensors):
    tensors["embedding.weight"] = tensors["embedding.weight"][:-1].clone()


def _short_scale(tensors):
    tensors["embedding.scale"] = tensors["embedding.scale"][:-1].clone()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop, "tensor 'trunk.blocks.0.attention.qkv.weight' is missing"),
        (_drop_scale, "tensor 'head.scale' is missing"),
        (_floats, r"head.weight is torch.float32 \(50, 32\), config.json asks for torch.int8 \(50, 32\)"),
        (_rounded_norm, "trunk.norm.weight is torch.int8"),
        (_short, r"embedding.weight is torch.int8 \(49, 32\), config.json asks for torch.int8 \(50, 32\)"),
        (_short_scale, r"embedding.scale is torch.float32 \(49,\)"),
    ],
)
def test_a_tensor_that_is_not_what_the_settings_say_is_refused(new_model, tmp_path, spoil, message):
    Int8Weights.of(new_model()).save(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    spoil(tensors)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=f"{WEIGHTS}: {message}"):
        Int8Weights.load(tmp_path)


def test_a_file_that_is_missing_or_damaged_is_named(new_model, tmp_path):
    with pytest.raises(CheckpointError, match=f"{WEIGHTS}: missing"):
        Int8Weights.load(tmp_path)
    Int8Weights.of(new_model()).save(tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    for spoiled in (whole[:-1], whole[:100], b"", b"\xff" * 8 + whole[8:]):
        (tmp_path / WEIGHTS).write_bytes(spoiled)
        with pytest.raises(CheckpointError, match=f"{WEIGHTS}: damaged or truncated"):
            Int8Weights.load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(whole)
    Int8Weights.load(tmp_path)
    (tmp_path / SETTINGS).write_text("{")
    with pytest.raises(CheckpointError, match=SETTINGS):
        Int8Weights.load(tmp_path)
    (tmp_path / SETTINGS).unlink()
    with pytest.raises(CheckpointError, match=SETTINGS):
        Int8Weights.load(tmp_path)
