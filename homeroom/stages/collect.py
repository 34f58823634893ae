"""collect: the starter data and any folders become one table of documents.

How files are read is for `homeroom.data.sources`, what the starter data is for `homeroom.data.starter`. The identity
holds a digest of all that is read, so that a changed folder is collected again and an unchanged one is not.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from annotated_types import Ge
from pydantic import AfterValidator, Field, NonNegativeFloat

from homeroom.data.documents import Document, DocumentWriter
from homeroom.data.reading import Reject
from homeroom.data.sources import read_folder, source_files
from homeroom.data.starter import starter_documents, starter_versions
from homeroom.progress import progress, say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages.lookup import unchanged
from homeroom.workspace import Artifact, Workspace

VERSION = 3
SHOWN = 10  # rejects; a folder of the wrong encoding has millions, and the file holds them all


def _is_text(folder: Path) -> Path:
    """It is written into the recipe and the manifest; names inside of the folder may be any bytes."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ValueError(f"the folder's name is not UTF-8: {os.fsencode(folder)!r}; rename it, or link to it") from None
    return folder


class Config(Frozen):
    """What the assistant is raised on."""

    starter: bool = Field(True, description="idioms, dialogues and CPython's own text, from the installed packages")
    folders: tuple[Annotated[Path, AfterValidator(_is_text)], ...] = Field(
        (), description="folders of .txt, .md, .jsonl, .jsonl.gz and .parquet files"
    )
    code_megabytes: NonNegativeFloat = Field(4.0, description="most of the starter data's source code")
    document_megabytes: Annotated[float, Ge(0.001)] = Field(2.0, description="longer documents are split")


class Identity(Config):
    """The settings and what they were applied to."""

    contents: dict[str, str]


def run(config: Config, workspace: Workspace) -> Artifact:
    if not config.starter and not config.folders:
        raise HomeroomError("[collect]: starter = false and no folders, so there is nothing to read. Name a folder.")
    settings = Identity(**dict(config), contents=_contents(config))
    if done := unchanged(workspace, "collect", settings, version=VERSION):
        return done
    with workspace.publish("collect", settings, version=VERSION) as out:
        documents: Counter[str] = Counter()
        size: Counter[str] = Counter()
        rejected: Counter[bool] = Counter()  # by whether something of it was kept
        examples: list[str] = []
        with (
            (out.path / "rejects.jsonl").open("w", encoding="utf-8") as rejects_file,
            DocumentWriter(out.path / "documents.parquet") as file,
        ):

            def reject(one: Reject) -> None:
                rejected[one.kept] += 1
                if not one.kept and len(examples) < SHOWN:
                    examples.append(str(one))
                rejects_file.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")

            for document in _documents(config, reject):
                file.write(document)
                documents[document.source] += 1
                size[document.source] += len(document.text.encode())
        sources: dict[str, Json] = {name: {"documents": documents[name], "bytes": size[name]} for name in documents}
        out.metrics = {
            "documents": documents.total(),
            "bytes": size.total(),
            "by_source": sources,
            "rejects": rejected[False],
            "split": rejected[True],
            "reject_examples": list[Json](examples),
        }
    made = f"{documents.total():,} documents, {size.total() / 1e6:.1f} MB → {out.artifact.id}"
    say("collect", made)
    if rejected[False]:
        say("collect", f"{rejected[False]:,} files or lines left out, all of them in {out.artifact.path}/rejects.jsonl")
        for example in examples:
            say("collect", f"  {example}")
    return out.artifact


def _documents(config: Config, report: Callable[[Reject], None]) -> Iterator[Document]:
    if config.starter:
        with progress("collecting the starter data") as bar:
            for number, document in enumerate(starter_documents(config.code_megabytes), start=1):
                if number % 500 == 0:
                    bar.update(number)
                yield document
    for folder in config.folders:
        size = sum(path.stat().st_size for path in source_files(folder) if path.exists())
        with progress(f"collecting {folder}", size) as bar:
            limit = int(config.document_megabytes * 1e6)
            yield from read_folder(
                folder, report, document_bytes=limit, on_file=lambda path: bar.advance(path.stat().st_size)
            )


def _contents(config: Config) -> dict[str, str]:
    """Versions of the starter data, and a digest of each folder's names and bytes."""
    contents = starter_versions() if config.starter else {}
    for folder in config.folders:
        digest = hashlib.blake2b(digest_size=16)
        for path in source_files(folder):
            digest.update(str(path.relative_to(folder)).encode("utf-8", "surrogateescape"))
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, hashlib.blake2b).digest())
            except OSError:
                continue  # named when it is read
        contents[str(folder)] = digest.hexdigest()
    return contents
