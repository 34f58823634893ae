"""evaluate: the same measures for every model of the circle, on text, idioms and questions that none has seen.

How something is measured is the business of `homeroom.evaluation`. The judge is the `judge` artifact, never the reward
model that PPO trained on. Questions, and each model's answers with their grades, are kept, so that a later candidate
is compared without asking the others again.
"""

import json
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from homeroom.data.documents import Document, read_documents
from homeroom.evaluation.answers import answerable
from homeroom.evaluation.likelihood import xz_bits_per_byte
from homeroom.evaluation.suite import Measured, Suite
from homeroom.files import write_atomically
from homeroom.inference.request import Sampling
from homeroom.models.checkpoint import load_model
from homeroom.progress import progress, say
from homeroom.settings import Frozen, Json
from homeroom.stages import checkpoints
from homeroom.stages.lookup import unchanged
from homeroom.tasks.base import Question, sample, unseen
from homeroom.tasks.cloze import ClozeItem, Direction, cloze_items
from homeroom.tasks.idioms import meaning_of
from homeroom.tasks.questions import KINDS, MIX, Mix, questions
from homeroom.tasks.split import share
from homeroom.tasks.wording import plain
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

VERSION = 3
QUESTIONS = "questions.jsonl"
ModelStage = Literal["pretrain", "sft", "ppo", "improve"]


class Stored(Protocol):
    """A model's folder and whose it is: an artifact, or a candidate that is none yet."""

    @property
    def id(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def path(self) -> Path: ...


class Config(Frozen):
    """Which stages' models are measured, on how much, and how answers are sampled (as in serving)."""

    stages: tuple[ModelStage, ...] = ("pretrain", "sft", "ppo")
    split: Literal["heldout", "validation"] = Field(
        "heldout", description="validation: for tuning settings, so that what is held out decides only once"
    )
    questions: PositiveInt = Field(480, description="how many are asked")
    mix: Mix = MIX
    text_megabytes: PositiveFloat = Field(0.3, description="text of that split, in its natural mix")
    cloze: Direction = Field("channel", description="what is scored: see homeroom.tasks.cloze")
    cloze_items: PositiveInt = 300
    shots: tuple[NonNegativeInt, ...] = (0, 1, 5)
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: PositiveInt = 64
    xz_megabytes: NonNegativeFloat = Field(
        64.0, description="at most so much training text primes xz, which reads 1 MB/s; 0 leaves that figure out"
    )
    shown: PositiveInt = Field(8, description="questions that the report shows with every model's answer")
    seed: NonNegativeInt = 0


def run(config: Config, workspace: Workspace) -> Artifact:
    cleaned, judge = workspace.latest("clean"), workspace.latest("judge")
    models = [workspace.latest(stage) for stage in config.stages]
    if done := unchanged(workspace, "evaluate", config, [cleaned, judge, *models], VERSION):
        return done
    with workspace.publish("evaluate", config, [cleaned, judge, *models], VERSION) as draft:
        suite = _suite(config, cleaned, judge, draft.id, draft.path / QUESTIONS)
        packed = _Xz(config, cleaned, suite.texts)
        measured = measure(suite, models, draft.path)
        pairs = [(after, before) for before, after in pairwise(measured)]
        comparisons: list[Json] = [
            {
                "model": after.stage,
                "baseline": before.stage,
                "judge": grade,
                "win_rate": after.over(before, grade, config.seed).figures(),
            }
            for after, before in pairs
            for grade in ("judge", "chrf")
        ]
        draft.metrics |= {
            "models": [one.figures() for one in measured],
            "comparisons": comparisons,
            "answers": _shown(suite.questions[: config.shown], measured),
            "questions": len(suite.questions),
            "text_bytes": sum(len(text.encode()) for text in suite.texts),
            **packed.figures(),
        }
    last = measured[-1]
    say(
        "evaluate",
        f"{len(measured)} models; {last.stage}: {last.bits_per_byte['all']:.3f} bits per byte"
        + "".join(f", {a.stage} over {b.stage} {a.over(b, 'judge', config.seed)}" for a, b in pairs)
        + f" → {draft.artifact.id}",
    )
    return draft.artifact


def measure(suite: Suite, models: Sequence[Stored], folder: Path | None = None) -> list[Measured]:
    """Each model by the suite, with a bar. In `folder` the results are kept, and found there after a kill."""
    results = []
    with progress("evaluate", len(models) * sum(suite.work.values())) as bar:
        for artifact in models:
            kept = folder / f"{artifact.id}.json" if folder else None
            if kept and kept.exists():
                results.append(Measured.load(kept))
                bar.advance(sum(suite.work.values()))
                continue
            measured = suite.measure(
                checkpoints.load(artifact) if isinstance(artifact, Artifact) else load_model(artifact.path),
                Tokenizer.load(artifact.path),
                artifact.id,
                artifact.stage,
                lambda what, n, name=artifact.stage: bar.advance(n, model=name, now=what),  # type: ignore[misc]
            )
            results.append(measured)
            if kept:
                measured.save(kept)
    return results


def suite_of(evaluation: Artifact, workspace: Workspace) -> Suite:
    """The suite that an evaluation was made with, to measure another model in the same way."""
    config = Config.model_validate(evaluation.settings)
    cleaned, judge = (workspace.artifacts.get(name) for name in evaluation.inputs[:2])
    return _suite(config, cleaned, judge, evaluation.id, evaluation.path / QUESTIONS)


def measured_by(evaluation: Artifact, model: Artifact, suite: Suite) -> Measured:
    """What is known of a model by this suite; it is measured only if nobody did."""
    for path in (evaluation.path / f"{model.id}.json", model.path / "evaluation.json"):
        if path.exists() and (known := Measured.load(path)).suite == suite.name:
            return known
    return measure(suite, [model])[0]


def evaluation_questions(evaluation: Artifact) -> list[Question]:
    return _read_questions(evaluation.path / QUESTIONS)


def _suite(config: Config, cleaned: Artifact, judge: Artifact, name: str, kept: Path) -> Suite:
    """`kept` is where its questions are, or will be."""
    heldout = list(read_documents(cleaned.path / "documents.parquet", split=config.split))
    judging, tokenizer = checkpoints.load_reward(judge), Tokenizer.load(judge.path)
    if kept.exists():
        asked = _read_questions(kept)
    else:
        train = read_documents(cleaned.path / "documents.parquet", split="train", kinds=KINDS)
        asked = sample(_unseen(heldout, train), config.questions, f"evaluate {config.seed}", config.mix)
        asked = answerable(asked, judging, tokenizer, config.max_tokens)
        rows = "".join(json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in asked)
        write_atomically(kept, rows)
    text = _up_to(config.text_megabytes, heldout)
    return Suite(
        name=name,
        judge=judging,
        tokenizer=tokenizer,
        texts=[document.text for document in text],
        languages=[document.language for document in text],
        questions=asked,
        cloze={shots: _cloze(config, heldout, shots, cleaned) for shots in config.shots},
        sampling=Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens),
        seed=config.seed,
    )


def _cloze(config: Config, heldout: Sequence[Document], shots: int, cleaned: Artifact) -> list[ClozeItem]:
    examples: Iterable[Document] = ()
    if shots:
        examples = read_documents(cleaned.path / "documents.parquet", split="train", kinds=("idiom",))
    return cloze_items(
        heldout, config.cloze, examples=examples, shots=shots, seed=config.seed, count=config.cloze_items
    )


def _unseen(heldout: Sequence[Document], train: Iterable[Document]) -> list[Question]:
    """Held-out questions in words that no training document would be asked in, each once.

    Only what can ask the same is asked of the training side: all of it would take longer than the rest.
    """
    idioms = [document for document in heldout if document.kind == "idiom"]
    meanings, words = set(map(_meaning, idioms)), {document.fields["word"] for document in idioms}
    alike = (d for d in train if d.kind != "idiom" or _meaning(d) in meanings or d.fields["word"] in words)
    once = {plain(question.prompt): question for question in reversed(questions(heldout))}
    return unseen(once.values(), questions(alike))


def _meaning(document: Document) -> str:
    return meaning_of(str(document.fields.get("explanation", "")), str(document.fields.get("word", "")))


def _up_to(megabytes: float, documents: Iterable[Document]) -> list[Document]:
    """Documents in a stable random order, until their size is reached; at least one."""
    kept: list[Document] = []
    size = 0
    for document in sorted(documents, key=lambda document: share(document.id, "held-out text")):
        size += len(document.text.encode())
        if kept and size > megabytes * 1e6:
            break
        kept.append(document)
    return kept


def _read_questions(path: Path) -> list[Question]:
    return [Question(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _shown(asked: Sequence[Question], measured: Sequence[Measured]) -> list[Json]:
    said = {one.stage: {answer.question_id: answer.text for answer in one.answers} for one in measured}
    return [
        {
            "question": question.prompt,
            "reference": question.reference,
            "language": question.language,
            "answers": {stage: answers[question.id] for stage, answers in said.items()},
        }
        for question in asked
    ]


@dataclass
class _Xz:
    """What xz needs for the held-out text. It takes longest of all and holds no lock, so it runs beside the rest."""

    config: Config
    cleaned: Artifact
    texts: Sequence[str]

    def __post_init__(self) -> None:
        self._future: Future[dict[str, Json]] = Future()
        # A daemon, which no pool has: whoever stops the evaluation does not wait for xz.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._future.set_result(self._pack())
        except BaseException as error:
            self._future.set_exception(error)

    def _pack(self) -> dict[str, Json]:
        found: dict[str, Json] = {"xz_bits_per_byte": xz_bits_per_byte(self.texts)}
        if self.config.xz_megabytes:
            train = read_documents(self.cleaned.path / "documents.parquet", split="train")
            primer = [document.text for document in _up_to(self.config.xz_megabytes, train)]
            found["xz_primed_bits_per_byte"] = xz_bits_per_byte(self.texts, primer)
            found["xz_primer_bytes"] = sum(len(text.encode()) for text in primer)
        return found

    def figures(self) -> dict[str, Json]:
        """Waits for it; what went wrong there is raised here."""
        return self._future.result()
