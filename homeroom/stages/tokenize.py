"""tokenize: a tokenizer learned from the clean training text, and every split as shards of its token ids.

How is the business of `homeroom.data.encoding` and `homeroom.text.tokenizer`.
"""

from typing import Annotated

from pydantic import Field, PositiveFloat

from homeroom.data.documents import SPLITS, document_count
from homeroom.data.encoding import encode_split, train_tokenizer
from homeroom.progress import progress, say
from homeroom.settings import Frozen, Json
from homeroom.stages.lookup import unchanged
from homeroom.workspace import Artifact, Workspace

VERSION = 2


class Config(Frozen):
    """How large the vocabulary is."""

    vocab_size: Annotated[int, Field(ge=262, description="bytes and special tokens alone are 262")] = 8192
    sample_megabytes: PositiveFloat = Field(6.0, description="training text that the merges are learned from")


def run(config: Config, workspace: Workspace) -> Artifact:
    cleaned = workspace.latest("clean")
    if done := unchanged(workspace, "tokenize", config, [cleaned], VERSION):
        return done
    documents = cleaned.path / "documents.parquet"
    rows = document_count(documents)
    with workspace.publish("tokenize", config, inputs=[cleaned], version=VERSION) as out:
        with progress("learning the tokenizer"):
            tokenizer = train_tokenizer(documents, config.vocab_size, config.sample_megabytes * 1e6)
            tokenizer.save(out.path)
        tokens: dict[str, Json] = {}
        bytes_per_token: dict[str, Json] = {}
        with progress("encoding documents", rows) as bar:
            for split in SPLITS:
                written, by_language = encode_split(documents, split, tokenizer, out.path, bar.advance)
                tokens[split] = written.tokens
                if split == "heldout":
                    bytes_per_token = dict(sorted(by_language.items()))
        out.metrics = {"vocab_size": tokenizer.vocab_size, "tokens": tokens, "bytes_per_token": bytes_per_token}
    figures = ", ".join(f"{language} {value:.2f}" for language, value in bytes_per_token.items())
    say(
        "tokenize",
        f"{tokens['train']:,} training tokens of {tokenizer.vocab_size:,} kinds; bytes per token: {figures} "
        f"→ {out.artifact.id}",
    )
    return out.artifact
