"""score: what `homeroom evaluate --tasks FILE` makes, the accuracy of one model on a file of multiple-choice questions.

It is no step of the circle: nothing is decided by it. The file is known by its contents, so that the same questions
are not put to the same model twice, and each question's scores are kept beside the figures. A model and the int8
weights that were made of it are two models here; the figures say which was asked.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from pydantic import NonNegativeInt, PositiveInt

from homeroom.data.reading import Reject
from homeroom.evaluation.multiple_choice import Scored, figures, read_items, score_items
from homeroom.files import sha256
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.precision import dtype_name
from homeroom.progress import progress, say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import checkpoints
from homeroom.stages.lookup import COMPRESSED, MODEL_STAGES, find_model, unchanged
from homeroom.tasks.multiple_choice import Item
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

VERSION = 4
SHOWN = 10  # of the lines that were left out


class Config(Frozen):
    """What was asked and how. Files by their SHA-256: a name may come to mean other questions."""

    tasks: str
    weights: str  # what is multiplied: of int8 weights, that depends on what is installed
    shots: tuple[NonNegativeInt, ...] = (0,)
    examples_from: str | None = None  # none: from the tasks themselves
    limit: PositiveInt | None = None
    seed: NonNegativeInt = 0


def run(
    tasks: Path,
    workspace: Workspace,
    *,
    model: str = "champion",
    compressed: bool = False,
    shots: Sequence[int] = (0,),
    examples_from: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Artifact:
    """Score the model, or its `compressed` weights, on the file's questions with each number of examples.

    Only the first `limit` of the questions are asked.
    """
    digests = _digest(tasks), _digest(examples_from) if examples_from else None
    asked = _asked(workspace, model, compressed)
    scored_by = checkpoints.load_decodable(asked)
    config = Config(
        tasks=digests[0],
        weights=_weights(asked, scored_by),
        shots=tuple(sorted(set(shots))),
        examples_from=digests[1],
        limit=limit,
        seed=seed,
    )
    if done := unchanged(workspace, "score", config, [asked], VERSION):
        return done
    rejects: list[Reject] = []
    items = read_items(tasks, rejects.append)
    pool = read_items(examples_from, rejects.append) if examples_from else items
    with workspace.publish("score", config, [asked], VERSION) as draft:
        _write(draft.path / "rejects.jsonl", [asdict(one) for one in rejects])
        rows = _score(scored_by, asked, tasks.name, items[:limit], pool, config, draft.path / "scores.jsonl")
        draft.metrics = {
            "model": asked.id,
            "weights": config.weights,
            "file": tasks.name,
            "examples_from": examples_from.name if examples_from else None,
            "questions": len(items[:limit]),
            "choices": list[Json](sorted({len(item.choices) for item in items[:limit]})),
            "scores": rows,
            "rejects": len(rejects),
            "reject_examples": [str(one) for one in rejects[:SHOWN]],
        }
    say("score", f"{asked.id} on {tasks.name} → {draft.artifact.id}")
    return draft.artifact


def _digest(path: Path) -> str:
    if path.is_dir():
        raise HomeroomError(f"{path}: is a folder, not a file of questions")
    if not path.is_file():
        raise HomeroomError(f"{path}: there is no such file")
    try:
        return sha256(path)
    except OSError as error:
        raise HomeroomError(f"{path}: cannot be read ({error.strerror or error})") from error


def _asked(workspace: Workspace, name: str, compressed: bool) -> Artifact:
    found = find_model(workspace, name, (*MODEL_STAGES, COMPRESSED))
    if not compressed or found.stage == COMPRESSED:
        return found
    if made := workspace.artifacts.made_of(found.id, COMPRESSED):
        return made
    raise HomeroomError(f"there are no int8 weights of {found.id} yet. Run `homeroom compress {found.id}` first.")


def _weights(asked: Artifact, model: GPT | CompiledGPT) -> str:
    """What was multiplied, in words."""
    if isinstance(model, CompiledGPT):
        return f"int8 weights of {asked.inputs[0]}"
    kind = dtype_name(model.embedding.weight.dtype)
    return f"int8 weights of {asked.inputs[0]}, read as {kind}" if asked.stage == COMPRESSED else f"{kind} weights"


def _score(
    model: GPT | CompiledGPT,
    asked: Artifact,
    name: str,
    items: Sequence[Item],
    pool: Sequence[Item],
    config: Config,
    kept: Path,
) -> list[Json]:
    """The figures with each number of examples; every question's scores are written to `kept`."""
    tokenizer = Tokenizer.load(asked.path)
    found: list[Json] = []
    lines: list[dict[str, Json]] = []
    with progress(name, len(items) * len(config.shots)) as bar:
        for shots in config.shots:
            scored = score_items(
                model,
                tokenizer,
                items,
                shots=shots,
                pool=pool,
                seed=config.seed,
                on_items=lambda n, shots=shots: bar.advance(n, shots=str(shots)),  # type: ignore[misc]
            )
            found.append(figures(scored, shots))
            lines += (_line(one, shots) for one in scored)
    _write(kept, lines)
    return found


def _line(one: Scored, shots: int) -> dict[str, Json]:
    return {
        "id": one.item.id,
        "shots": shots,
        "examples": one.examples,
        "answer": one.item.answer,
        "logprobs": cast(list[Json], list(one.logprobs)),
    }


def _write(path: Path, rows: Sequence[dict[str, Json]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
