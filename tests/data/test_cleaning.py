import hashlib
import json
import random
import tracemalloc
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from homeroom.data import documents as documents_module
from homeroom.data.cleaning import Cleaning, Funnel, NothingLeft, _inspect, clean
from homeroom.data.documents import Document, DocumentWriter, dialogue, read_documents
from homeroom.data.quality import Rules
from homeroom.tasks.split import share

HAN = [chr(code) for code in range(0x4E00, 0x5200)]


def chinese(seed: int) -> str:
    return "".join(random.Random(seed).choices(HAN, k=120))


def run(folder: Path, documents: list[Document], settings: Cleaning | None = None) -> tuple[list[Document], Funnel]:
    with DocumentWriter(folder / "collected.parquet") as writer:
        for document in documents:
            writer.write(document)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    funnel = clean(folder / "collected.parquet", out, settings or Cleaning(batch_documents=64))
    return list(read_documents(out / "documents.parquet")), funnel


def text(words: str) -> Document:
    return Document("folder:x", "text", words)


def test_the_funnel_counts_every_rule_with_examples(tmp_path: Path) -> None:
    good = [text(chinese(seed)) for seed in range(20)]
    kept, funnel = run(
        tmp_path,
        [
            *good,
            text("tiny"),
            text("点击这里" * 60),
            text(chinese(3) + "\0"),
            text(chinese(4)[:60] + "甲" + chinese(4)[61:]),
        ],
    )
    assert [document.text for document in kept] == [document.text for document in good]
    metrics = funnel.metrics()
    steps = {step["rule"]: step for step in metrics["funnel"]}  # type: ignore[union-attr,index,call-overload]
    assert {rule: step["dropped"] for rule, step in steps.items() if step["dropped"]} == {  # type: ignore[index,call-overload]
        "too short": 1,
        "repetition": 1,
        "exact duplicate": 1,
        "near duplicate": 1,
    }
    assert steps["too short"]["examples"] == ["tiny"]  # type: ignore[index,call-overload]
    assert steps["too short"]["kept"] == 23  # type: ignore[index,call-overload]
    assert steps["near duplicate"]["kept"] == metrics["documents"] == 20  # type: ignore[index,call-overload]
    assert metrics["by_language"] == {"zh": {"documents": 20, "bytes": 20 * 360}}
    dropped = pq.read_table(tmp_path / "out" / "dropped.parquet").to_pylist()
    assert [row["rule"] for row in dropped] == ["too short", "repetition", "exact duplicate", "near duplicate"]
    assert [row["duplicate_of"] for row in dropped] == ["", "", good[3].id, good[4].id]
    json.dumps(metrics)


def test_text_and_fields_are_repaired_and_the_id_stays(tmp_path: Path) -> None:
    given = dialogue("x", [{"role": "user", "content": "caf\u00c3\u00a9?"}, {"role": "assistant", "content": "Yes."}])
    [kept], _ = run(tmp_path, [given])
    assert kept.text == "Q: café?\nA: Yes."
    assert kept.fields == {"messages": [{"content": "café?", "role": "user"}, {"content": "Yes.", "role": "assistant"}]}
    assert kept.id == given.id
    assert kept.language == "en"


def test_a_language_that_the_source_states_is_kept(tmp_path: Path) -> None:
    [kept], _ = run(tmp_path, [Document("x", "prose", chinese(1), language="code")])
    assert kept.language == "code"


def test_splits_have_their_shares_and_families_do_not_straddle(tmp_path: Path) -> None:
    answers = [[f"question {number}?", f"{chinese(number * 7 + turn)}"] for number in range(400) for turn in range(3)]
    documents = [
        dialogue("x", [{"role": "user", "content": q}, {"role": "assistant", "content": a}]) for q, a in answers
    ]
    kept, _ = run(tmp_path, documents, Cleaning(validation=0.2, heldout=0.1))
    assert len(kept) == 1200
    split_of: dict[str, set[str]] = {}
    for document in kept:
        question = document.fields["messages"][0]["content"]  # type: ignore[index,call-overload]
        split_of.setdefault(str(question), set()).add(document.split)
    assert all(len(splits) == 1 for splits in split_of.values())
    shares = {name: sum(document.split == name for document in kept) / 1200 for name in ("validation", "heldout")}
    assert shares["validation"] == pytest.approx(0.2, abs=0.06)
    assert shares["heldout"] == pytest.approx(0.1, abs=0.05)


def test_twins_in_two_scripts_are_both_kept_in_one_split(tmp_path: Path) -> None:
    simple = {"覺": "觉", "這": "这", "個": "个", "嗎": "吗", "讀": "读", "書": "书", "說": "说", "話": "话"}
    asked = ["".join(random.Random(number).choices([*simple], k=30)) for number in range(100)]
    documents = [
        dialogue("x", [{"role": "user", "content": question}, {"role": "assistant", "content": chinese(number)}])
        for number, traditional in enumerate(asked)
        for question in (traditional, "".join(simple[character] for character in traditional))
    ]
    kept, _ = run(tmp_path, documents, Cleaning(validation=0.3, heldout=0.3))
    assert len(kept) == 200
    for one, twin in zip(kept[::2], kept[1::2], strict=True):
        assert one.split == twin.split
    assert {document.split for document in kept} == {"train", "validation", "heldout"}


def test_a_document_keeps_its_split_when_others_are_added(tmp_path: Path) -> None:
    documents = [text(chinese(seed)) for seed in range(200)]
    settings = Cleaning(validation=0.3, heldout=0.3)
    before, _ = run(tmp_path, documents, settings)
    after, _ = run(tmp_path, [text(chinese(seed)) for seed in range(1000, 1100)] + documents, settings)
    split_after = {document.id: document.split for document in after}
    assert {document.id: document.split for document in before}.items() <= split_after.items()


def test_relatives_that_are_added_move_few_families_and_their_order_none(tmp_path: Path) -> None:
    related = [chinese(seed)[:90] + chinese(seed + 500)[:30] for seed in range(60)]
    documents = [text(words) for seed in range(60) for words in (chinese(seed), related[seed])]
    newer = [text(chinese(seed)[:90] + chinese(seed + 1000)[:30]) for seed in range(60)]
    settings = Cleaning(validation=0.3, heldout=0.3)
    before, after, turned = (
        {document.id: document.split for document in run(tmp_path, each, settings)[0]}
        for each in (documents, newer + documents, (newer + documents)[::-1])
    )
    assert turned == after
    moved = [number for number in range(60) if after[documents[2 * number].id] != before[documents[2 * number].id]]
    assert 0 < len(moved) < 20
    for number in moved:
        family = (newer[number], *documents[2 * number : 2 * number + 2])
        assert min(family, key=lambda document: share(document.id, "family")) == newer[number]


def test_large_documents_are_held_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_module, "_ROW_GROUP_BYTES", 200_000)
    with DocumentWriter(tmp_path / "collected.parquet") as writer:
        for seed in range(40):
            writer.write(text("".join(random.Random(seed).choices("abcd efgh", k=100_000))))
    assert _inspect(tmp_path / "collected.parquet", tmp_path / "inspected.parquet", Cleaning()) == 40
    inspected = pq.read_metadata(tmp_path / "inspected.parquet")
    assert {inspected.row_group(group).num_rows for group in range(inspected.num_row_groups)} == {2}
    assert pq.read_table(tmp_path / "inspected.parquet")["row"].to_pylist() == list(range(40))

    tracemalloc.start()
    assert sum(1 for _ in read_documents(tmp_path / "collected.parquet")) == 40
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    documents = [text(chinese(seed % 150)) for seed in range(300)]
    digests = set()
    for _ in range(2):
        run(tmp_path, documents)
        digests.add(hashlib.sha256((tmp_path / "out" / "documents.parquet").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_nothing_left_says_which_rule_dropped_it(tmp_path: Path) -> None:
    with pytest.raises(NothingLeft, match=r"dropped were: language 3\. See \[clean\.rules\]"):
        run(tmp_path, [text(chinese(seed)) for seed in range(3)], Cleaning(rules=Rules(languages=("en",))))
