"""A run is stopped where lessons that it does not learn from get worse, and ends with its best weights."""

import copy
import math

import pytest
import torch

from homeroom.training.early_stopping import EarlyStopping
from homeroom.training.loop import LoopSettings, train
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.optimizers import OptimizerSettings

EVERY = 3


@pytest.fixture
def other_batch(token_batch):
    """What follows is the opposite end of the vocabulary: what fits the one batch does not fit this one."""
    last = int(token_batch.next_token_BT.max())
    return type(token_batch)(token_batch.tokens_BT, last - token_batch.next_token_BT, token_batch.learn_BT)


def run(model, stopping, source, folder, steps=30):
    settings = LoopSettings(
        steps=steps, warmup=0, precision="float32", checkpoint_seconds=0,
        optimizer=OptimizerSettings(kind="adamw", learning_rate=1e-2),
    )  # fmt: skip
    hooks = [(EVERY, stopping.look)]
    checkpoint = folder / "run.safetensors"
    return train(model, NextToken(), source, settings, hooks=hooks, checkpoint=checkpoint, on_start=stopping.start)


def stopping_of(source, folder, patience=2):
    return EarlyStopping(NextToken(), source, torch.float32, folder / "looks.json", patience)


def loss_of(model, batch):
    with torch.no_grad():
        loss = NextToken().loss(model.eval()(**batch.inputs()), batch)
    return float(loss.total / loss.weight)


def test_it_stops_where_what_is_set_apart_gets_worse_and_keeps_the_best(
    nano, token_batch, other_batch, steps, tmp_path
):
    stopping = stopping_of(steps([other_batch]), tmp_path)
    state = run(nano, stopping, steps(*[[token_batch]] * 30), tmp_path)
    step, loss = stopping.best
    assert state.stopped is not None
    assert str(step) in state.stopped
    assert state.step == step + 2 * EVERY
    assert loss_of(nano, other_batch) > loss
    stopping.restore(nano)
    assert loss_of(nano, other_batch) == pytest.approx(loss)


def test_what_gets_better_goes_on_to_the_end(nano, token_batch, steps, tmp_path):
    stopping = stopping_of(steps([token_batch]), tmp_path)
    state = run(nano, stopping, steps(*[[token_batch]] * 30), tmp_path)
    assert state.stopped is None
    assert state.step == stopping.best[0] == 30
    assert state.metrics["validation_loss"] == stopping.best[1]


def test_killed_after_a_look_it_goes_on_as_if_it_had_not_been(nano, token_batch, other_batch, steps, tmp_path):
    whole, killed, resumed = (copy.deepcopy(nano) for _ in range(3))
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    undisturbed = stopping_of(steps([other_batch]), folders[0])
    ended = run(whole, undisturbed, steps(*[[token_batch]] * 30), folders[0])
    undisturbed.restore(whole)

    class Killed(BaseException):
        pass

    class Dying(EarlyStopping):
        def look(self, state):
            super().look(state)
            if len(self.losses) == 2:
                raise Killed

    dying = Dying(NextToken(), steps([other_batch]), torch.float32, folders[1] / "looks.json", 2)
    with pytest.raises(Killed):
        run(killed, dying, steps(*[[token_batch]] * 30), folders[1])
    again = stopping_of(steps([other_batch]), folders[1])
    assert run(resumed, again, steps(*[[token_batch]] * 30), folders[1]).step == ended.step
    again.restore(resumed)
    assert again.losses == undisturbed.losses
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_killed_after_it_was_stopped_it_stops_there_again(nano, token_batch, other_batch, steps, tmp_path):
    fresh = copy.deepcopy(nano)
    stopping = stopping_of(steps([other_batch]), tmp_path)
    ended = run(nano, stopping, steps(*[[token_batch]] * 30), tmp_path)
    again = stopping_of(steps([other_batch]), tmp_path)
    state = run(fresh, again, steps(*[[token_batch]] * 30), tmp_path)
    assert (state.step, state.stopped) == (ended.step, ended.stopped)
    assert again.losses == stopping.losses
    assert all(torch.equal(one, other) for one, other in zip(nano.parameters(), fresh.parameters(), strict=True))


def test_no_number_is_never_the_best(steps, token_batch, tmp_path):
    stopping = stopping_of(steps([token_batch]), tmp_path)
    stopping.losses = [(1, math.nan), (2, 3.0), (3, math.nan)]
    assert stopping.best == (2, 3.0)
