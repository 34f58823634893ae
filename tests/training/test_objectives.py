"""Every objective against a plain definition, written token by token or pair by pair; gradients too."""

import math

import pytest
import torch
import torch.nn.functional as F

from homeroom.data.batches import RunningText
from homeroom.models.heads import ActorCritic, RewardModel
from homeroom.training.objectives.mixture import TextBeside
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.objectives.policy import PPO
from homeroom.training.objectives.preference import DPO
from homeroom.training.objectives.ranking import PairwiseRanking


def log_probs(model, batch):
    """log p of each next token (B, T), by the whole table of logits."""
    logits = model.logits(model.hidden(batch.tokens_BT))
    return logits.log_softmax(-1).gather(-1, batch.next_token_BT[..., None])[..., 0]


def assert_same(model, loss, total):
    """Value and gradient."""
    torch.testing.assert_close(loss.total, total, rtol=1e-5, atol=1e-5)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(loss.total, parameters, retain_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(total, parameters), rtol=1e-4, atol=1e-5)


def test_next_token_is_cross_entropy_where_something_is_to_be_learned(nano, token_batch):
    loss = NextToken(chunk_tokens=5).loss(nano(**token_batch.inputs()), token_batch)
    table = nano.logits(nano.hidden(token_batch.tokens_BT))
    plain = F.cross_entropy(
        table[token_batch.learn_BT], token_batch.next_token_BT[token_batch.learn_BT], reduction="sum"
    )
    assert_same(nano, loss, plain)
    assert int(loss.weight) == int(token_batch.learn_BT.sum())
    assert float(loss.metrics["loss"]) == float(loss.total.detach())


def test_ranking_is_a_double_loop_over_pairs(nano, ranking_batch):
    model, batch = RewardModel(nano), ranking_batch
    values = model(batch.tokens_BT).values_BT
    scores = [values.flatten()[last] for last in batch.last_A.tolist()]
    total, right = torch.zeros(()), 0.0
    for question in range(8):
        rows = [row for row in range(24) if batch.question_A[row] == question]
        pairs = [(a, b) for a in rows for b in rows if batch.tier_A[a] < batch.tier_A[b]]
        for better, worse in pairs:
            total = total - torch.log(torch.sigmoid(scores[better] - scores[worse])) / len(pairs)
            right += bool(scores[better] > scores[worse]) / len(pairs)
    loss = PairwiseRanking().loss(model(**batch.inputs()), batch)
    assert_same(model, loss, total)
    assert int(loss.weight) == 8
    assert float(loss.metrics["accuracy"]) == pytest.approx(right)


def test_ranking_needs_scores(nano, ranking_batch):
    with pytest.raises(ValueError, match="a score per position, such as RewardModel"):
        PairwiseRanking().loss(nano(**ranking_batch.inputs()), ranking_batch)


@pytest.mark.parametrize("imitation", [0.0, 0.7])
def test_dpo_is_its_definition(nano, preference_batch, imitation):
    batch, beta = preference_batch, 0.25
    answers = (log_probs(nano, batch) * batch.learn_BT).sum(1)
    total, right, margins = torch.zeros(()), 0, 0.0
    for chosen, rejected in batch.pairs_P2.tolist():
        margin = beta * (answers[chosen] - batch.reference_A[chosen])
        margin = margin - beta * (answers[rejected] - batch.reference_A[rejected])
        total = total + torch.log(1 + torch.exp(-margin)) - imitation * answers[chosen] / batch.learn_BT[chosen].sum()
        right += bool(margin > 0)
        margins += float(margin.detach())
    loss = DPO(beta, imitation).loss(nano(**batch.inputs()), batch)
    assert_same(nano, loss, total)
    assert int(loss.weight) == 10
    assert 0 < right < 10
    assert int(loss.metrics["accuracy"]) == right
    assert float(loss.metrics["margin"]) == pytest.approx(margins, rel=1e-4)


def test_ppo_token_by_token(nano, experience):
    model, batch = ActorCritic(nano), experience
    torch.nn.init.normal_(model.value_head.weight, std=0.5)
    logp, values = log_probs(nano, batch), model(batch.tokens_BT).values_BT
    policy, value, clips = torch.zeros(()), torch.zeros(()), {"ratio": 0, "value": 0}
    kl, entropy = 0.0, 0.0
    table = nano.logits(nano.hidden(batch.tokens_BT)).log_softmax(-1).detach()
    for row in range(16):
        for t in range(batch.tokens_BT.shape[1]):
            if not batch.learn_BT[row, t]:
                continue
            ratio = torch.exp(logp[row, t] - batch.log_probs_BT[row, t])
            advantage = batch.advantages_BT[row, t]
            policy = policy - torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
            moved = ratio.item()
            clips["ratio"] += not 0.8 <= moved <= 1.2
            kl += 1 / moved - 1 + math.log(moved)
            entropy -= float((table[row, t].exp() * table[row, t]).sum())

            old, target = batch.values_BT[row, t], batch.returns_BT[row, t]
            near = old + (values[row, t] - old).clamp(-0.2, 0.2)
            value = value + 0.5 * torch.maximum((values[row, t] - target) ** 2, (near - target) ** 2)
            clips["value"] += abs((values[row, t] - old).item()) > 0.2
    tokens = int(batch.learn_BT.sum())
    assert all(0 < count < tokens for count in clips.values()), clips  # both sides of both clips
    loss = PPO().loss(model(**batch.inputs()), batch)
    assert_same(model, loss, policy + 0.1 * value)
    assert int(loss.weight) == tokens
    assert int(loss.metrics["clipped"]) == clips["ratio"]
    assert float(loss.metrics["value_loss"]) == pytest.approx(value.item(), rel=1e-4)
    assert float(loss.metrics["policy_loss"]) == pytest.approx(policy.item(), rel=1e-4)
    assert float(loss.metrics["step_kl"]) == pytest.approx(kl, rel=1e-4)
    assert float(loss.metrics["entropy"]) == pytest.approx(entropy, rel=1e-4)


def test_text_beside_adds_its_cross_entropy_and_no_weight(nano, preference_batch, token_batch):
    objective = TextBeside(DPO(), gamma=0.5)
    pairs, text = objective.loss(nano(**preference_batch.inputs()), preference_batch), None
    assert_same(nano, pairs, DPO().loss(nano(**preference_batch.inputs()), preference_batch).total)
    assert int(objective.weight(preference_batch)) == 10
    beside = RunningText(**vars(token_batch))
    text = objective.loss(nano(**beside.inputs()), beside)
    assert_same(nano, text, -0.5 * (log_probs(nano, token_batch) * token_batch.learn_BT).sum())
    assert int(text.weight) == int(objective.weight(beside)) == 0
    assert text.metrics == {}


def test_lessons_of_tokens_keep_their_weight_with_text_beside(nano, token_batch):
    objective, alone = TextBeside(NextToken(), gamma=0.5), NextToken().loss(nano(**token_batch.inputs()), token_batch)
    assert_same(nano, objective.loss(nano(**token_batch.inputs()), token_batch), alone.total)
    assert int(objective.weight(token_batch)) == int(token_batch.learn_BT.sum()) > 0


def test_ppo_needs_a_value_head(nano, experience):
    with pytest.raises(ValueError, match="a policy with a value head, such as ActorCritic"):
        PPO().loss(nano(**experience.inputs()), experience)
