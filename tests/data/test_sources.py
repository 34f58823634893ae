import gzip
import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.documents import Document, dialogue
from homeroom.data.reading import Reject
from homeroom.data.sources import NothingReadable, pieces_of, read_folder


def read(folder: Path, **options: int) -> tuple[list[Document], list[Reject]]:
    rejects: list[Reject] = []
    return list(read_folder(folder, rejects.append, **options)), rejects


def rows(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def test_every_kind_of_file_is_read_in_a_fixed_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "z.txt").write_text("plain", encoding="utf-8")
    (tmp_path / "c.MD").write_text("# 标题", encoding="utf-8")
    (tmp_path / "b.jsonl").write_bytes(rows("one") + b"\n" + b'{"content": "two"}')
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows("packed")) + gzip.compress(rows("member")) + b"\0" * 9)
    pq.write_table(pa.table({"content": ["row"]}), tmp_path / "d.parquet")
    (tmp_path / ".hidden.txt").write_text("unseen", encoding="utf-8")
    documents, rejects = read(tmp_path)
    assert [document.text for document in documents] == ["packed", "member", "one", "two", "# 标题", "row", "plain"]
    assert rejects == []
    assert {(document.kind, document.source) for document in documents} == {("text", f"folder:{tmp_path.name}")}


def test_a_row_of_messages_is_a_dialogue(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好！"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": messages, "text": "not this"}), encoding="utf-8")
    pq.write_table(pa.table({"messages": [messages]}), tmp_path / "b.parquet")
    documents, _ = read(tmp_path)
    assert [document.kind for document in documents] == ["dialogue", "dialogue"]
    assert documents[0].fields == documents[1].fields == {"messages": messages}
    assert documents[0].text == "问：你好\n答：你好！"


@pytest.mark.parametrize(
    ("question", "answer", "text"),
    [
        ("What does 画蛇添足 mean?", "To overdo it.", "Q: What does 画蛇添足 mean?\nA: To overdo it."),
        ("什么是H2O", "水的化学式。", "问：什么是H2O\n答：水的化学式。"),
        ("1 + 1 = ?", "2", "Q: 1 + 1 = ?\nA: 2"),
    ],
)
def test_a_dialogue_is_labelled_in_its_language_whatever_it_quotes(question: str, answer: str, text: str) -> None:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    assert dialogue("x", messages).text == text


BAD_LINES = {
    b"{": "not JSON: Expecting property name enclosed in double quotes at column 2",
    b'{"title": "x"}': "no text, content or messages; it has title",
    b'{"text": "  "}': "'text' is empty",
    b'{"text": 3}': "'text' is int, not text",
    b"[1]": "not an object with text, content or messages, but list",
    b'{"text": "caf\xe9"}': "not UTF-8: byte 0xe9 at byte 14 of the line",
    b'{"messages": []}': "'messages' is no list of messages, or an empty one",
    b'{"messages": [{"role": "bot", "content": "x"}]}': "message 1: its role is 'bot'",
    b'{"messages": [{"role": "user", "content": ""}]}': "message 1: it has no text in 'content'",
    b"[" * 100_000: "not JSON: maximum recursion depth exceeded",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:30].decode(errors="replace"))
def test_a_bad_line_is_named_and_the_rows_around_it_are_kept(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(rows("before") + line + b"\n" + rows("after"))
    documents, [reject] = read(tmp_path)
    assert [document.text for document in documents] == ["before", "after"]
    assert (reject.file, reject.line) == ("a.jsonl", 2)
    assert reject.why.startswith(BAD_LINES[line])


def test_a_truncated_gz_keeps_the_whole_lines_before(tmp_path: Path) -> None:
    # Incompressible, so that the cut falls inside of a known line.
    packed = gzip.compress(rows(*(f"{number} {random.Random(number).random()}" * 40 for number in range(1000))))
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    documents, [reject] = read(tmp_path)
    assert 100 < len(documents) < 900
    assert reject.line == len(documents) + 1
    assert reject.why == (
        f"ends in the middle of line {reject.line:,} (truncated gzip). Kept the {len(documents):,} lines before it."
    )


def test_a_damaged_gz_keeps_what_comes_before(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(rows(*map(str, range(50_000))), compresslevel=0))
    block = 10  # past the header; then each stored block has a byte, its length twice, the second time inverted
    for _ in range(4):
        block += 5 + int.from_bytes(packed[block + 1 : block + 3], "little")
    packed[block + 3] ^= 1
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    documents, [reject] = read(tmp_path)
    assert len(documents) > 1000
    assert "damaged gzip" in reject.why


def test_a_gz_whose_checksum_differs_gives_no_line_that_may_be_wrong(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(rows(*map(str, range(500))), compresslevel=0))  # stored: it unpacks to its end
    packed[len(packed) // 2] ^= 1
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    (tmp_path / "b.jsonl").write_bytes(rows("good"))
    documents, [reject] = read(tmp_path)
    assert [document.text for document in documents] == ["good"]
    assert str(reject).startswith("a.jsonl.gz: damaged gzip: its checksum is not that of its contents")


def test_a_well_packed_gz_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows("a" * 5_000_000)))
    documents, rejects = read(tmp_path, document_bytes=10_000_000)
    assert (len(documents), rejects) == (1, [])


def test_truncated_and_foreign_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["good", None, ""]}), tmp_path / "good.parquet")
    pq.write_table(pa.table({"title": ["x"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    documents, rejects = read(tmp_path)
    assert [document.text for document in documents] == ["good"]
    assert {reject.file: reject.why.split(":")[0] for reject in rejects if reject.file != "good.parquet"} == {
        "cut.parquet": "not a whole .parquet file (truncated or damaged)",
        "none.parquet": "the file has no rows",
        "other.parquet": "has no column text, content or messages; its columns are title",
    }
    assert [(reject.line, reject.why) for reject in rejects if reject.file == "good.parquet"] == [
        (2, "no text, content or messages; it has text"),
        (3, "'text' is empty"),
    ]


def test_damage_inside_of_a_parquet_loses_one_row_group(tmp_path: Path) -> None:
    table = pa.table({"text": [f"row {number} {random.Random(number).random()}" for number in range(3000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000, compression="zstd", use_dictionary=False)
    column = pq.read_metadata(tmp_path / "a.parquet").row_group(1).column(0)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[column.data_page_offset + 100 : column.data_page_offset + 3000] = bytes(2900)
    (tmp_path / "a.parquet").write_bytes(data)
    documents, [reject] = read(tmp_path)
    assert len(documents) == 2000
    assert reject.line == 1001
    assert reject.why.startswith("rows 1,001 to 2,000 are damaged")


def test_a_bad_text_inside_of_a_parquet_is_named_and_the_rows_around_it_are_kept(tmp_path: Path) -> None:
    texts = [f"row {number}".encode() for number in range(3000)]
    texts[5] = b"caf\xe9"
    # Types are only names in a parquet: what is called text need not be.
    column = pa.array(texts, pa.binary()).view(pa.string())
    said = pa.array([b"Hello.", b"caf\xe9"], pa.binary()).view(pa.string())
    turns = pa.StructArray.from_arrays([pa.array(["user", "user"]), said], ["role", "content"])
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"messages": pa.ListArray.from_arrays([0, 1, 2], turns)}), tmp_path / "b.parquet")
    documents, rejects = read(tmp_path)
    assert len(documents) == 3000
    assert [(reject.file, reject.line) for reject in rejects] == [("a.parquet", 6), ("b.parquet", 2)]
    assert {reject.why for reject in rejects} == {"not UTF-8: byte 0xe9 at byte 4 of the line"}


def test_names_that_are_not_utf_8_are_shown_as_far_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / os.fsdecode(b"\xe9.txt")).write_text("good", encoding="utf-8")
    (folder / os.fsdecode(b"\xe9.png")).write_bytes(b"x")
    [document], [reject] = read(folder)
    assert (document.source, reject.file) == ("folder:caf\ufffd", "\ufffd.png")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 50)
    (tmp_path / "binary.jsonl").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "gb.txt").write_bytes("这不是 UTF-8。\n".encode("gb18030") * 20)
    (tmp_path / "good.txt").write_text("good", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / "space.txt").write_text(" \n\n", encoding="utf-8")
    documents, rejects = read(tmp_path)
    assert [document.text for document in documents] == ["good"]
    assert {reject.file: reject.why for reject in rejects} == {
        "binary.jsonl": "binary data, not JSON lines",
        "binary.txt": "binary data, not text",
        "empty.txt": "the file is empty",
        "gb.txt": "20 of 21 lines are not UTF-8; convert it (old Chinese text: `iconv -f gb18030 -t utf-8`)",
        "picture.png": "not a kind of file that is read here; allowed are .txt, .md, .jsonl, .jsonl.gz, .parquet",
        "space.txt": "the file holds only white space",
    }


def test_a_bad_line_of_text_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbffirst\n" + b"caf\xe9\n" + "好\n".encode() * 30)
    [document], [reject] = read(tmp_path)
    assert document.text == "first\n" + "好\n" * 30
    assert str(reject) == "a.txt, line 2: not UTF-8: byte 0xe9 at byte 4 of the line"


def test_a_few_bad_lines_do_not_cost_a_small_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("好\n".encode() * 6 + b"caf\xe9\n" * 2)
    [document], rejects = read(tmp_path)
    assert document.text == "好\n" * 6
    assert [reject.line for reject in rejects] == [7, 8]


def test_a_small_file_in_another_encoding_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "gb.txt").write_bytes("第一行\n\n第二行\n\nplain\n".encode("gb18030"))
    (tmp_path / "good.txt").write_text("good", encoding="utf-8")
    [document], [reject] = read(tmp_path)
    assert document.text == "good"
    assert reject.why.startswith("2 of 6 lines are not UTF-8; convert it")


def test_utf_16_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("你好", encoding="utf-16")
    assert [document.text for document in read(tmp_path)[0]] == ["你好"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_document_of_100_mb_is_split_and_the_report_says_so(tmp_path: Path, name: str) -> None:
    line = "一行文字 and more.\n"
    text = line * (100_000_000 // len(line.encode()))
    data = text.encode() if name == "a.txt" else json.dumps({"text": text}, ensure_ascii=False).encode()
    (tmp_path / name).write_bytes(data)
    size, count = 0, 0
    rejects: list[Reject] = []
    for document in read_folder(tmp_path, rejects.append):
        assert len(document.text.encode()) <= 2_000_000
        assert document.text.endswith("\n")
        size += len(document.text.encode())
        count += 1
    assert size == len(text.encode())
    [reject] = rejects
    assert reject.kept
    assert reject.why == f"a document of {size:,} bytes was split into {count:,} of at most 2,000,000"


@given(st.text(max_size=200), st.integers(16, 40))
def test_pieces_are_the_text_and_never_too_long(text: str, limit: int) -> None:
    pieces = list(pieces_of(text, limit))
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= limit for piece in pieces)


@given(
    text=st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300)
)
def test_a_text_file_in_blocks_is_the_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_text("x" + text, encoding="utf-8", newline="")
    documents, _ = read(folder, document_bytes=16)
    # Blocks of nothing but white space are no documents.
    assert "".join("".join(document.text for document in documents).split()) == "".join(("x" + text).split())


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(r'{"text": "broken \ud83d and 好 \ud83d\ude00"}', encoding="utf-8")
    assert [document.text for document in read(tmp_path)[0]] == ["broken \ufffd and 好 😀"]


def test_nothing_readable_names_why(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(NothingReadable, match=r"1 files or lines were left out.*a\.txt: the file is empty"):
        read(tmp_path)
    with pytest.raises(NothingReadable, match="there is no such file or folder"):
        read(tmp_path / "nowhere")


def test_one_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alone", encoding="utf-8")
    assert [document.text for document in read(tmp_path / "a.txt")[0]] == ["alone"]
