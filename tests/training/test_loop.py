"""The loop: accumulation, what it refuses, hooks, schedule and early ends. Resuming is test_resume.py's."""

from dataclasses import replace

import pytest
import torch

from homeroom.models.heads import ActorCritic, RewardModel
from homeroom.models.precision import resolve_precision
from homeroom.training.loop import LoopSettings, NotFinite, train
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.objectives.policy import PPO
from homeroom.training.objectives.preference import DPO
from homeroom.training.objectives.ranking import PairwiseRanking
from homeroom.training.optimizers import OptimizerSettings

FLOAT32 = {"precision": "float32"}


def settings(**given) -> LoopSettings:
    return LoopSettings.model_validate({**FLOAT32, **given})


@pytest.mark.parametrize("pieces", [2, 4, 8])
@pytest.mark.parametrize("name", ["next token", "ranking", "DPO", "PPO"])
def test_micro_batches_give_the_gradient_of_one_large_batch(name, pieces, nano, gradient, split, request):
    batch, objective, model = {
        "next token": ("token_batch", NextToken(chunk_tokens=7), lambda: nano),
        "ranking": ("ranking_batch", PairwiseRanking(), lambda: RewardModel(nano)),
        "DPO": ("preference_batch", DPO(imitation=0.3), lambda: nano),
        "PPO": ("experience", PPO(), lambda: ActorCritic(nano)),
    }[name]
    batch, model = request.getfixturevalue(batch), model()
    whole = gradient(model, objective, [batch])
    assert set(whole) == {name for name, _ in model.named_parameters()}
    assert all(torch.any(value != 0) for value in whole.values())
    cut = gradient(model, objective, split(batch, pieces))
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-6)


def test_metrics_are_means_over_the_step_however_it_was_cut(nano, token_batch, split, steps):
    found = []
    for pieces in (1, 4):
        state = train(nano, NextToken(), steps(split(token_batch, pieces)), settings(steps=1))
        found.append(state.metrics["loss"])
        nano.zero_grad()
        assert state.tokens == token_batch.tokens_BT.numel()
    # The second run starts where the first has stepped to: compare with what plain torch says of each.
    assert found[1] < found[0]
    with torch.no_grad():
        logits = nano.logits(nano.hidden(token_batch.tokens_BT))[token_batch.learn_BT]
        plain = torch.nn.functional.cross_entropy(logits, token_batch.next_token_BT[token_batch.learn_BT])
    final = train(nano, NextToken(), steps(split(token_batch, 8)), settings(steps=1)).metrics["loss"]
    assert final == pytest.approx(float(plain), rel=1e-5)


def test_what_is_not_additive_is_never_cut(nano, token_batch, split, steps):
    objective = NextToken()
    objective.additive = False
    train(nano, objective, steps([token_batch]), settings(steps=1))
    with pytest.raises(ValueError, match="NextToken is not additive over rows; give it each step as one batch"):
        train(nano, objective, steps(split(token_batch, 2)), settings(steps=1))


def test_a_step_with_everything_masked_is_an_error_and_a_masked_piece_is_not(nano, token_batch, split, steps, gradient):
    masked = replace(token_batch, learn_BT=torch.zeros_like(token_batch.learn_BT))
    with pytest.raises(ValueError, match="nothing to learn from: every position is masked"):
        train(nano, NextToken(), steps(split(masked, 2)), settings(steps=1))
    both = gradient(nano, NextToken(), [token_batch, masked])
    torch.testing.assert_close(both, gradient(nano, NextToken(), [token_batch]))


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(nano, token_batch, steps):
    class Broken(NextToken):
        def loss(self, outputs, batch):
            loss = super().loss(outputs, batch)
            return replace(loss, total=loss.total * float("inf"))

    before = {name: value.clone() for name, value in nano.state_dict().items()}
    with pytest.raises(NotFinite, match="step 0: the gradient is not finite; try a lower learning rate"):
        train(nano, Broken(), steps([token_batch]), settings(steps=1))
    torch.testing.assert_close(dict(nano.state_dict()), before, rtol=0, atol=0)


def test_the_learning_rate_follows_the_schedule_and_hooks_come_when_due(nano, token_batch, steps):
    rates, fourth = [], []
    state = train(
        nano,
        NextToken(),
        steps(*[[token_batch]] * 10),
        settings(steps=10, warmup=0.2, decay=0.4, floor=0.1),
        hooks=[(1, lambda s: rates.append(s.metrics["learning_rate"])), (4, lambda s: fourth.append(s.step))],
    )
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.775, 0.55, 0.325])
    assert fourth == [4, 8, 10]
    assert state.step == 10
    assert not nano.training


def test_a_hook_can_stop_the_run_and_a_source_that_ends_ends_it(nano, token_batch, steps):
    def enough(state):
        if state.step == 2:
            state.stopped = "enough"

    stopped = train(nano, NextToken(), steps(*[[token_batch]] * 5), settings(steps=5), hooks=[(1, enough)])
    assert (stopped.step, stopped.stopped) == (2, "enough")
    ended = train(nano, NextToken(), steps([token_batch], [token_batch]), settings(steps=5))
    assert (ended.step, ended.stopped) == (2, None)


def test_the_gradient_is_clipped_to_its_norm(nano, token_batch, steps):
    """Under plain momentum-free AdamW a first step has the gradient's sign alone, so the moments are looked at."""
    from homeroom.training import loop

    made = []

    class Spied(loop.Optimizer):
        def __init__(self, *all, **named):
            super().__init__(*all, **named)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Optimizer", Spied)
        adamw = OptimizerSettings(kind="adamw")
        state = train(nano, NextToken(), steps([token_batch]), settings(steps=1, gradient_clip=0.01, optimizer=adamw))
    moments = [value for name, value in made[0].tensors() if name.endswith("exp_avg")]
    total = sum(float((value / (1 - adamw.beta1)).square().sum()) for value in moments) ** 0.5
    assert state.metrics["gradient_norm"] > 0.1  # as it was before
    assert total == pytest.approx(0.01, rel=1e-3)


def test_bfloat16_products_leave_float32_weights_and_learn_the_same(nano, token_batch, steps):
    losses = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = type(nano)(nano.config)
        model.load_state_dict(nano.state_dict())
        state = train(model, NextToken(), steps(*[[token_batch]] * 5), settings(steps=5, precision=precision))
        losses[precision] = state.metrics["loss"]
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)
    assert resolve_precision("auto", nano) in (torch.float32, torch.bfloat16)
