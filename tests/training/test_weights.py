"""A row of weight 2 teaches as much as two rows, one of weight 0 as none, in every objective of people's lessons."""

from dataclasses import replace

import pytest
import torch

from homeroom.data.batches import Conversation, PackedConversations, ThumbBatch
from homeroom.data.preferences import Pair, Said, Thumb
from homeroom.data.rankings import RankedRows
from homeroom.data.rankings import collate as collate_rankings
from homeroom.models.heads import RewardModel
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.objectives.preference import DPO
from homeroom.training.objectives.prospect import KTO
from homeroom.training.objectives.ranking import PairwiseRanking
from homeroom.training.pairs import collate, rows_of
from homeroom.training.teaching import Lessons, contests
from homeroom.training.thumbs import liked_of


def assert_same(model, objective, weighed, repeated):
    """The loss that the loop divides, its gradient and its metrics; and as many micro-batches as one."""
    one, many = (objective.loss(model(**batch.inputs()), batch) for batch in (weighed, repeated))
    assert float(one.weight) == float(many.weight) == float(objective.weight(weighed))
    torch.testing.assert_close(one.total, many.total)
    for name, value in one.metrics.items():
        torch.testing.assert_close(value.float(), many.metrics[name].float())
    gradients = [torch.autograd.grad(loss.total, list(model.parameters()), allow_unused=True) for loss in (one, many)]
    torch.testing.assert_close(*gradients)


def test_a_pairs_weight(nano, preference_batch):
    times = torch.arange(10) % 3
    weighed = replace(preference_batch, weight_P=times.float())
    repeated = replace(preference_batch, pairs_P2=preference_batch.pairs_P2.repeat_interleave(times, 0))
    assert_same(nano, DPO(0.3, imitation=0.5), weighed, repeated)


def test_a_thumbs_weight(nano, token_batch):
    def thumbs(rows, weight_A):
        alone = torch.arange(1, len(rows) + 1)[:, None].expand(token_batch.tokens_BT[rows].shape)
        fields = token_batch.tokens_BT[rows], token_batch.next_token_BT[rows], token_batch.learn_BT[rows]
        liked_A = torch.tensor([row % 2 == 0 for row in rows])
        return ThumbBatch(*fields, alone, -3.0 * torch.tensor(rows), liked_A, torch.tensor(0.4), weight_A)

    repeated = thumbs([row for row in range(16) for _ in range(row % 3)], None)
    assert_same(nano, KTO(0.3, up=1.5), thumbs(list(range(16)), torch.arange(16) % 3.0), repeated)


def test_a_questions_weight(nano, ranking_batch):
    model, weight_A = RewardModel(nano), (ranking_batch.question_A % 3).float()
    rows = [row for row in range(24) for _ in range(1) if weight_A[row]]
    kept = torch.tensor(rows + [row for row in rows if weight_A[row] == 2])
    again = torch.tensor([0] * len(rows) + [8] * (len(kept) - len(rows)))  # the second time as other questions
    repeated = replace(
        ranking_batch,
        last_A=ranking_batch.last_A[kept],
        question_A=ranking_batch.question_A[kept] + again,
        tier_A=ranking_batch.tier_A[kept],
    )
    assert_same(model, PairwiseRanking(), replace(ranking_batch, weight_A=weight_A), repeated)


def test_a_written_answers_weight(nano):
    def batch(rows):
        return next(iter(PackedConversations(rows, length=12, rows=9, micro_rows=9)))[0]

    said = [Conversation([1, 2, 3 + n, 4], [False, False, True, True]) for n in range(4)]
    repeated = batch([one for n, one in enumerate(said) for _ in range(n % 3)])
    weighed = batch([replace(one, weight=float(n % 3)) for n, one in enumerate(said)])
    assert repeated.weight_BT is None
    assert_same(nano, NextToken(), weighed, repeated)


def test_weights_reach_the_batches(nano):
    tokenizer = Tokenizer.train(["why and so on"] * 3, 280)
    model = type(nano)(nano.config.model_copy(update={"vocab_size": tokenizer.vocab_size, "max_length": 64}))
    asked = ({"role": "user", "content": "why"},)
    pairs = [
        Pair(asked, Said("so", True), Said("on", True), "train", 0.25),
        Pair(asked, Said("a", True), Said("o", True), "train"),
    ]
    rows = rows_of(pairs, tokenizer, model)
    assert collate([rows]).weight_P.tolist() == [0.25, 1.0]
    assert collate([[row.inverted() for row in rows]]).weight_P.tolist() == [0.25, 1.0]
    thumbs = [Thumb(asked, Said("so", True), True, "train", 0.5), Thumb(asked, Said("n", True), False, "train", 0.75)]
    assert [one.answer.weight for one in liked_of(thumbs, tokenizer, model)] == [0.5, 0.75]
    lessons = Lessons.of(pairs, thumbs, "train")
    assert [both[0].weight for both in contests(lessons, tokenizer, 63, 0)] == [0.25, 1.0]
    alone = Lessons.of([], thumbs, "train")
    assert [[one.weight for one in both] for both in contests(alone, tokenizer, 63, 0)] == [[0.5, 0.5]]
    opposite = lessons.inverted()
    assert [(one.chosen.text, one.weight) for one in opposite.pairs] == [("on", 0.25), ("o", 1.0)]
    assert [(one.liked, one.weight) for one in opposite.thumbs] == [(False, 0.5), (True, 0.75)]
    ranked = [RankedRows([[1, 2], [1, 3]], [0, 1], 0.5), RankedRows([[1, 4], [1, 5]], [0, 1])]
    batch = collate_rankings(ranked)
    assert batch.pairs()[2].tolist() == [0.5, 1.0]
    assert float(batch.weight()) == pytest.approx(1.5)
    assert collate_rankings(ranked[1:]).weight_A is None
