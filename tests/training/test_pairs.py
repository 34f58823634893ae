import copy

import pytest
import torch

from homeroom.data.preferences import Pair, Said, Thumb
from homeroom.models.gpt import GPT, Config
from homeroom.settings import NothingToLearn
from homeroom.text.chat_template import render
from homeroom.text.errors import NoChatTemplate
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import LoopSettings, train
from homeroom.training.objectives.preference import DPO
from homeroom.training.optimizers import OptimizerSettings
from homeroom.training.pairs import (
    by_question,
    collate,
    conversation,
    log_probs_of,
    preference_accuracy,
    preference_pairs,
    rows_of,
)
from homeroom.training.teaching import Lessons, TeachingSettings, as_rows, choose, contests
from homeroom.training.thumbs import liked_of


def pair(prompt, chosen="good", rejected="bad", ended=(True, True)):
    return Pair(({"role": "user", "content": prompt},), Said(chosen, ended[0]), Said(rejected, ended[1]), "train")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["good bad how are you today"] * 3, 300)


@pytest.fixture
def model(tokenizer) -> GPT:
    torch.manual_seed(0)
    gpt = GPT(Config(vocab_size=tokenizer.vocab_size, max_length=40, layers=1, width=32, heads=2)).eval()
    torch.nn.init.normal_(gpt.head.weight, std=0.3)
    return gpt


def test_a_row_is_the_chat_template_with_the_last_answer_to_learn(tokenizer):
    before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    row = conversation(before, Said("good", True), tokenizer)
    assert list(row.token_ids) == render([*before, {"role": "assistant", "content": "good"}], tokenizer).token_ids
    learned = [token for token, learn in zip(row.token_ids, row.learn, strict=True) if learn]
    assert learned == [*tokenizer.encode("good"), tokenizer.end_id]
    cut = conversation(before, Said("good", False), tokenizer)
    assert list(cut.token_ids) == list(row.token_ids)[:-1]


def test_the_reference_is_the_models_own_log_probability_whatever_stands_beside_it(model, tokenizer):
    pairs = [pair("how"), pair("how are you today", rejected="bad bad bad bad", ended=(True, False))]
    for micro in (1, 2):
        rows = rows_of(pairs, tokenizer, model, micro_pairs=micro)
        for row in rows:
            for one, reference in zip((row.chosen, row.rejected), row.reference, strict=True):
                ids = torch.tensor([one.token_ids])
                with torch.no_grad():
                    table = model.logits(model.hidden(ids)).log_softmax(-1)[0]
                expected = sum(
                    float(table[i - 1, token])
                    for i, (token, learn) in enumerate(zip(one.token_ids, one.learn, strict=True))
                    if learn
                )
                assert reference == pytest.approx(expected, abs=1e-4)


def test_before_training_no_answer_is_preferred(model, tokenizer):
    rows = rows_of([pair("how"), pair("are you")], tokenizer, model)
    batch = collate([rows])
    loss = DPO(0.1).loss(model(batch.tokens_BT, batch.document_BT), batch)
    assert float(loss.total.detach() / loss.weight) == pytest.approx(0.6931, abs=1e-4)
    assert preference_accuracy(model, rows) == 0


def test_an_answer_in_several_pairs_is_read_once_and_counts_in_each(model, tokenizer):
    asked = [pair("how", "good", "bad"), pair("how", "good", "you"), pair("how", "today", "bad"), pair("are")]
    rows = rows_of(asked, tokenizer, model)
    questions = by_question(rows)
    assert [len(question) for question in questions] == [3, 1]
    together = collate(questions)
    assert len(together.reference_A) == 6
    torch.nn.init.normal_(model.head.weight, std=0.4)  # no longer the reference

    def gradient(batches):
        model.zero_grad()
        losses = [DPO(0.1, 0.5).loss(model(batch.tokens_BT, batch.document_BT), batch) for batch in batches]
        sum(loss.total for loss in losses).backward()
        return model.head.weight.grad.clone(), sum(int(loss.weight) for loss in losses)

    alone, pairs = gradient([collate([[row]]) for row in rows])
    grouped, counted = gradient([together])
    assert pairs == counted == 4
    torch.testing.assert_close(grouped, alone, rtol=1e-4, atol=1e-5)


def test_training_prefers_what_was_chosen_on_questions_it_did_not_see(model, tokenizer):
    reference = copy.deepcopy(model)
    rows = rows_of([pair(f"how {number}") for number in range(12)], tokenizer, reference)
    unseen = rows_of([pair(f"are {number}") for number in range(6)], tokenizer, reference)
    settings = LoopSettings(
        steps=10, precision="float32", optimizer=OptimizerSettings(kind="adamw", learning_rate=1e-3)
    )
    train(model, DPO(0.1), preference_pairs(by_question(rows), per_step=6, micro=3, seed=0), settings)
    assert preference_accuracy(model, unseen) == 1
    chosen = [row.chosen for row in unseen]
    assert sum(log_probs_of(model, chosen)) > sum(log_probs_of(reference, chosen))


def test_a_pair_too_long_for_the_context_or_with_nothing_said_is_left_out(model, tokenizer):
    pairs = [pair("how"), pair("how " * 60), pair("are", rejected="", ended=(True, False))]
    assert len(rows_of(pairs, tokenizer, model)) == 1


def test_an_answer_is_learned_in_the_tokens_that_were_sampled(model, tokenizer):
    """Letter by letter, as the tokenizer would never write it; a person's correction as it would."""
    sampled = [*(id for letter in "bad" for id in tokenizer.encode(letter)), tokenizer.end_id]
    assert sampled[:-1] != tokenizer.encode("bad")
    corrected = Pair(({"role": "user", "content": "how"},), Said("good", True), Said("bad", True, sampled), "train")
    (row,) = rows_of([corrected], tokenizer, model)
    chosen, rejected = (
        [token for token, learn in zip(one.token_ids, one.learn, strict=True) if learn]
        for one in (row.chosen, row.rejected)
    )
    assert rejected == sampled
    assert chosen == [*tokenizer.encode("good"), tokenizer.end_id]


def test_what_the_chat_template_refuses_is_left_out_and_counted(model, tokenizer, capsys, monkeypatch):
    asked, system = {"role": "user", "content": "how"}, {"role": "system", "content": "be good"}
    good, bad = Said("good", True, written=True), Said("bad", True)
    odd = (asked, system, asked)
    pairs = [Pair(odd, good, bad, "train"), pair("how"), Pair((system, asked), good, bad, "train")]
    assert len(rows_of(pairs, tokenizer, model)) == 2
    told = capsys.readouterr().err
    assert "1 of 3 left out: the model's chat template refuses them (message 1: a system message must come" in told
    thumbs = [
        Thumb(odd, good, True, "train"),
        Thumb((asked,), good, True, "train"),
        Thumb((asked,), bad, False, "train"),
    ]
    assert [one.liked for one in liked_of(thumbs, tokenizer, model)] == [True, False]
    lessons = Lessons.of([], thumbs, "train")
    assert len(as_rows("sft", lessons, model, tokenizer)) == 1
    assert len(contests(lessons, tokenizer, 39, 0)) == 1
    with pytest.raises(NothingToLearn, match="no lesson fits the model's chat template and context"):
        as_rows("dpo", Lessons.of(pairs[:1], [], "train"), model, tokenizer)

    def base_model(*_, **__):
        raise NoChatTemplate("it belongs to a base model")

    monkeypatch.setattr("homeroom.training.pairs.render", base_model)
    with pytest.raises(NoChatTemplate):
        rows_of(pairs, tokenizer, model)


def test_an_imported_answer_is_not_taken_for_one_that_a_person_wrote():
    messages = ({"role": "user", "content": "how"},)
    imported = [Thumb(messages, Said(f"good {number}", True), True, "train") for number in range(500)]
    written = [Thumb(messages, Said("good", True, written=True), True, "train")]
    lessons = Lessons.of([], [*imported, *written], "train")
    assert (len(lessons.thumbs), lessons.written) == (501, written)
    with pytest.raises(NothingToLearn, match="501 thumbs \\(501 up\\), 1 written answers, too few"):
        choose(TeachingSettings(), lessons)
