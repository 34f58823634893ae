import pytest
import torch

from homeroom.data.rankings import as_rows, collate, read_rankings, save_rankings
from homeroom.models.gpt import GPT, Config
from homeroom.models.heads import RewardModel
from homeroom.tasks.base import Question
from homeroom.tasks.rankings import RankedAnswer, Ranking
from homeroom.text.chat_template import prompt_ids, render
from homeroom.text.tokenizer import Tokenizer

QUESTION = Question("q", "画蛇添足是什么意思？", "多此一举。", "zh", "idiom-meaning", "d")
RANKING = Ranking(
    QUESTION,
    (
        RankedAnswer("多此一举。", 0, "right", True),
        RankedAnswer("no", 1, "own", False),
        RankedAnswer("多此", 11, "truncated", False),
    ),
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([QUESTION.prompt, QUESTION.reference, "no no"] * 3, 300)


def test_rankings_are_read_as_they_were_saved_for_each_use(tmp_path):
    save_rankings({"reward": [RANKING, RANKING], "judge": [RANKING], "validation": []}, tmp_path)
    assert list(read_rankings(tmp_path, "reward")) == [RANKING] * 2
    assert list(read_rankings(tmp_path, "judge")) == [RANKING]
    assert list(read_rankings(tmp_path, "validation")) == []


def test_rankings_are_rows_of_the_chat_template(tokenizer):
    ranked = as_rows(RANKING, tokenizer, 128)
    asked = {"role": "user", "content": QUESTION.prompt}
    for row, given in zip(ranked.rows, RANKING.answers, strict=True):
        whole = render([asked, {"role": "assistant", "content": given.text}], tokenizer).token_ids
        assert row == (whole if given.ended else whole[:-1])
    assert ranked.tiers == [0, 1, 11]
    assert [len(row) for row in as_rows(RANKING, tokenizer, 9).rows] == [9] * 3


def test_an_own_answer_stays_in_the_tokens_that_were_sampled(tokenizer):
    sampled = [*tokenizer.encode("n"), *tokenizer.encode("o")]
    own = RankedAnswer("no", 1, "own", False, sampled)
    assert sampled != tokenizer.encode("no")
    (row,) = as_rows(Ranking(QUESTION, (own,)), tokenizer, 128).rows
    assert row == [*prompt_ids(QUESTION.prompt, tokenizer), *sampled]


def test_a_batch_holds_all_answers_of_its_questions(tokenizer):
    ranked = as_rows(RANKING, tokenizer, 128)
    batch = collate([ranked, ranked])
    assert batch.question_A.tolist() == [0] * 3 + [1] * 3
    assert batch.tier_A.tolist() == [0, 1, 11] * 2
    last = batch.tokens_BT.flatten()[batch.last_A].tolist()
    assert last == [row[-1] for row in ranked.rows] * 2


def test_answers_that_share_a_row_score_as_they_do_alone(tokenizer):
    torch.manual_seed(0)
    model = RewardModel(GPT(Config(vocab_size=tokenizer.vocab_size, max_length=128, layers=2, width=16, heads=2)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    long = Ranking(QUESTION, (RankedAnswer("no no " * 20, 0, "right", True), *RANKING.answers))
    chosen = [as_rows(RANKING, tokenizer, 128), as_rows(long, tokenizer, 128)]
    batch = collate(chosen)
    assert len(batch.tokens_BT) < len(batch.last_A)
    together = model(**batch.inputs()).values_BT.flatten()[batch.last_A]
    alone = [model.score([row]) for ranked in chosen for row in ranked.rows]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_pairs_are_of_different_tiers():
    right, own, truncated = RANKING.answers
    assert RANKING.pairs() == [(right, own), (right, truncated), (own, truncated)]
    assert Ranking(QUESTION, (own, own)).pairs() == []
