"""improve: the champion learns from what people said, is measured like every model, and meets the gate.

From pairs by DPO; where there are too few, from lone thumbs by KTO or from written answers by SFT. The control learns
from the same votes turned upside down: the gate has to refuse what comes of it. A control is never promoted, whatever
the gate says of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, cast

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from homeroom.data.preferences import PAIRS, THUMBS, Split, load_pairs, load_thumbs
from homeroom.data.shards import Shards
from homeroom.evaluation.gate import Bar, early, gate
from homeroom.evaluation.suite import Measured, Suite
from homeroom.files import write_atomically
from homeroom.models.adapters import freeze
from homeroom.models.gpt import GPT
from homeroom.models.precision import products_for, resolve_precision
from homeroom.progress import progress, say
from homeroom.settings import Json, NothingToLearn, Probability
from homeroom.stages import checkpoints, compress
from homeroom.stages.decisions import enact, outcome, say_decisions
from homeroom.stages.lookup import champion, made_before, made_from
from homeroom.stages.measuring import answers_changed, measure, measured_by, measured_in, suite_of
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import RunState, train
from homeroom.training.objectives.preference import DPO
from homeroom.training.optimizers import OptimizerKind
from homeroom.training.pairs import Rows, by_question, preference_accuracy, preference_pairs, rows_of
from homeroom.training.settings import TextSettings, TrainingSettings
from homeroom.training.teaching import Course, Lessons, LessonSettings, Method, as_rows, choose, course
from homeroom.workspace import Artifact, Draft, Workspace

VERSION = 9


class Config(TrainingSettings):
    """How the champion learns from pairs, and what the result must show."""

    beta: PositiveFloat = Field(0.1, description="DPO's β: smaller lets the model go further from the champion")
    imitation: NonNegativeFloat = Field(0.1, description="weight of the chosen answers' own likelihood")
    epochs: PositiveFloat = 2.0
    questions_per_step: PositiveInt = Field(6, description="with all their pairs, whose answers are read once")
    micro_questions: PositiveInt = 6
    optimizer: OptimizerKind = "adamw"
    learning_rate: PositiveFloat = 1e-4
    warmup: Probability = 0.1
    decay: Probability = 0.5
    text: TextSettings = TextSettings()
    minimum_pairs: PositiveInt = Field(30, description="fewer training pairs teach nothing that could be measured")
    inverted: bool = Field(False, description="a control: learn from the votes turned upside down")
    control: bool = Field(True, description="also train the inverted control and put it before the gate")
    gate: Bar = Bar()
    alone: LessonSettings = Field(
        LessonSettings(learning_rate=1e-4), description="kto or sft, where there are too few pairs"
    )
    shown: PositiveInt = 6


@dataclass(frozen=True)
class Candidate:
    """A model that is no artifact yet."""

    id: str
    path: Path


@dataclass(frozen=True)
class Learned:
    """What came of training on one set of lessons; of pairs, the share of held-out ones that it came to agree with."""

    model: GPT
    lessons: int
    steps: int
    accuracy_heldout: float | None


@dataclass(frozen=True)
class FromPairs:
    """DPO, with what the champion thinks of each side's pairs."""

    config: Config
    sides: Mapping[Split, Sequence[Rows]]
    method: ClassVar[Method] = "dpo"

    def course(self, model: GPT, *, inverted: bool) -> Course:
        config, rows = self.config, self._side("train", inverted)
        asked = by_question(rows)
        source = preference_pairs(
            asked, per_step=config.questions_per_step, micro=config.micro_questions, seed=config.seed
        )
        steps = max(1, round(config.epochs * len(asked) / config.questions_per_step))
        weight = sum(row.chosen.weight for row in rows) * min(config.questions_per_step, len(asked)) / len(asked)
        return Course(source, DPO(config.beta, config.imitation), steps, len(rows), weight)

    def accuracy(self, model: GPT, *, inverted: bool) -> float | None:
        return preference_accuracy(model, self._side("heldout", inverted))

    def _side(self, side: Split, inverted: bool) -> list[Rows]:
        return [row.inverted() if inverted else row for row in self.sides[side]]


@dataclass(frozen=True)
class FromOthers:
    """KTO or SFT, from what stands on its own."""

    config: Config
    method: Method
    lessons: Lessons
    champion: GPT
    tokenizer: Tokenizer

    def course(self, model: GPT, *, inverted: bool) -> Course:
        config = self.config
        meant = self.lessons.inverted() if inverted else self.lessons
        with products_for(config.precision, self.champion):
            rows = as_rows(self.method, meant, self.champion, self.tokenizer)
        dtype = resolve_precision(config.precision, model)
        return course(self.method, config.alone, rows, model, dtype, config.seed)

    def accuracy(self, model: GPT, *, inverted: bool) -> float | None:
        return None


def run(config: Config, workspace: Workspace) -> Artifact:
    harvest = workspace.latest("harvest")
    if done := made_before(workspace, "improve", config, harvest, VERSION):
        enact(done, workspace)
        return done
    before_model, evaluation = champion(workspace), workspace.artifacts.get(harvest.inputs[0])
    tokenizer = Tokenizer.load(before_model.path)
    asked, config = config, _settled(config, evaluation)
    lessons, why = _lessons(config, harvest, before_model, tokenizer)
    say("improve", why)
    with workspace.publish("improve", asked, [harvest, before_model, evaluation], VERSION) as draft:
        suite = suite_of(evaluation, workspace)
        before = measured_by(evaluation, before_model, workspace, draft.path, suite)
        text = Shards(made_from(workspace, before_model, "tokenize").path, "train") if config.text.rows else None
        control = None
        if config.control and not config.inverted:
            control = _control(config, before_model, lessons, text, suite, before, draft)
        learned = _learn(config, before_model, lessons, text, draft, inverted=config.inverted)
        checkpoints.save(learned.model, tokenizer, draft.path)
        after = measure(suite, {"improve": draft}, draft.path, early(before, config.gate))[0]
        latency = compress.latency(learned.model, before_model, workspace, config.gate.doubt)
        verdict = gate(after, before, config.gate, latency)
        objections = ["the votes were inverted, as a control"] if config.inverted else []
        if control is not None and not control["refused"]:
            objections.append("the gate passed the same votes inverted, so it cannot tell what they teach")
        draft.metrics |= {
            **outcome(draft.id, verdict, before, after, objections, before.artifact),
            "method": lessons.method,
            "why": why,
            "lessons": learned.lessons,
            "steps": learned.steps,
            "heldout_accuracy": learned.accuracy_heldout,
            "answers": answers_changed(config.shown, suite, before, after),
        }
        if control is not None:
            draft.metrics["inverted"] = control
    say_decisions("improve", enact(draft.artifact, workspace))
    if control is not None:
        told = "refused" if control["refused"] else "NOT refused"
        say("improve", f"control with inverted votes {told}: {'; '.join(cast(list[str], control['reasons']))}")
    return draft.artifact


def _lessons(
    config: Config, harvest: Artifact, champion: Artifact, tokenizer: Tokenizer
) -> tuple[FromPairs | FromOthers, str]:
    """What there is enough of to learn from, and why it is this. Raises NothingToLearn."""
    model = checkpoints.load(champion)
    pairs, thumbs = load_pairs(harvest.path / PAIRS), []
    if (file := harvest.path / THUMBS).exists():
        thumbs = load_thumbs(file)
    with products_for(config.precision, model):  # as the loop will
        rows: dict[Split, list[Rows]] = {
            side: rows_of([one for one in pairs if one.split == side], tokenizer, model)
            for side in ("train", "heldout")
        }
    lessons = Lessons.of(pairs, thumbs, "train")
    if len(rows["train"]) >= config.minimum_pairs:
        return FromPairs(config, rows), f"dpo: there are {len(rows['train'])} pairs"
    settings = config.alone.model_copy(update={"seed": config.seed})
    try:
        method, why = choose(settings, replace(lessons, pairs=[]))
    except NothingToLearn:
        raise NothingToLearn(
            f"{harvest.id} holds {len(lessons.pairs)} training pairs, of which {len(rows['train'])} fit the "
            f"champion's context of {model.config.max_length} tokens: too few to learn from "
            f"([improve].minimum_pairs is {config.minimum_pairs}); and of {len(lessons.thumbs)} thumbs and "
            f"{len(lessons.written)} written answers it takes {settings.minimum_lessons} "
            "([improve.alone].minimum_lessons). Vote on more answers, then run `homeroom harvest`."
        ) from None
    return FromOthers(config, method, lessons, freeze(model), tokenizer), why


def _control(
    config: Config,
    champion: Artifact,
    lessons: FromPairs | FromOthers,
    text: Shards | None,
    suite: Suite,
    before: Measured,
    draft: Draft,
) -> dict[str, Json]:
    """The same votes inverted. What they made is not kept: nothing but its verdict is of use."""
    kept = draft.path / "scratch-control.json"
    if kept.exists():
        return cast(dict[str, Json], json.loads(kept.read_text(encoding="utf-8")))
    folder = draft.path / "scratch-control"
    folder.mkdir(exist_ok=True)
    learned = _learn(config, champion, lessons, text, draft, inverted=True)
    checkpoints.save(learned.model, Tokenizer.load(champion.path), folder)
    # The gate asks for answers and text only.
    made, ends = Candidate(f"{draft.id}-inverted", folder), early(before, config.gate)
    after = measure(replace(suite, cloze={}), {"improve": made}, folder, ends)[0]
    verdict = gate(after, before, config.gate)
    figures: dict[str, Json] = {
        **verdict.figures(),
        "refused": not verdict.accepted,
        "heldout_accuracy": learned.accuracy_heldout,
    }
    write_atomically(kept, json.dumps(figures, ensure_ascii=False))
    return figures


def _learn(
    config: Config,
    champion: Artifact,
    lessons: FromPairs | FromOthers,
    text: Shards | None,
    draft: Draft,
    *,
    inverted: bool,
) -> Learned:
    """From the champion's weights, or on from where a killed run stood."""
    name = "inverted" if inverted else "votes"
    followed = inverted == config.inverted  # the control beside the real run leaves no curves
    model = checkpoints.load(champion)
    lesson = lessons.course(model, inverted=inverted)
    source, objective = config.text.beside(lesson.source, lesson.objective, text, config.seed)
    with progress(f"improve ({name})", lesson.steps) as bar:

        def each_step(state: RunState) -> None:
            shown = [key for key in ("loss", "accuracy", "margin") if key in state.metrics]
            if followed:
                draft.log(state.step, **{key: state.metrics[key] for key in shown})
            bar.update(state.step, **{key: f"{state.metrics[key]:.3f}" for key in shown})

        state = train(
            model,
            objective,
            source,
            config.loop_settings(lesson.steps),
            hooks=[(1, each_step)],
            checkpoint=draft.path / f"scratch-{name}.safetensors",
            on_start=draft.truncate_log if followed else None,
        )
    with products_for(config.precision, model):
        accuracy = lessons.accuracy(model, inverted=inverted)
    return Learned(model, lesson.lessons, state.step, accuracy)


def _settled(config: Config, evaluation: Artifact) -> Config:
    """With "auto" settled as it was for the evaluation: a resumed run must not measure the machine again."""
    if config.precision != "auto":
        return config
    return config.model_copy(update={"precision": measured_in(evaluation)})
