"""export: a model as files for other programs, a Hugging Face folder or a GGUF file, with the proof that they answer
there as it answers here.

It is no step of the circle: what it publishes is the proof; the files go where they were asked for, whole or not at
all. What is compared is `homeroom.evaluation.portability`'s business, layouts are `homeroom.models`' and
`homeroom.text`'s.
"""

import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from homeroom import __version__
from homeroom.evaluation import in_transformers
from homeroom.evaluation.portability import Mismatch, prove
from homeroom.evaluation.portability_prompts import prompts
from homeroom.files import sha256, sync, walk, write_atomically
from homeroom.models.formats import gguf_file
from homeroom.models.formats.gguf_file import Quantisation
from homeroom.models.gpt import GPT
from homeroom.progress import progress, say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import checkpoints
from homeroom.stages.lookup import COMPRESSED, find_model, unchanged
from homeroom.text.gguf_tokenizer import to_gguf
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

VERSION = 2
PROOF = "homeroom_proof.json"
Format = Literal["hf", "gguf"]
_LIBRARIES = ("transformers", "accelerate", "tokenizers", "safetensors", "gguf", "torch")


class Config(Frozen):
    """What was written, and by what it was read again: another transformers is another proof."""

    format: Format
    type: Quantisation
    files: dict[str, str]  # SHA-256
    libraries: dict[str, str]


@dataclass(frozen=True)
class Exported:
    """What lies in `folder` now. Neither `proof` (an artifact) nor what was `proven` where none was wanted."""

    source: Artifact
    folder: Path
    format: Format
    type: Quantisation
    files: dict[str, int]  # bytes
    talks: bool
    proof: Artifact | None
    proven: dict[str, Any] | None


def run(
    workspace: Workspace,
    to: Path,
    *,
    model: str = "champion",
    format: Format = "hf",
    type: Quantisation | None = None,
    proof: bool = True,
) -> Exported:
    """Write a model into the folder `to`. Raises Mismatch, with nothing left there, where it answers otherwise."""
    type = type or ("F32" if format == "hf" else "F16")
    if format == "hf" and type != "F32":
        raise HomeroomError(f"--type {type} goes with --format gguf; a Hugging Face folder is written in F32")
    to = to.resolve()
    if to.exists() and not to.is_dir():
        raise HomeroomError(f"{to} is a file. Give --to a folder that is not there yet.")
    if to == Path.cwd():  # it would be replaced under whoever stands in it
        raise HomeroomError(f"{to} is the folder that you are in. Give --to a folder that is not there yet.")
    if proof:
        in_transformers.version()
    source = _source(workspace, model)
    network, tokenizer = checkpoints.load(source), Tokenizer.load(source.path)
    with _aside(to) as aside:
        written = _write(workspace, source, network, tokenizer, aside, format, type)
        files = {name: sha256(path) for name, path in walk(aside)}
        sizes = {name: path.stat().st_size for name, path in walk(aside)}
        _refuse_others(to, files)
        made = None
        if proof:
            config = Config(format=format, type=type, files=files, libraries=_libraries())
            made = _proven(workspace, source, config, written, network, tokenizer, to)
            write_atomically(aside / PROOF, (made.path / PROOF).read_bytes())
        else:
            say("export", "no proof was wanted: whether it answers elsewhere as it does here is not known")
        _into_place(aside, to)
    say("export", f"{source.id} → {to}")
    proven = json.loads((made.path / PROOF).read_bytes()) if made else None
    return Exported(source, to, format, type, sizes, tokenizer.chat_template is not None, made, proven)


def _source(workspace: Workspace, name: str) -> Artifact:
    """Raises HomeroomError for a reward model, which has no answers to compare."""
    stage = name.partition("-")[0]
    if stage in ("reward", "judge"):
        raise HomeroomError(
            f"{name} is a reward model, and language models are exported. Its artifact is a Hugging Face folder "
            "already, for AutoModelForSequenceClassification: `homeroom status --json` names its path."
        )
    if stage == COMPRESSED:
        made = [one.id for one in workspace.artifacts.all() if one.stage == stage and one.id.startswith(name)]
        if made:
            # Its own rounding is Homeroom's; other programs round the weights that it was made of in their ways.
            whole = workspace.artifacts.get(workspace.artifacts.get(made[-1]).inputs[0])
            say("export", f"{made[-1]} holds int8 weights of Homeroom's own; what they were made of is exported")
            return whole
    return find_model(workspace, name)


def _write(
    workspace: Workspace,
    source: Artifact,
    model: GPT,
    tokenizer: Tokenizer,
    folder: Path,
    format: Format,
    type: Quantisation,
) -> Path:
    """Returns what is to be proven: the folder, or the one file in it."""
    if format == "hf":
        checkpoints.save(model, tokenizer, folder)
        ends = folder / "generation_config.json"
        if not ends.exists():
            ids = {"bos_token_id": tokenizer.document_id, "pad_token_id": tokenizer.pad_id}
            write_atomically(ends, json.dumps(ids | {"eos_token_id": sorted(tokenizer.end_ids)}, indent=2) + "\n")
        return folder
    path = folder / f"{source.id}-{type}.gguf"
    about = {"general.name": source.id, "general.type": "model"}
    if license := _license(workspace, source):
        about["general.license"] = license
    try:
        metadata = to_gguf(tokenizer, model.config.vocab_size)
        gguf_file.write(path, model.config, model.state_dict(), about | metadata, type)
    except ValueError as error:
        raise HomeroomError(f"{source.id} cannot be written as GGUF: {error}. Keep it as a folder: --format hf") from (
            error
        )
    return path


def _license(workspace: Workspace, artifact: Artifact) -> str | None:
    """As the model says that it was imported from does: what is made of it is under the same."""
    for figures in (artifact.metrics, artifact.settings):
        if isinstance(said := figures.get("license"), str):
            return said
    before = (workspace.artifacts.find(name) for name in artifact.inputs)
    return next((said for one in before if one and (said := _license(workspace, one))), None)


def _libraries() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _proven(
    workspace: Workspace, source: Artifact, config: Config, written: Path, model: GPT, tokenizer: Tokenizer, to: Path
) -> Artifact:
    if done := unchanged(workspace, "export", config, [source], VERSION):
        return done
    with workspace.publish("export", config, [source], VERSION) as draft:
        asked = len(prompts(talks=tokenizer.chat_template is not None))
        with progress("export", asked) as bar:
            try:
                found = prove(
                    written,
                    model,
                    tokenizer,
                    on_prompt=bar.advance,
                    on_phase=lambda what: say("export", f"proof: {what} …"),
                )
            except (Mismatch, in_transformers.CannotLoad) as error:
                raise type(error)(
                    f"{source.id} as {config.format} {config.type} does not answer elsewhere as it does here, so "
                    f"nothing was written to {to}.\n  {error}"
                ) from None
        told: dict[str, Json] = {"homeroom": __version__, "source": source.id, **config.model_dump(mode="json")}
        content = told | found.as_json()
        write_atomically(draft.path / PROOF, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        draft.metrics = {key: value for key, value in content.items() if key not in ("prompts", "files")}
    return draft.artifact


def _refuse_others(to: Path, files: dict[str, str]) -> None:
    """What lies there already is replaced only if it is the same."""
    there = {name: path for name, path in walk(to) if name != PROOF} if to.is_dir() else {}
    if there and {name: sha256(path) for name, path in there.items()} != files:
        raise HomeroomError(f"{to} holds something else ({min(there)} …). Give --to a folder that is not there yet.")


@contextmanager
def _aside(to: Path) -> Iterator[Path]:
    """A folder beside it, so that one rename brings everything into place."""
    aside = to.with_name(f".{to.name}.{os.getpid()}.aside")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
    except OSError as error:
        raise HomeroomError(f"{to} cannot be written ({error.strerror}). Give --to another place.") from error
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _into_place(aside: Path, to: Path) -> None:
    for _, path in walk(aside):
        sync(path)
    sync(aside)
    if to.is_dir() and any(to.iterdir()):  # the same files: the proof alone can be new
        for path in aside.glob(PROOF):
            path.replace(to / PROOF)
        return
    aside.rename(to)
    sync(to.parent)
