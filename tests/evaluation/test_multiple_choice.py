"""Reading files, scoring held against transformers, and the border between prompt and choice."""

import gzip
import json

import pytest
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from homeroom.evaluation.multiple_choice import Scored, _laid_out, figures, read_items, score_items
from homeroom.models.checkpoint import save_model
from homeroom.settings import HomeroomError
from homeroom.tasks.multiple_choice import Item, draw_examples, prompt_after
from homeroom.text.tokenizer import SPECIAL_TOKENS, Tokenizer

ITEMS = [
    Item("比喻做了多余的事", ("画蛇添足", "守株待兔", "反而", "I am"), 0, category="zh"),
    Item("How are you today?", ("I am fine.", "def dumps(obj):"), 0, category="en"),
    Item("How do I encode?", ("encoder.encode(obj)", "守株待兔", "today"), 0, "Serialize obj to a JSON str."),
    Item("", ("侥幸心理。", "JSON"), 1, "守株待兔：比喻"),
]


@pytest.fixture(params=["llama", "gpt2"])
def model(request, new_model, tokenizer):
    return new_model(style=request.param, vocab_size=tokenizer.vocab_size, max_length=160)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_good_rows_are_kept_and_bad_ones_named_by_their_line(name, tmp_path):
    rows = [
        b'\xef\xbb\xbf{"question": "a?", "choices": ["x", "y"], "answer": "B", "id": "first"}\r',
        b"",
        b'{"question": "b?", "choices": ["x", "y"], "answer": 2}',
        b'{"question": "c?", "choices": ["x"',
        b"   \r",
        b'{"question": "\xff", "choices": ["x", "y"], "answer": 1}',
        b'{"question": "d?", "choices": ["x", "y", "z"], "answer": "z", "category": "last"}',
    ]
    content = b"\n".join(rows)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    rejects = []
    assert read_items(tmp_path / name, rejects.append) == [
        Item("a?", ("x", "y"), 1, id="first"),
        Item("d?", ("x", "y", "z"), 2, category="last", id="7"),
    ]
    assert [(one.line, str(one).partition(": ")[2].partition(" at ")[0][:20]) for one in rejects] == [
        (3, "answer 2 is out of r"),
        (4, "not JSON: Expecting "),
        (6, "not UTF-8: byte 0xff"),
    ]


def test_the_whole_lines_of_a_truncated_gzip_are_read(tmp_path):
    row = json.dumps({"question": "a?", "choices": ["x", "y"], "answer": 0}).encode() + b"\n"
    numbered = b"".join(row.replace(b"a?", b"%d %d" % (n, n * 7919)) for n in range(400))
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(numbered)[:-30])
    rejects = []
    assert 0 < len(read_items(tmp_path / "t.jsonl.gz", rejects.append)) < 400
    assert "truncated gzip" in str(rejects[0])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no question could be read. .*the file is empty"),
        (b"\n \n", "the file is empty"),
        (b'[{"question": "a?"}]', "t.jsonl, line 1: not an object as"),
        (b"PAR1\0\0\0", "binary data"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_file_without_any_question_is_an_error(content, why, tmp_path):
    (tmp_path / "t.jsonl").write_bytes(content)
    with pytest.raises(HomeroomError, match=why):
        read_items(tmp_path / "t.jsonl", lambda _: None)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(HomeroomError, match="there is no such file"):
        read_items(tmp_path / "t.jsonl", lambda _: None)


@pytest.mark.parametrize("shots", [0, 2])
@torch.no_grad()
def test_scores_are_those_of_transformers(shots, model, tokenizer, tmp_path):
    """Its tokenizer and its model, one plain forward for each choice."""
    save_model(model, tmp_path)
    tokenizer.save(tmp_path)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    encode = transformers.AutoTokenizer.from_pretrained(tmp_path)
    seen = []
    scored = score_items(model, tokenizer, ITEMS, shots=shots, on_items=seen.append)
    assert sum(seen) == len(ITEMS)
    for one, examples in zip(scored, draw_examples(ITEMS, ITEMS, shots, 0), strict=True):
        prompt = prompt_after(examples, one.item)
        given = [encode.bos_token_id, *encode(prompt, add_special_tokens=False).input_ids]
        expected = []
        for choice in one.item.choices:
            ids = [encode.bos_token_id, *encode(f"{prompt} {choice}", add_special_tokens=False).input_ids]
            assert ids[: len(given)] == given
            table = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
            expected.append(sum(float(table[i - 1, ids[i]]) for i in range(len(given), len(ids))))
        assert one.examples == shots
        assert one.logprobs == pytest.approx(expected, abs=1e-4)
        assert one.picked == expected.index(max(expected))
        rates = [value / len(choice.encode()) for value, choice in zip(expected, one.item.choices, strict=True)]
        assert one.picked_per_byte == rates.index(max(rates))


@pytest.fixture(scope="session")
def melting() -> Tokenizer:
    """A tokenizer whose tokens cross the border between prompt and choice: it cuts its text nowhere."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        min_frequency=2,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([": yes"] * 20, trainer)
    return Tokenizer(backend)


def test_a_document_token_stands_first_where_the_model_is_used_to_one(tokenizer, monkeypatch):
    (used,) = _laid_out(ITEMS[:1], [[]], tokenizer, 100)
    monkeypatch.setattr(tokenizer, "adds_bos", False)
    (unused,) = _laid_out(ITEMS[:1], [[]], tokenizer, 100)
    assert used.prompt == [tokenizer.document_id, *unused.prompt]
    assert unused.prompt == tokenizer.encode(ITEMS[0].prompt)
    (nothing,) = _laid_out([Item("", ("a", "b"), 0)], [[]], tokenizer, 100)
    assert nothing.prompt == [tokenizer.document_id]


@torch.no_grad()
def test_all_choices_are_scored_behind_the_same_beginning(melting, new_model):
    item = Item("Is it?", ("yes", "no"), 0)
    whole = [melting.encode(f"{item.prompt} {choice}") for choice in item.choices]
    assert melting.encode(item.prompt) + melting.encode(" yes") != whole[0]
    (row,) = _laid_out([item], [[]], melting, 100)
    assert melting.decode(row.prompt) == "Question: Is it?\nAnswer"
    assert [melting.decode(choice.scored) for choice in row.choices] == [": yes", ": no"]
    assert [[melting.document_id, *ids] for ids in whole] == [row.prompt + choice.token_ids for choice in row.choices]
    model = new_model(vocab_size=melting.vocab_size, max_length=100)
    (scored,) = score_items(model, melting, [item])
    for ids, found in zip(whole, scored.logprobs, strict=True):
        ids = [melting.document_id, *ids]
        table = model.logits(model.hidden(torch.tensor([ids]))).log_softmax(-1)[0]
        first = len(row.prompt)
        assert found == pytest.approx(sum(float(table[i - 1, ids[i]]) for i in range(first, len(ids))), abs=1e-4)


def test_examples_that_do_not_fit_are_dropped_from_the_left(new_model, tokenizer):
    pool = [Item(f"Is {number} fine?", ("I am fine.", "JSON"), 0) for number in range(5)]
    long = Item("守株待兔 " * 60, ("a", "b"), 0)
    prompts = {n: 1 + len(tokenizer.encode(prompt_after(pool[5 - n :], pool[0]) + " I am fine.")) for n in (3, 4)}
    examples = [[*pool], [*pool], []]
    rows = _laid_out([pool[0], long, pool[1]], examples, tokenizer, prompts[4] - 1)
    assert rows[1] is None
    assert (rows[0].examples, rows[2].examples) == (3, 0)
    assert tokenizer.decode(rows[0].prompt) == prompt_after(pool[2:], pool[0])
    (fits,) = _laid_out([pool[0]], [pool], tokenizer, prompts[4])
    assert fits.examples == 4
    model = new_model(vocab_size=tokenizer.vocab_size, max_length=prompts[4] - 1)
    told = figures(score_items(model, tokenizer, [*pool, long], shots=4, pool=pool), shots=4)
    assert (told["accuracy"]["n"], told["too_long"], told["fewer_examples"]) == (5, 1, 5)
    with pytest.raises(HomeroomError, match="none of the 1 questions fits"):
        figures(score_items(model, tokenizer, [long], shots=2, pool=pool), shots=2)


def test_a_portion_more_changes_nothing(new_model, tokenizer, monkeypatch):
    model = new_model(vocab_size=tokenizer.vocab_size, max_length=160)
    whole = score_items(model, tokenizer, ITEMS, shots=1)
    monkeypatch.setattr("homeroom.evaluation.multiple_choice._PORTION", 3)
    for one, other in zip(whole, score_items(model, tokenizer, ITEMS, shots=1), strict=True):
        assert one.item == other.item
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_figures_count_by_sum_and_by_byte_overall_and_by_category():
    two, four = ("a", "bbbb"), ("a", "b", "c", "d")
    scored = [
        Scored(Item("1", two, 1, category="x"), 0, (-2.0, -3.0)),  # the shorter by its sum, the longer by its bytes
        Scored(Item("2", two, 0, category="x"), 0, (-2.0, -9.0)),
        Scored(Item("3", four, 2, category="y"), 0, (-4.0, -3.0, -1.0, -2.0)),
        Scored(Item("4", four, 2), 0, (-4.0, -0.5, -1.0, -2.0)),
        Scored(Item("5", two, 0, category="y"), 0, ()),
    ]
    told = figures(scored, shots=0)
    assert (told["accuracy"]["mean"], told["accuracy_per_byte"]["mean"]) == (0.5, 0.75)
    assert told["accuracy"]["low"] == pytest.approx(0.150, abs=1e-3)  # Wilson's, of 2 in 4
    assert (told["chance"], told["too_long"], told["fewer_examples"]) == (0.375, 1, 0)
    assert {name: (row["accuracy"]["mean"], row["accuracy"]["n"], row["chance"])
            for name, row in told["by_category"].items()} == {"x": (0.5, 2, 0.5), "y": (1.0, 1, 0.25)}  # fmt: skip
