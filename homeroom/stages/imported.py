"""imported: an open model becomes an artifact like those that are trained here, so that it can be served and taught.

`homeroom import` runs it, and then `compress`. It is no step of the circle, which begins with text. Where a model comes
from is `homeroom.models.open_models`' business, reading it that of `models.checkpoint` and `text`.
"""

import hashlib
from pathlib import Path

import torch

from homeroom.files import sha256, walk
from homeroom.models import open_models
from homeroom.models.checkpoint import load_gguf, load_model
from homeroom.models.formats import hugging_face
from homeroom.models.formats.hugging_face import family
from homeroom.models.gpt import GPT
from homeroom.progress import say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import checkpoints
from homeroom.stages.lookup import unchanged
from homeroom.text.gguf_tokenizer import from_gguf
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

VERSION = 2


class Config(Frozen):
    """What was imported, by its contents: a name may come to mean another model."""

    sha256: str
    advice: dict[str, float] | None = None  # how its makers advise to sample, where its files do not say it


def run(source: str, workspace: Workspace) -> Artifact:
    """Register the model that `source` names: a folder, a .gguf file, a hub's name, or one of `open_models.NAMED`.

    Raises ModelNotFound, CheckpointError or TokenizerError, with nothing registered.
    """
    path = open_models.find(source)
    named = open_models.NAMED.get(source)
    config = Config(sha256=_digest(path), advice=dict(named.generation) if named else None)
    if done := unchanged(workspace, "imported", config, (), VERSION):
        return done
    with workspace.publish("imported", config, (), VERSION) as draft:
        model, tokenizer, said = _read(path)
        if tokenizer.vocab_size > model.config.vocab_size:
            raise HomeroomError(
                f"{path}: the tokenizer has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}"
            )
        _refuse_what_is_no_number(model, path)
        checkpoints.save(model, tokenizer.advising(named.generation) if named else tokenizer, draft.path)
        draft.metrics = {
            "source": source,
            "name": named.name if named else said.get("general.name") or _name(source, path),
            "license": said.get("general.license") or (named.license if named else None),
            "family": family(model.config),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "max_length": model.config.max_length,
            "vocab_size": model.config.vocab_size,
            "chat": tokenizer.chat_template is not None,
        }
    say("import", f"{draft.metrics['name']}: {draft.metrics['parameters']:,} parameters → {draft.artifact.id}")
    return draft.artifact


def _refuse_what_is_no_number(model: GPT, path: Path) -> None:
    for name, tensor in hugging_face.export(model.state_dict(), model.config).items():
        if not torch.isfinite(tensor).all():
            wrong = int((~torch.isfinite(tensor)).sum())
            raise HomeroomError(f"{path}: {wrong} of the {tensor.numel()} numbers in {name} are NaN or infinite")


def _name(source: str, path: Path) -> str:
    """A model of the hub lies in a folder that is named after a commit."""
    if not Path(source).expanduser().exists():
        return source.rpartition("/")[2]
    return path.stem if path.is_file() else path.resolve().name


def _read(path: Path) -> tuple[GPT, Tokenizer, dict[str, Json]]:
    if path.is_dir():
        return load_model(path), Tokenizer.load(path), {}
    model, metadata = load_gguf(path)
    said: dict[str, Json] = {key: value for key, value in metadata.items() if isinstance(value, str)}
    return model, from_gguf(metadata), said


def _digest(path: Path) -> str:
    if path.is_file():
        return sha256(path)
    files = [
        f"{name} {sha256(file)}" for name, file in walk(path) if file.suffix in (".safetensors", ".json", ".jinja")
    ]
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()
