"""Sequences that share a row come out as if each were read alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.models import branches
from homeroom.models.branches import Branches, Bunch, branch_mask, branch_positions, neighbours
from homeroom.models.heads import ActorCritic, RewardModel

ids = st.lists(st.integers(0, 49), min_size=1, max_size=11)
families = st.lists(
    st.tuples(st.lists(st.integers(0, 49), max_size=12), st.lists(ids, min_size=1, max_size=5)), min_size=1, max_size=4
)


def laid_out(families):
    sequences, bunches = [], []
    for beginning, ends in families:
        numbers = range(len(sequences), len(sequences) + len(ends))
        bunches.append(Bunch(list(numbers), len(beginning)))
        sequences += [[*beginning, *end] for end in ends]
    return sequences, bunches


@settings(max_examples=25)
@given(families=families, style=st.sampled_from(["llama", "gpt2"]))
@torch.no_grad()
def test_each_end_is_read_as_if_its_sequence_stood_alone(new_model, families, style):
    model = new_model(style=style)
    sequences, bunches = laid_out(families)
    found = Branches.of(sequences, bunches)
    hidden_ND = model.hidden(found.tokens_BT, branch_BT=found.branch_BT).flatten(0, 1)
    for bunch in bunches:
        for member in bunch.members:
            alone_TD = model.hidden(torch.tensor([sequences[member]]))[0]
            places = found.starts_S[member] + torch.arange(bunch.shared, len(sequences[member]))
            torch.testing.assert_close(hidden_ND[places], alone_TD[bunch.shared :], atol=1e-4, rtol=1e-4)


def test_a_beginning_is_read_once_and_what_stands_where_is_counted():
    found = Branches.of([[7, 8, 1], [7, 8, 2, 3], [9]], [Bunch([0, 1], 2), Bunch([2], 0)])
    assert found.tokens_BT.tolist() == [[7, 8, 1, 2, 3], [9, 0, 0, 0, 0]]
    assert found.branch_BT.tolist() == [[0, 0, 1, 2, 2], [1, -1, -1, -1, -1]]
    assert branch_positions(found.branch_BT).tolist() == [[0, 1, 2, 2, 3], [0, 0, 0, 0, 0]]
    assert branch_mask(found.branch_BT)[0, 0, 3].tolist() == [True, True, False, True, False]


def test_rows_of_one_sequence_are_plain():
    found = Branches.of([[1], [2, 3]], [Bunch([0], 0), Bunch([1], 1)])
    assert found.branch_BT is None
    assert found.tokens_BT.tolist() == [[1, 0], [2, 3]]


def test_a_sequence_and_not_a_row_has_to_fit_the_context(new_model):
    model = new_model()  # a context of 24
    found = Branches.of([[1] * 20 + [2] * 4, [1] * 20 + [3] * 4, [1] * 20 + [4] * 4], [Bunch([0, 1, 2], 20)])
    assert model.hidden(found.tokens_BT, branch_BT=found.branch_BT).shape[1] == 32
    longer = Branches.of([[1] * 20 + [2] * 5, [1] * 20 + [3]], [Bunch([0, 1], 20)])
    with pytest.raises(ValueError, match="25 tokens do not fit a context of 24"):
        model.hidden(longer.tokens_BT, branch_BT=longer.branch_BT)


@settings(max_examples=50)
@given(families=families)
def test_neighbours_share_what_they_have_in_common_and_keep_an_end(families):
    sequences, _ = laid_out(families)
    bunches = neighbours(sequences)
    assert [member for bunch in bunches for member in bunch.members] == list(range(len(sequences)))
    for bunch in bunches:
        beginnings = {tuple(sequences[member][: bunch.shared]) for member in bunch.members}
        assert len(beginnings) == 1
        assert all(bunch.shared < len(sequences[member]) for member in bunch.members)


def test_neighbours_are_bunched_where_it_pays(monkeypatch):
    rows = [[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2, 7, 7, 7], [1, 9, 9, 9], [1, 9, 9, 9]]
    assert neighbours(rows) == [Bunch([0, 1], 3), Bunch([2], 0), Bunch([3, 4], 3)]
    assert neighbours([[1, 2, 3], [1, 2, 3, 4]]) == [Bunch([0, 1], 2)]  # each keeps its last token
    monkeypatch.setattr(branches, "WIDEST", 5)
    assert neighbours(rows)[:2] == [Bunch([0], 0), Bunch([1], 0)]


@torch.no_grad()
def test_answers_to_one_question_are_scored_as_if_alone(new_model):
    generator = torch.Generator().manual_seed(2)
    draw = lambda count: torch.randint(0, 50, (count,), generator=generator).tolist()  # noqa: E731
    questions = [draw(12) for _ in range(3)]
    rows = [[*question, *draw(1 + n)] for question in questions for n in range(4)]
    assert len(neighbours(rows)) == 3
    judge = RewardModel(new_model())
    alone = torch.stack([judge(torch.tensor([row])).values_BT[0, -1] for row in rows])
    for batch_rows in (1, 5, 64):
        torch.testing.assert_close(judge.score(rows, batch_rows), alone, atol=1e-4, rtol=1e-4)


def test_a_critic_takes_branches(new_model):
    critic = ActorCritic(new_model())
    torch.nn.init.normal_(critic.value_head.weight)
    found = Branches.of([[7, 8, 1], [7, 8, 2]], [Bunch([0, 1], 2)])
    values_BT = critic(found.tokens_BT, branch_BT=found.branch_BT).values_BT
    alone_BT = critic(torch.tensor([[7, 8, 2]])).values_BT
    torch.testing.assert_close(values_BT[0, 3], alone_BT[0, 2], atol=1e-5, rtol=1e-4)
