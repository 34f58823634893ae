"""compress: a model's weights in int8, and what that costs, measured on text and kept beside them.

The server answers with the compressed weights of the champion where there are any; the model that was compressed stays
the one that is taught. What int8 means is `homeroom.models.int8`'s business.
"""

from pydantic import Field, PositiveFloat

from homeroom.data.documents import read_documents
from homeroom.data.python_library import PythonLibrary
from homeroom.evaluation.agreement import agreement
from homeroom.evaluation.heldout import library_prose, up_to
from homeroom.evaluation.latency import Latency, compare_latency
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.gpt import GPT
from homeroom.models.int8 import WEIGHTS, Int8Weights
from homeroom.progress import progress, say
from homeroom.settings import Frozen, Json
from homeroom.stages import checkpoints
from homeroom.stages.lookup import COMPRESSED, is_compressed, unchanged
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, MissingArtifact, Workspace

VERSION = 1


class Config(Frozen):
    """On how much text the cost is measured."""

    text_megabytes: PositiveFloat = Field(
        0.015, description="held-out text of this workspace, else the standard library's"
    )


def run(config: Config, workspace: Workspace, model: Artifact) -> Artifact:
    """Compress the language model of an artifact."""
    if done := unchanged(workspace, "compress", config, [model], VERSION):
        return done
    with workspace.publish("compress", config, [model], VERSION) as draft:
        whole, tokenizer = checkpoints.load(model), Tokenizer.load(model.path)
        Int8Weights.of(whole).save(draft.path, checkpoints.special_ids(tokenizer))
        tokenizer.save(draft.path)
        texts, origin = _texts(config, workspace)
        tokens = sum(len(ids) for ids in tokenizer.encode_batch(texts))
        with progress("compress", 2 * tokens) as bar:
            cost = agreement(
                whole,
                decodable(Int8Weights.load(draft.path)),
                tokenizer,
                texts,
                lambda n: bar.advance(n, now="tokens"),
            )
        draft.metrics = {
            "model": model.id,
            "bytes": (draft.path / WEIGHTS).stat().st_size,
            "bits_per_byte": cost.bits_per_byte,
            "int8_bits_per_byte": cost.other_bits_per_byte,
            "ratio": cost.ratio,
            "agreement": cost.same,
            "tokens": cost.tokens,
            "text": origin,
        }
    say(
        "compress",
        f"{cost.bits_per_byte:.4f} → {cost.other_bits_per_byte:.4f} bits per byte, the same next token at "
        f"{cost.same:.1%} of {cost.tokens:,} places → {draft.artifact.id}",
    )
    return draft.artifact


def like(champion: str, model: Artifact, workspace: Workspace) -> None:
    """Compress a model that is to answer beside this champion, or in its place, if that answers compressed."""
    if is_compressed(workspace, champion):
        run(Config(), workspace, model)


def answering(model: GPT, compressed: bool) -> GPT | CompiledGPT:
    """The form in which a model answers people."""
    return decodable(Int8Weights.of(model)) if compressed else model


def latency(model: GPT, champion: Artifact, workspace: Workspace, doubt: float) -> Latency:
    """By how much a model is slower than this champion, both in the form in which that answers."""
    compressed = workspace.artifacts.made_of(champion.id, COMPRESSED)
    theirs = checkpoints.load_decodable(compressed or champion)
    return compare_latency(answering(model, compressed is not None), theirs, doubt=doubt)


def _texts(config: Config, workspace: Workspace) -> tuple[list[str], Json]:
    try:
        cleaned = workspace.latest("clean")
    except MissingArtifact:
        return [document.text for document in library_prose(config.text_megabytes)], PythonLibrary.version()
    heldout = read_documents(cleaned.path / "documents.parquet", split="heldout")
    return [document.text for document in up_to(config.text_megabytes, heldout)], cleaned.id
