"""Documents in, the good ones out: repaired, with language and split, and a funnel that counts what each rule dropped.

Daft runs it in three passes over files, so that only verdicts and no texts are held: inspect each document by itself
(quality.py), find those that repeat others (deduplication.py), write what is kept and what is not.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import daft
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from annotated_types import Gt
from daft import DataType, Series, col
from numpy.typing import NDArray

from homeroom.data.deduplication import Duplicates, find_duplicates
from homeroom.data.documents import Document, DocumentWriter, row_batches
from homeroom.data.quality import RULES, Rules, broken_rule, content_key, family_key, language, repair, repair_fields
from homeroom.progress import progress
from homeroom.settings import Frozen, HomeroomError, Json, Probability
from homeroom.tasks.split import share
from homeroom.tasks.wording import simplified

EXACT, NEAR = "exact duplicate", "near duplicate"
_EXAMPLES, _EXAMPLE_CHARACTERS = 3, 120
_DROPPED_SCHEMA = pa.schema([(name, pa.large_string()) for name in ("id", "rule", "text", "duplicate_of")])


class NothingLeft(HomeroomError):
    pass


class Cleaning(Frozen):
    """Which documents are kept, and how they are shared out."""

    rules: Rules = Rules()
    near_duplicate: Probability = 0.8  # Jaccard similarity from which one of two documents is dropped
    same_split: Probability = 0.5  # and from which both must be in the same split
    validation: Probability = 0.02
    heldout: Probability = 0.02
    batch_documents: Annotated[int, Gt(0)] = 2_000


@dataclass
class Funnel:
    """What went in, what each rule dropped and what came out; `metrics` is what the report shows."""

    documents: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    kept: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: {by: defaultdict(Counter) for by in ("language", "source", "kind", "split")}
    )

    def drop(self, rule: str, text: str, example: str) -> None:
        self.documents += 1
        self.dropped[rule] += 1
        self.dropped_bytes[rule] += len(text.encode())
        if len(self.examples[rule]) < _EXAMPLES:
            self.examples[rule].append(example)

    def keep(self, document: Document) -> None:
        self.documents += 1
        size = len(document.text.encode())
        for by, groups in self.kept.items():
            groups[getattr(document, by)].update(documents=1, bytes=size)

    def metrics(self) -> dict[str, Json]:
        steps: list[Json] = []
        left = self.documents
        for rule in (*RULES, EXACT, NEAR):
            left -= self.dropped[rule]
            step: dict[str, Json] = {
                "rule": rule,
                "dropped": self.dropped[rule],
                "kept": left,
                "bytes_dropped": self.dropped_bytes[rule],
                "examples": [*self.examples[rule]],
            }
            steps.append(step)
        by: dict[str, Json] = {
            f"by_{name}": {group: dict(counts) for group, counts in sorted(groups.items())}
            for name, groups in self.kept.items()
        }
        size = sum(counts["bytes"] for counts in self.kept["split"].values())
        return {"funnel": steps, "documents_in": self.documents, "documents": left, "bytes": size, **by}


def clean(source: Path, folder: Path, settings: Cleaning) -> Funnel:
    """Reads a documents.parquet; writes documents.parquet (kept) and dropped.parquet into `folder`."""
    inspected = folder / "scratch-inspected.parquet"
    rows = _inspect(source, inspected, settings)
    with progress("looking for duplicates"):
        frame = daft.read_parquet(str(inspected)).where("rule = ''").select("row", "key", "script_free", "family")
        found = find_duplicates(frame, rows, near=settings.near_duplicate, related=settings.same_split)
    funnel = _write(inspected, folder, found, rows, settings)
    inspected.unlink()
    if funnel.documents == funnel.dropped.total():
        worst = ", ".join(f"{rule} {count:,}" for rule, count in funnel.dropped.most_common(3))
        raise NothingLeft(f"no document of {source} is left after cleaning; dropped were: {worst}. See [clean.rules].")
    return funnel


_INSPECTED = pa.schema(
    [
        (name, pa.large_string())
        for name in ("id", "source", "kind", "text", "fields", "language", "rule", "key", "script_free", "family")
    ]
    + [("row", pa.int64())]
)


def _inspect(source: Path, target: Path, settings: Cleaning) -> int:
    """Every document with what it is by itself, numbered in the order of the source."""
    rules = settings.rules

    # In this process: a pool of processes would cost each of them an import and a model.
    @daft.func.batch(
        return_dtype=DataType.struct(
            {name: DataType.string() for name in ("text", "fields", "language", "rule", "key", "script_free", "family")}
        ),
        unnest=True,
        use_process=False,
    )
    def inspect(text: Series, fields: Series, kind: Series, stated: Series) -> list[dict[str, str]]:
        documents = zip(text.to_pylist(), fields.to_pylist(), kind.to_pylist(), stated.to_pylist(), strict=True)
        return [_inspected(*document, rules) for document in documents]

    metadata = pq.read_metadata(source)
    row = 0
    with progress("inspecting documents", metadata.num_rows) as bar, pq.ParquetWriter(target, _INSPECTED) as file:
        # By row group, which is bounded in bytes: of all, a batch of large documents would be gigabytes.
        for group in range(metadata.num_row_groups):
            frame = daft.read_parquet([str(source)], row_groups=[[group]]).into_batches(settings.batch_documents)
            verdicts = inspect(col("text"), col("fields"), col("kind"), col("language"))
            for batch in frame.select("id", "source", "kind", verdicts).to_arrow_iter():
                numbered = pa.Table.from_batches([batch]).append_column("row", pa.array(range(row, row + len(batch))))
                file.write_table(numbered.select(_INSPECTED.names).cast(_INSPECTED))
                row += len(batch)
                bar.advance(len(batch))
    return row


def _inspected(text: str, fields_json: str, kind: str, stated: str, rules: Rules) -> dict[str, str]:
    repaired = repair(text, kind)
    if fields_json and repaired != text:
        fields_json = json.dumps(repair_fields(json.loads(fields_json), kind), ensure_ascii=False, sort_keys=True)
    fields = json.loads(fields_json) if fields_json else {}
    # Without the labels of a dialogue, which are of no language.
    words = "\n".join(m["content"] for m in fields["messages"]) if kind == "dialogue" else repaired
    found = stated or language(words, kind)
    rule = broken_rule(repaired, kind, found, rules)
    key, family = ("", "") if rule else (content_key(repaired, fields, kind), family_key(fields, kind))
    # Families of two kinds are different families.
    family = f"{kind}\0{family}" if family else ""
    return {
        "text": repaired,
        "fields": fields_json,
        "language": found,
        "rule": rule,
        "key": key,
        "script_free": simplified(key),
        "family": family,
    }


def _write(inspected: Path, folder: Path, found: Duplicates, rows: int, settings: Cleaning) -> Funnel:
    funnel = Funnel()
    ids = pq.read_table(inspected, columns=["id"])["id"]
    splits = _splits(found.family, ids, settings)
    with (
        progress("writing documents", rows) as bar,
        DocumentWriter(folder / "documents.parquet") as kept,
        pq.ParquetWriter(folder / "dropped.parquet", _DROPPED_SCHEMA, compression="zstd") as dropped,
    ):
        for batch in row_batches(inspected, ["row", "id", "source", "kind", "text", "fields", "language", "rule"]):
            refused: list[dict[str, str]] = []
            for one in batch:
                row, text, rule = one["row"], one["text"], one["rule"]
                original = found.exact.get(row, found.near.get(row))
                if original is not None:
                    rule = EXACT if row in found.exact else NEAR
                if rule:
                    original_id = ids[original].as_py() if original is not None else ""
                    refused.append({"id": one["id"], "rule": rule, "text": text, "duplicate_of": original_id})
                    funnel.drop(rule, text, _short(text))
                    continue
                document = Document(
                    source=one["source"],
                    kind=one["kind"],
                    text=text,
                    fields=json.loads(one["fields"]) if one["fields"] else {},
                    language=one["language"],
                    split=str(splits[row]),
                    id=one["id"],
                )
                kept.write(document)
                funnel.keep(document)
            dropped.write_table(pa.Table.from_pylist(refused, schema=_DROPPED_SCHEMA))
            bar.advance(len(batch))
    return funnel


def _splits(family: NDArray[np.int64], ids: pa.ChunkedArray, settings: Cleaning) -> NDArray[np.str_]:
    """One split for each family, drawn by the member whose id hashes lowest, so that order decides nothing.

    What is collected later moves a family to another split only where it hashes lower still, or joins two families.
    """
    splits = np.full(len(family), "train", dtype="<U10")
    hashes = np.fromiter((share(name.as_py(), "family") for name in ids), np.float64, len(ids))
    lowest_first = np.lexsort((hashes, family))
    families, starts = np.unique(family[lowest_first], return_index=True)
    for first, lowest in zip(families, lowest_first[starts], strict=True):
        drawn = share(ids[lowest].as_py(), "split")
        if drawn < settings.heldout + settings.validation:
            splits[first] = "heldout" if drawn < settings.heldout else "validation"
    return splits[family]


def _short(text: str) -> str:
    flat = " ".join(text[:1000].split())
    return flat if len(flat) <= _EXAMPLE_CHARACTERS else flat[: _EXAMPLE_CHARACTERS - 1] + "…"
