"""What evaluate and the stages after it share: the suite of an evaluation, and models measured by it.

How something is measured is the business of `homeroom.evaluation`. Results are kept, so that nothing is measured twice.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from homeroom.data.documents import Document, read_documents
from homeroom.evaluation.answers import answerable
from homeroom.evaluation.heldout import unseen_questions, up_to
from homeroom.evaluation.multiple_choice import read_items
from homeroom.evaluation.suite import Advance, Early, Measured, Suite
from homeroom.files import sha256, write_atomically
from homeroom.inference.request import Sampling
from homeroom.memory import release
from homeroom.models.checkpoint import Stored, load_model
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.precision import Precision, resolve_precision
from homeroom.progress import progress, say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import checkpoints
from homeroom.stages.lookup import ModelStage
from homeroom.tasks.base import Question, sample
from homeroom.tasks.cloze import ClozeItem, Direction, cloze_items
from homeroom.tasks.multiple_choice import Item
from homeroom.tasks.questions import KINDS, MIX, Mix
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

QUESTIONS = "questions.jsonl"


class Measuring(Frozen):
    """An evaluation's settings, which say how any other model is measured like its own."""

    stages: tuple[ModelStage, ...] = ("pretrain", "sft", "ppo")
    split: Literal["heldout", "validation"] = Field(
        "heldout", description="validation: for tuning settings, so that what is held out decides only once"
    )
    questions: PositiveInt = Field(480, description="how many are asked")
    base_questions: PositiveInt = Field(
        300, description="how many of them the pretrained model is asked: it ends none of its answers, which takes long"
    )
    mix: Mix = MIX
    text_megabytes: PositiveFloat = Field(0.3, description="text of that split, in its natural mix")
    cloze: Direction = Field("channel", description="what is scored: see homeroom.tasks.cloze")
    cloze_items: PositiveInt = 300
    shots: tuple[NonNegativeInt, ...] = (0, 1, 5)
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: PositiveInt = 64
    precision: Precision = "auto"
    xz_megabytes: NonNegativeFloat = Field(
        64.0, description="at most so much training text primes xz, which reads 1 MB/s; 0 leaves that figure out"
    )
    shown: PositiveInt = Field(8, description="questions that the report shows with every model's answer")
    seed: NonNegativeInt = 0


def measure(
    suite: Suite,
    models: Mapping[str, Stored],
    folder: Path,
    early: Early | None = None,
    known: Measured | None = None,
) -> list[Measured]:
    """Each stage's model by the suite, with a bar. In `folder` the results are kept, and found there after a kill.

    A candidate that is no artifact yet has no record to be checked by, so artifacts are checked by the caller.
    """
    with progress("evaluate", sum(suite.work(stage) for stage in models)) as bar:

        def one(stage: str, model: Stored) -> Measured:
            return measured_once(
                suite,
                model.id,
                stage,
                folder,
                lambda: (load_model(model.path), Tokenizer.load(model.path), None),
                lambda what, n: bar.advance(n, model=stage, now=what),
                early,
                known,
            )

        return [one(stage, model) for stage, model in models.items()]


def measured_once(
    suite: Suite,
    name: str,
    stage: str,
    folder: Path,
    load: Callable[[], tuple[GPT, Tokenizer, CompiledGPT | None]],
    advance: Advance,
    early: Early | None = None,
    known: Measured | None = None,
) -> Measured:
    """A model by the suite, kept in `folder` under its name and found there after a kill.

    `load` gives the model, its tokenizer, and the form in which it answers where that is another one.
    """
    kept = folder / f"{name}.json"
    if kept.exists():
        advance("found", suite.work(stage))
        return Measured.load(kept)
    release()
    model, tokenizer, answering = load()
    measured = suite.measure(model, tokenizer, name, stage, advance, answering, early, known)
    measured.save(kept)
    return measured


def answers_changed(count: int, suite: Suite, before: Measured, after: Measured) -> list[Json]:
    """Questions whose answers changed, at most so many, with both."""
    prompts = {question.id: question.prompt for question in suite.questions}
    pairs = zip(*after.paired(before), strict=True)
    changed = [(ours, theirs) for ours, theirs in pairs if ours.text != theirs.text]
    return [
        {"question": prompts[ours.question_id], "before": theirs.text, "after": ours.text}
        for ours, theirs in changed[:count]
    ]


def suite_of(evaluation: Artifact, workspace: Workspace) -> Suite:
    """The suite that an evaluation was made with, to measure another model in the same way. Raises Damaged."""
    evaluation.check()
    config = Measuring.model_validate(evaluation.settings)
    # Not measured again: on another day, or another machine, "auto" may come out otherwise.
    config = config.model_copy(update={"precision": measured_in(evaluation)})
    cleaned, judge = (workspace.artifacts.get(name) for name in evaluation.inputs[:2])
    return build_suite(config, cleaned, judge, evaluation.id, evaluation.path / QUESTIONS)


def measured_in(evaluation: Artifact) -> Precision:
    """The number format of an evaluation's products; older ones did not say, and it was float32."""
    return cast(Precision, evaluation.metrics.get("precision", "float32"))


def measured_by(
    evaluation: Artifact, model: Artifact, workspace: Workspace, folder: Path, suite: Suite | None = None
) -> Measured:
    """What is known of a model by an evaluation's suite; what nobody measured is, and kept in `folder`.

    A champion that was promoted early is asked the rest of the questions.

    The suite holds the judge and all held-out text: it is loaded only if it is needed and was not given.
    """
    known = None
    made_of_it = (artifact for artifact in workspace.artifacts.all() if evaluation.id in artifact.inputs)
    for artifact in (evaluation, *made_of_it):
        kept = artifact.path / f"{model.id}.json"
        if kept.exists():
            artifact.check()  # answers that somebody changed would decide who is promoted
            if (known := Measured.load(kept)).whole:
                return known
    model.check()
    return measure(suite or suite_of(evaluation, workspace), {model.stage: model}, folder, known=known)[0]


def evaluation_questions(evaluation: Artifact) -> list[Question]:
    """Raises Damaged: a question that is missing there could be trained on."""
    evaluation.check()
    return _read_questions(evaluation.path / QUESTIONS)


def task_digests(files: Sequence[str]) -> tuple[str, ...]:
    """What task files hold, for a result's identity: a name may come to mean other questions. Raises HomeroomError."""
    if missing := [name for name in files if not Path(name).is_file()]:
        raise HomeroomError(f"tasks: there is no file {missing[0]}; name .jsonl files of multiple-choice questions")
    return tuple(sha256(Path(name)) for name in files)


def task_items(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of each file; lines that are none are told and left out."""
    return {name: read_items(Path(name), lambda reject: say("tasks", str(reject))) for name in files}


def build_suite(config: Measuring, cleaned: Artifact, judge: Artifact, name: str, kept: Path) -> Suite:
    """`kept` is where its questions are, or will be."""
    heldout = list(read_documents(cleaned.path / "documents.parquet", split=config.split))
    judging, tokenizer = checkpoints.load_reward(judge), Tokenizer.load(judge.path)
    if kept.exists():
        asked = _read_questions(kept)
    else:
        train = read_documents(cleaned.path / "documents.parquet", split="train", kinds=KINDS)
        asked = sample(unseen_questions(heldout, train), config.questions, f"evaluate {config.seed}", config.mix)
        asked = answerable(asked, judging.config.max_length, tokenizer, config.max_tokens)
        if not asked:
            raise HomeroomError(
                f"nothing can be measured: none of the {len(heldout)} documents of {cleaned.id} that are "
                f"{config.split} gives an unseen question that leaves room for {config.max_tokens} tokens of answer. "
                f"Collect more idioms, functions or dialogues (rows with messages), raise [clean].{config.split}, or "
                "lower [evaluate].max_tokens."
            )
        rows = "".join(json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in asked)
        write_atomically(kept, rows)
    text = up_to(config.text_megabytes, heldout)
    return Suite(
        name=name,
        judge=judging,
        tokenizer=tokenizer,
        texts=[document.text for document in text],
        languages=[document.language for document in text],
        questions=asked,
        base_questions=config.base_questions,
        # Empty where nobody collected idioms: then that figure is missing, and the others are not.
        cloze={shots: items for shots in config.shots if (items := _cloze(config, heldout, shots, cleaned))},
        sampling=Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens),
        dtype=resolve_precision(config.precision, judging),
        seed=config.seed,
    )


def _cloze(config: Measuring, heldout: Sequence[Document], shots: int, cleaned: Artifact) -> list[ClozeItem]:
    examples: Iterable[Document] = ()
    if shots:
        examples = read_documents(cleaned.path / "documents.parquet", split="train", kinds=("idiom",))
    return cloze_items(
        heldout, config.cloze, examples=examples, shots=shots, seed=config.seed, count=config.cloze_items
    )


def _read_questions(path: Path) -> list[Question]:
    return [Question(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
