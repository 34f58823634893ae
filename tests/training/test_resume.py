"""A run that was killed and resumed ends with the same weights, bit for bit, as one that was not."""

import copy
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from homeroom.files import is_aside
from homeroom.models.checkpoint import CheckpointError
from homeroom.models.gpt import GPT, Config
from homeroom.training.loop import LoopSettings, train
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.optimizers import Optimizer, OptimizerSettings
from homeroom.training.resume import load_run, save_run

KILLED_RUNS = Path(__file__).with_name("killed_runs.py")


@pytest.mark.parametrize("what", ["pretrain", "ppo"])
def test_killed_at_random_moments_it_ends_with_the_same_weights(what):
    seed = random.randrange(2**31)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # In memory where there is such a folder: hundreds of fsyncs take a minute on a busy disk, and a kill, other than a
    # power cut, leaves the same with and without them.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        command = [sys.executable, "-W", "error", str(KILLED_RUNS), folder, what, str(seed)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        left = {path.name for path in Path(folder).iterdir()}
    assert result.returncode == 0, f"seed {seed}: {result.stdout}{result.stderr}"
    found = json.loads(result.stdout)
    assert found["same"], f"seed {seed}: the weights differ; {found}"
    assert found["kills"] >= 6
    assert max(found["starts"]) > 0, found  # or nothing was ever resumed
    assert {name for name in left if not is_aside(name)} <= {"whole", "resumed", "checkpoint"}


def run(model, source, path, steps=6, hook=lambda state: None):
    settings = LoopSettings(steps=steps, precision="float32", checkpoint_seconds=0)
    return train(model, NextToken(), source, settings, checkpoint=path, hooks=[(1, hook)])


def test_what_is_frozen_is_not_saved_and_the_rest_goes_on(nano, token_batch, steps, tmp_path):
    def model():
        made = copy.deepcopy(nano)
        made.trunk.blocks[0].requires_grad_(False)
        return made

    path = tmp_path / "run.safetensors"
    whole = model()
    run(whole, steps(*[[token_batch]] * 6), None)
    with pytest.raises(KeyboardInterrupt):
        run(model(), steps(*[[token_batch]] * 6), path, hook=killed_at(4))
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    assert "model.trunk.blocks.1.attention.qkv.weight" in names
    assert not any(".blocks.0." in name for name in names)
    resumed = model()
    run(resumed, steps(*[[token_batch]] * 6), path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def killed_at(step):
    def hook(state):
        if state.step == step:
            raise KeyboardInterrupt

    return hook


def test_a_run_that_was_through_makes_its_last_step_again(nano, token_batch, steps, tmp_path):
    """A kill may come after the last step, before the stage publishes: then too hooks have to see an end."""
    path = tmp_path / "run.safetensors"
    first = run(nano, steps(*[[token_batch]] * 6), path)
    weights = {name: value.clone() for name, value in nano.state_dict().items()}
    seen = []
    second = run(nano, steps(*[[token_batch]] * 6), path, hook=lambda state: seen.append(state.step))
    assert seen == [6]
    assert second.metrics == first.metrics
    assert (second.step, second.tokens) == (first.step, first.tokens)
    torch.testing.assert_close(dict(nano.state_dict()), weights, rtol=0, atol=0)


def test_the_number_format_is_the_one_that_the_run_began_with(nano, token_batch, steps, tmp_path, monkeypatch):
    """`auto` measures, and a busy machine may measure something else the next time."""
    from homeroom.models import precision

    def measured(bfloat16):
        monkeypatch.setattr(precision, "measure_peak", lambda _: precision.Peak(1.0, bfloat16))

    def go(path, hook=lambda state: None):
        torch.manual_seed(0)
        model = GPT(nano.config)
        settings = LoopSettings(steps=4, checkpoint_seconds=0)
        train(model, NextToken(), steps(*[[token_batch]] * 4), settings, checkpoint=path, hooks=[(1, hook)])
        return dict(model.state_dict())

    measured(9.0)
    whole = go(None)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run.safetensors", killed_at(3))
    measured(0.1)
    torch.testing.assert_close(go(tmp_path / "run.safetensors"), whole, rtol=0, atol=0)


def test_a_tied_model_is_saved_once_and_restored(tmp_path):
    model = GPT(Config(vocab_size=20, width=16, heads=2, layers=1, tied=True))
    optimizer = Optimizer(model, OptimizerSettings())
    save_run(tmp_path / "run", model, optimizer, {"step": 3})
    other = GPT(model.config)
    assert load_run(tmp_path / "run", other, Optimizer(other, OptimizerSettings())) == {"step": 3}
    torch.testing.assert_close(dict(other.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    assert other.head.weight is other.embedding.weight


@pytest.mark.parametrize("damage", ["truncated", "a changed bit", "not a checkpoint", "another shape", "another model"])
def test_what_cannot_be_resumed_from_is_named(damage, nano, tmp_path):
    path = tmp_path / "run.safetensors"
    shape = nano.config.model_copy(
        update={"another shape": {"width": 32}, "another model": {"layers": 1}}.get(damage, {})
    )
    other = GPT(shape)
    save_run(path, other, Optimizer(other, OptimizerSettings()), {"step": 1})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    if damage == "a changed bit":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    if damage == "not a checkpoint":
        path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"run.safetensors: cannot be resumed from .*; delete it to start"):
        load_run(path, nano, Optimizer(nano, OptimizerSettings()))


def test_without_a_file_it_begins_anew(nano, tmp_path):
    assert load_run(tmp_path / "none", nano, Optimizer(nano, OptimizerSettings())) is None
