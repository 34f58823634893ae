import pytest
import torch

from homeroom.evaluation.few_shot import cloze_outcomes
from homeroom.settings import HomeroomError
from homeroom.tasks.cloze import ClozeItem

ITEMS = [
    ClozeItem("比喻做了多余的事：", ("画蛇添足", "守株待兔", "反而"), 0, "a"),
    ClozeItem("“", ("守株待兔", "画蛇添足"), 1, "b", after="”是什么意思？多余"),
    ClozeItem("How are you? ", ("I am fine.", "def dumps", "today"), 2, "c"),
]


@torch.no_grad()
def log_probability(model, tokenizer, given, scored):
    before = [tokenizer.document_id, *(token for text in given for token in tokenizer.encode(text))]
    token_ids = [*before, *tokenizer.encode(scored)]
    table = model.logits(model.hidden(torch.tensor([token_ids]))).log_softmax(-1)[0]
    return sum(float(table[i - 1, token_ids[i]]) for i in range(len(before), len(token_ids)))


def chosen(model, tokenizer, item):
    """By one plain forward for each choice."""
    scores = [
        log_probability(model, tokenizer, [item.context, choice], item.after)
        if item.after
        else log_probability(model, tokenizer, [item.context], choice)
        for choice in item.choices
    ]
    return scores.index(max(scores))


def test_the_choice_is_the_one_under_which_the_scored_text_is_most_likely(model, tokenizer):
    right = [chosen(model, tokenizer, item) for item in ITEMS]
    for mask in range(8):
        items = [
            ClozeItem(item.context, item.choices, best if mask >> i & 1 else (best + 1) % 2, f"d{i}", item.after)
            for i, (item, best) in enumerate(zip(ITEMS, right, strict=True))
        ]
        expected = {item.document_id: item.answer == best for item, best in zip(items, right, strict=True)}
        assert cloze_outcomes(model, tokenizer, items) == expected


def test_an_item_that_overflows_the_context_is_left_out(model, tokenizer):
    long = ClozeItem("How are you today? " * 30, ("a", "b"), 0, "long")
    seen = []
    assert list(cloze_outcomes(model, tokenizer, [*ITEMS, long], on_items=seen.append)) == ["a", "b", "c"]
    assert sum(seen) == 4
    with pytest.raises(HomeroomError, match="none of 1 cloze items fits a context of 48"):
        cloze_outcomes(model, tokenizer, [long])
