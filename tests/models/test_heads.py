import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.models.heads import ActorCritic, RewardModel
from homeroom.models.padding import pad_rows
from homeroom.models.precision import products_in


def test_rows_are_padded_on_the_right():
    assert pad_rows([[5], [6, 7, 8]], pad=2).tolist() == [[5, 2, 2], [6, 7, 8]]
    assert pad_rows([[5], []], length=2).tolist() == [[5, 0], [0, 0]]


@settings(max_examples=20)
@given(
    rows=st.lists(st.lists(st.integers(0, 49), min_size=1, max_size=12), min_size=1, max_size=6),
    batch_rows=st.integers(1, 7),
    style=st.sampled_from(["llama", "gpt2"]),
)
@torch.no_grad()
def test_a_score_depends_on_its_own_row_alone(new_model, rows, batch_rows, style):
    torch.manual_seed(0)
    judge = RewardModel(new_model(style=style))
    alone = [judge(torch.tensor([row])).values_BT[0, -1] for row in rows]
    torch.testing.assert_close(judge.score(rows, batch_rows), torch.stack(alone), atol=1e-4, rtol=1e-4)


def test_scoring_nothing_and_an_empty_row(new_model):
    judge = RewardModel(new_model())
    assert judge.score([]).shape == (0,)
    with pytest.raises(ValueError, match="empty row"):
        judge.score([[1], []])


@pytest.mark.parametrize("tied", [False, True])
def test_a_reward_model_has_no_vocabulary_head(new_model, tied):
    judge = RewardModel(new_model(tied=tied))
    assert not any("head.weight" in name and name != "score_head.weight" for name in judge.state_dict())
    assert "gpt.embedding.weight" in judge.state_dict()


def test_a_new_value_head_says_zero_and_leaves_the_policy_as_it_was(new_model, tokens_BT):
    policy = new_model()
    plain, outputs = policy(tokens_BT), ActorCritic(policy)(tokens_BT)
    assert torch.equal(outputs.hidden_BTD, plain.hidden_BTD)
    assert outputs.head_VD is policy.head.weight
    assert outputs.values_BT is not None
    assert outputs.values_BT.shape == tokens_BT.shape
    assert not outputs.values_BT.any()


def test_heads_read_packed_rows_document_by_document(new_model, tokens_BT):
    document_BT = torch.tensor([[0] * 9 + [1] * 8]).expand_as(tokens_BT)
    torch.manual_seed(0)
    judge, critic = RewardModel(new_model()), ActorCritic(new_model())
    torch.nn.init.normal_(critic.value_head.weight)
    for head in (judge, critic):
        values_BT = head(tokens_BT, document_BT).values_BT
        torch.testing.assert_close(values_BT[:, 9:], head(tokens_BT[:, 9:]).values_BT, atol=1e-4, rtol=1e-4)


def test_two_near_scores_stay_two_in_bfloat16(new_model):
    judge = RewardModel(new_model())
    with torch.no_grad():
        judge.score_head.weight.fill_(1.0)
    hidden = torch.full((1, 2, judge.config.width), 1.0)
    hidden[0, 1, 0] += 2**-7  # the step of bfloat16 at 1; at a sum of 32 it is 2**-3
    judge.gpt.hidden = lambda *_: hidden.bfloat16()
    with products_in(torch.bfloat16):
        low, high = judge(torch.zeros(1, 2)).values_BT[0].tolist()
    assert high - low == 2**-7
