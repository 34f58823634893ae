"""Throughput is measured on the step that the run will make, and leaves the model as it was."""

import copy

import torch

from homeroom.training.loop import LoopSettings
from homeroom.training.throughput import tokens_per_second


def test_the_step_that_is_measured_is_the_runs(nano):
    before, shapes = copy.deepcopy(nano.state_dict()), []
    nano.register_forward_pre_hook(
        lambda _, given, named: shapes.append(tuple(named["tokens_BT"].shape)), with_kwargs=True
    )
    settings = LoopSettings(steps=1000, precision="float32")
    rate = tokens_per_second(nano, settings, length=8, rows=5, micro_rows=2, seconds=0)
    assert rate > 0
    assert shapes == [(2, 8), (2, 8), (1, 8)] * 4
    assert all(torch.equal(before[name], value) for name, value in nano.state_dict().items())


def test_steps_are_made_until_the_time_is_over(nano):
    settings = LoopSettings(steps=10**6, precision="float32")
    seen = []
    nano.register_forward_pre_hook(lambda *_: seen.append(1))
    tokens_per_second(nano, settings, length=8, rows=1, micro_rows=1, seconds=0.2)
    assert 1 < len(seen) < 10**6
