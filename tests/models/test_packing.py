import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.models.transformer import document_mask, document_positions


def test_mask_and_positions_of_two_documents_in_a_row():
    document_BT = torch.tensor([[4, 4, 7]])
    assert document_mask(document_BT)[0, 0].tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ]
    assert document_positions(document_BT).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("shape", [{}, {"kv_heads": 2}, {"style": "gpt2"}])
@settings(max_examples=20)
@given(
    rows=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=3), seed=st.integers(0, 9)
)
@torch.no_grad()
def test_packed_documents_are_as_if_each_stood_alone(new_model, shape, rows, seed):
    model = new_model(**shape)
    length = max(map(sum, rows))
    generator = torch.Generator().manual_seed(seed)
    tokens_BT = torch.randint(0, 50, (len(rows), length), generator=generator)
    document_BT = torch.full((len(rows), length), 99)
    for row, lengths in enumerate(rows):
        document_BT[row, : sum(lengths)] = torch.repeat_interleave(torch.tensor(lengths))
    packed_BTD = model.hidden(tokens_BT, document_BT)
    for row, lengths in enumerate(rows):
        start = 0
        for count in lengths:
            alone = model.hidden(tokens_BT[row : row + 1, start : start + count])
            torch.testing.assert_close(packed_BTD[row, start : start + count], alone[0], atol=1e-4, rtol=1e-4)
            start += count


def test_no_gradient_crosses_from_one_document_to_another(model, tokens_BT):
    document_BT = torch.tensor([[0] * 5 + [1] * 7 + [2] * 5]).expand_as(tokens_BT)
    embedded = []
    model.embedding.register_forward_hook(lambda module, given, out: embedded.append(out))
    hidden_BTD = model.hidden(tokens_BT, document_BT)
    (reach,) = torch.autograd.grad((hidden_BTD[:, 5:12] ** 2).sum(), embedded)
    touched_T = reach.abs().sum(dim=(0, 2)) > 0
    assert touched_T.tolist() == [False] * 5 + [True] * 7 + [False] * 5


@torch.no_grad()
def test_a_row_of_one_document_is_a_plain_row(model, tokens_BT):
    packed = model.hidden(tokens_BT, torch.zeros_like(tokens_BT))
    torch.testing.assert_close(packed, model.hidden(tokens_BT), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_comes_later_changes_nothing_before(model, tokens_BT):
    changed_BT = tokens_BT.clone()
    changed_BT[:, 9:] = (changed_BT[:, 9:] + 1) % 50
    before, after = model.hidden(tokens_BT), model.hidden(changed_BT)
    torch.testing.assert_close(before[:, :9], after[:, :9], atol=1e-6, rtol=1e-6)
    assert (before[:, 9:] - after[:, 9:]).abs().max() > 0.1
