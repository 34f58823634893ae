"""Sources: what they yield, that every item comes once an epoch, and that they go on exactly where they stood."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.batches import (
    Conversation,
    Groups,
    PackedConversations,
    PackedTokens,
    RankingBatch,
    Shuffle,
    TooLittle,
    WithText,
    shift,
)
from homeroom.models.gpt import GPT, Config
from homeroom.training.objectives.next_token import NextToken


class Row:
    def __init__(self, count: int) -> None:
        self.ids = np.arange(count, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, count: int):
        assert start + count <= len(self.ids)
        return self.ids[start : start + count]


def conversation(*sizes: int, first: int = 1) -> Conversation:
    """Question and answer in turn, of these sizes; the token ids count up from `first`."""
    learn = [bool(turn % 2) for turn, size in enumerate(sizes) for _ in range(size)]
    return Conversation(list(range(first, first + len(learn))), learn)


CONVERSATIONS = [conversation(1 + n % 5, 2 + n % 7, first=n) for n in range(23)]


def sources():
    """One of each kind, made anew."""
    return {
        "shuffle": Stream(Shuffle(11, 4, seed=3)),
        "tokens": PackedTokens(Row(100), length=8, rows=5, micro_rows=2, seed=3),
        "conversations": PackedConversations(CONVERSATIONS, length=16, rows=4, micro_rows=3, seed=3),
        "with text": WithText(
            PackedConversations(CONVERSATIONS, length=16, rows=4, micro_rows=3, seed=3),
            PackedTokens(Row(60), length=8, rows=2, micro_rows=2, seed=5),
        ),
        "groups": Groups([str(n) for n in range(11)], "".join, per_step=4, micro=2, seed=3),
    }


class Stream:
    """A Shuffle as a Source."""

    def __init__(self, shuffle: Shuffle) -> None:
        self.shuffle = shuffle

    def __iter__(self):
        while True:
            yield next(self.shuffle)

    def state_dict(self):
        return self.shuffle.state_dict()

    def load_state_dict(self, state):
        self.shuffle.load_state_dict(state)


def plain(step) -> str:
    return json.dumps(
        [vars(batch) if hasattr(batch, "__dict__") else batch for batch in step], default=torch.Tensor.tolist
    )


@pytest.mark.parametrize("name", sources())
@pytest.mark.parametrize("done", [0, 1, 7])
def test_a_restored_source_goes_on_where_it_stood(name, done):
    first, second = sources()[name], sources()[name]
    before = [plain(step) for step in islice(iter(first), done)]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    after = [plain(step) for step in islice(iter(first), 9)]
    assert [plain(step) for step in islice(iter(second), 9)] == after
    assert [plain(step) for step in islice(iter(sources()[name]), done + 9)] == before + after


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_every_item_comes_once_an_epoch_and_every_step_is_full(count, per_step, seed):
    shuffle = Shuffle(count, per_step, seed)
    drawn = []
    while len(drawn) < 3 * count:
        step = next(shuffle)
        assert len(step) == per_step
        drawn += step
        assert shuffle.epoch == len(drawn) / count
    for epoch in range(3):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_and_seeds_give_different_orders():
    def order(seed):
        return [next(shuffle) for shuffle in [Shuffle(30, 30, seed)] for _ in range(2)]

    orders = [*order(0), *order(1)]
    assert len({tuple(one) for one in orders}) == 4
    assert order(0) == orders[:2]


def test_an_order_is_made_once_an_epoch(monkeypatch):
    made = []
    real = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: made.append(seed) or real(seed))
    shuffle = Shuffle(10, 3, seed=5)
    steps = [next(shuffle) for _ in range(6)]
    assert made == [(5, 0), (5, 1)]
    shuffle.load_state_dict({"drawn": 9})
    assert next(shuffle) == steps[3]
    assert made[2:] == [(5, 0), (5, 1)]


def test_nothing_to_draw_from():
    with pytest.raises(TooLittle, match="the source is empty"):
        Shuffle(0, 4, 0)
    with pytest.raises(TooLittle, match=r"8 tokens do not fill one row of 8; add text or shorten the context"):
        PackedTokens(Row(8), length=8, rows=1, micro_rows=1)


def test_windows_of_tokens_each_with_what_follows():
    source = PackedTokens(Row(100), length=8, rows=6, micro_rows=4, seed=1)  # 12 windows and a rest of 3 tokens
    starts = Counter()
    for step in islice(iter(source), 2):
        assert [len(batch.tokens_BT) for batch in step] == [4, 2]
        for batch in step:
            assert torch.equal(batch.next_token_BT, batch.tokens_BT + 1)
            assert torch.equal(batch.tokens_BT, batch.tokens_BT[:, :1] + torch.arange(8))
            assert batch.learn_BT.all()
            assert batch.document_BT is None
            starts.update(batch.tokens_BT[:, 0].tolist())
    assert starts == Counter(range(0, 96, 8))


def test_text_stands_at_the_end_of_every_step_and_only_what_it_stands_beside_says_when_to_save():
    beside, text = sources()["conversations"], PackedTokens(Row(60), length=8, rows=2, micro_rows=2, seed=5)
    alone = [plain(step) for step in islice(sources()["conversations"], 5)]
    texts = [plain(step) for step in islice(PackedTokens(Row(60), length=8, rows=2, micro_rows=2, seed=5), 5)]
    mixed = WithText(beside, text)
    steps = list(islice(mixed, 5))
    assert [plain(step[:-1]) for step in steps] == alone
    assert [plain(step[-1:]) for step in steps] == texts
    assert mixed.resumable
    beside.resumable = False
    assert not mixed.resumable


def test_shift_on_a_small_matrix():
    tokens, following, learn = shift(
        [Conversation([5, 6, 7, 8], [False, False, True, True]), Conversation([1, 2], [True, True])]
    )
    assert tokens.tolist() == [[5, 6, 7], [1, 0, 0]]
    assert following.tolist() == [[6, 7, 8], [2, 0, 0]]
    assert learn.tolist() == [[False, True, True], [True, False, False]]
    assert [one.shape for one in shift([Conversation([1, 2], [True, True])], length=4)] == [torch.Size([1, 4])] * 3


def test_every_conversation_is_in_exactly_one_row_whole():
    source = PackedConversations(CONVERSATIONS, length=16, rows=3, micro_rows=2, seed=5)
    members = [member for one in source.bins for member in one]
    assert sorted(members) == list(range(len(CONVERSATIONS)))
    assert len(source.bins) < len(CONVERSATIONS) / 1.3
    for one in source.bins:
        batch = source._batch([one])
        for number, member in enumerate(one, start=1):
            inside = batch.document_BT[0] == number
            row = CONVERSATIONS[member]
            assert batch.tokens_BT[0][inside].tolist() == list(row.token_ids[:-1])
            assert batch.next_token_BT[0][inside].tolist() == list(row.token_ids[1:])
            assert batch.learn_BT[0][inside].tolist() == list(row.learn[1:])
        assert not batch.learn_BT[0][batch.document_BT[0] == 0].any()


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_packed_conversations_equal_rows_alone(style):
    """Loss and gradient: no conversation sees its neighbour, and each stands at position 0."""
    torch.manual_seed(0)
    model = GPT(Config(style=style, vocab_size=60, max_length=16, layers=2, width=16, heads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    objective = NextToken()

    def gradient(loss):
        return torch.autograd.grad(loss, list(model.parameters()))

    source = PackedConversations(CONVERSATIONS, length=16, rows=99, micro_rows=99)
    (packed,) = next(iter(source))
    together = objective.loss(model(**packed.inputs()), packed)
    alone = torch.zeros(())
    for one in CONVERSATIONS:
        tokens, following, learn = shift([one])
        table = model.logits(model.hidden(tokens)).log_softmax(-1)
        alone = alone - (table.gather(-1, following[..., None])[..., 0] * learn).sum()
    torch.testing.assert_close(together.total, alone, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient(together.total), gradient(alone), rtol=1e-4, atol=1e-4)
    assert int(together.weight) == sum(sum(one.learn[1:]) for one in CONVERSATIONS)


def test_a_conversation_longer_than_the_context_is_refused_with_a_count():
    with pytest.raises(ValueError, match="1 conversations are longer than the context of 5 tokens; leave them out"):
        PackedConversations([conversation(2, 4), conversation(2, 5)], length=5, rows=1, micro_rows=1)


def test_groups_are_collated_by_so_many():
    source = Groups(range(10), list, per_step=5, micro=2, seed=0)
    steps = list(islice(iter(source), 2))
    assert [[len(batch) for batch in step] for step in steps] == [[2, 2, 1]] * 2
    assert sorted(item for step in steps for batch in step for item in batch) == list(range(10))


def test_pairs_of_a_ranking_and_their_shares():
    none = torch.zeros(7, 1, dtype=torch.long)
    batch = RankingBatch(
        none, none, none[:, 0], torch.tensor([4, 4, 4, 2, 2, 9, 9]), torch.tensor([0, 1, 1, 5, 3, 2, 2])
    )
    better, worse, share = batch.pairs()
    assert sorted(zip(better.tolist(), worse.tolist(), share.tolist(), strict=True)) == [
        (0, 1, 0.5), (0, 2, 0.5), (4, 3, 1.0),
    ]  # fmt: skip
    assert len(batch.questions()) == 3
