"""teach: a champion that came from elsewhere learns from what people said of its answers, and meets the gate.

One round is whole: a judge learns from questions set apart, the champion learns from the others, and both answer
questions that neither has seen. Large models learn low-rank adapters on frozen weights, which are folded in at the end;
small ones all of their weights. Models of the circle, which its evaluation knows, are `improve`'s business.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt

from homeroom.data.batches import Groups, RankingBatch
from homeroom.data.preferences import Pair, Thumb, load_pairs, load_thumbs
from homeroom.data.rankings import RankedRows, collate
from homeroom.evaluation.asking import questions_asked
from homeroom.evaluation.comparison import proportion
from homeroom.evaluation.gate import Bar, gate
from homeroom.evaluation.heldout import library_prose
from homeroom.evaluation.suite import Measured, Suite
from homeroom.files import write_atomically
from homeroom.inference.request import Sampling
from homeroom.models.adapters import AdapterSettings, adapted, fold, freeze
from homeroom.models.checkpoint import load_model
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.models.int8 import Int8Weights
from homeroom.models.precision import dtype_name, products_in, resolve_precision
from homeroom.progress import progress, say
from homeroom.settings import Json, NothingToLearn, Probability
from homeroom.stages import checkpoints, compress
from homeroom.stages.decisions import decision, enact, say_decisions
from homeroom.stages.harvest import PAIRS, THUMBS
from homeroom.stages.lookup import champion, made_before
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import LoopSettings, RunState, train
from homeroom.training.objectives.ranking import PairwiseRanking
from homeroom.training.optimizers import OptimizerKind
from homeroom.training.settings import TrainingSettings
from homeroom.training.teaching import Lessons, Method, TeachingSettings, choose, contests, course
from homeroom.workspace import Artifact, Draft, Workspace

VERSION = 1
SETTLED = "scratch-settled.json"


class JudgeSettings(TrainingSettings):
    """How the judge learns from the questions set apart for it, and what it must show before it may decide."""

    optimizer: OptimizerKind = "adamw"
    learning_rate: PositiveFloat = 2e-4
    warmup: Probability = 0.1
    decay: Probability = 0.5
    epochs: PositiveFloat = 3.0
    pairs_per_step: PositiveInt = 8
    minimum_pairs: PositiveInt = Field(12, description="fewer make no judge")
    minimum_accuracy: Probability = Field(
        0.5, description="on held-out pairs the interval's lower end must lie above it"
    )


class Config(TeachingSettings):
    """How a champion learns from people, and what the result must show."""

    optimizer: OptimizerKind = "adamw"
    learning_rate: PositiveFloat = 2e-4
    warmup: Probability = 0.1
    decay: Probability = 0.5
    adapters: AdapterSettings = AdapterSettings()
    whole: bool | None = Field(None, description="learn all weights; default: of models under 30 million parameters")
    judge: JudgeSettings = JudgeSettings()
    questions: PositiveInt = Field(200, description="at most so many held-out questions decide")
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    max_tokens: PositiveInt = 100
    text_megabytes: PositiveFloat = Field(0.03, description="held-out text, on which bits per byte are measured")
    gate: Bar = Bar(questions=40)
    inverted: bool = Field(False, description="a control: learn the opposite of what people meant; never promoted")
    shown: PositiveInt = 6


@dataclass(frozen=True)
class Base:
    """The champion, frozen, in the number format in which it is multiplied; `dtype` is that of products."""

    model: GPT
    tokenizer: Tokenizer
    artifact: Artifact
    dtype: torch.dtype
    whole: bool

    def learner(self, settings: AdapterSettings) -> GPT:
        return checkpoints.load(self.artifact) if self.whole else adapted(self.model, settings)

    def folded(self, learned: GPT) -> GPT:
        """What was learned, in plain float32 weights."""
        return learned if self.whole else fold(learned, load_model(self.artifact.path))


def run(config: Config, workspace: Workspace) -> Artifact:
    """Teach the champion, and promote what comes of it or refuse it. Raises NothingToLearn."""
    harvest = workspace.latest("harvest")
    if done := made_before(workspace, "teach", config, harvest, VERSION):
        if done.metrics["promoted"]:  # a kill may have come between
            compress.run(compress.Config(text_megabytes=config.text_megabytes), workspace, done)
        enact(done, workspace)
        return done
    before = champion(workspace)
    pairs, thumbs = load_pairs(harvest.path / PAIRS), load_thumbs(harvest.path / THUMBS)
    lessons = Lessons.of(pairs, thumbs, "train")
    method, why = choose(config, lessons)
    say("teach", why)
    with workspace.publish("teach", config, [harvest, before], VERSION) as draft:
        base = _base(config, before, draft)
        judge, judged = _judge(config, base, pairs, thumbs, draft)
        said: list[Thumb | Pair] = [*thumbs, *pairs]
        suite = _suite(config, base, judge, [one for one in said if one.split == "heldout"], draft.id)
        measured_before = _measured(
            suite, base.tokenizer, before.id, "champion", draft, lambda: load_model(before.path)
        )
        meant = lessons.inverted() if config.inverted else lessons
        learned, figures = _learn(config, base, method, meant, draft)
        checkpoints.save(learned, base.tokenizer, draft.path)
        after = _measured(suite, base.tokenizer, draft.id, "teach", draft, lambda: learned)
        verdict = gate(after, measured_before, config.gate)
        reasons = list(verdict.reasons)
        if not judged["qualified"]:
            reasons.insert(0, f"the judge is no better than a coin: {judged['reason']}")
        if config.inverted:
            reasons.insert(0, "the lessons were inverted, as a control")
        promoted = verdict.accepted and bool(judged["qualified"]) and not config.inverted
        draft.metrics |= {
            **verdict.figures(),
            "promoted": promoted,
            "reasons": list[Json](reasons),
            "method": method,
            "why": why,
            "judge": judged,
            **figures,
            "bits_per_byte": after.bits_per_byte["all"],
            "bits_per_byte_before": measured_before.bits_per_byte["all"],
            "evaluation": after.figures(),
            "evaluation_before": measured_before.figures(),
            "answers": _shown(config.shown, suite, measured_before, after),
            "decisions": [decision(draft.id, promoted, reasons, before.id, verdict.figures())],
        }
    if promoted:
        # Before anybody is served by it.
        compress.run(compress.Config(text_megabytes=config.text_megabytes), workspace, draft.artifact)
    say_decisions("teach", enact(draft.artifact, workspace))
    return draft.artifact


def _base(config: Config, artifact: Artifact, draft: Draft) -> Base:
    model = checkpoints.load(artifact)
    # A run that goes on must not measure the machine again: another format, another result.
    settled = draft.path / SETTLED
    if not settled.exists():
        write_atomically(settled, json.dumps({"precision": dtype_name(resolve_precision(config.precision, model))}))
    dtype = getattr(torch, json.loads(settled.read_text(encoding="utf-8"))["precision"])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    whole = config.whole if config.whole is not None else parameters < 30e6
    return Base(freeze(model, dtype), Tokenizer.load(artifact.path), artifact, dtype, whole)


def _judge(
    config: Config, base: Base, pairs: Sequence[Pair], thumbs: Sequence[Thumb], draft: Draft
) -> tuple[RewardModel, dict[str, Json]]:
    """A reward model of what was said of the questions set apart for it, and how it does on the held-out ones."""
    settings = config.judge
    context = base.model.config.max_length - 1  # a score stands at the last token, which is read as well
    learned, heldout = (
        contests(Lessons.of(pairs, thumbs, side), base.tokenizer, context, settings.seed)
        for side in ("judge", "heldout")
    )
    rows = [RankedRows([list(a.token_ids), list(b.token_ids)], [0, 1], a.weight) for a, b in learned]
    if len(rows) < settings.minimum_pairs:
        raise NothingToLearn(
            f"{len(rows)} contests of two answers were set apart for a judge, which needs {settings.minimum_pairs}: "
            "vote on more answers, or write better ones."
        )
    torch.manual_seed(settings.seed + 1)
    model = RewardModel(base.learner(config.adapters.model_copy(update={"seed": config.adapters.seed + 1})))
    per_step = min(settings.pairs_per_step, len(rows))
    source: Groups[RankingBatch] = Groups(rows, collate, per_step=per_step, micro=4, seed=settings.seed)
    steps = max(1, round(settings.epochs * len(rows) / per_step))
    with progress("teach (judge)", steps) as bar:
        train(
            model,
            PairwiseRanking(),
            source,
            _loop(settings, steps, base),
            hooks=[(1, lambda state: bar.update(state.step, **_told(state)))],
            checkpoint=draft.path / "scratch-judge.safetensors",
        )
    with products_in(base.dtype):
        scores = iter(model.score([list(one.token_ids) for both in heldout for one in both], 8).tolist())
    right = [next(scores) > next(scores) for _ in heldout]
    accuracy = proportion(right) if right else None
    qualified = accuracy is not None and accuracy.low > settings.minimum_accuracy
    reason = f"{accuracy} of held-out contests" if accuracy else "nothing is held out"
    return model, {
        "accuracy": accuracy.figures() if accuracy else None,
        "contests": len(rows),
        "qualified": qualified,
        "reason": reason,
    }


def _learn(config: Config, base: Base, method: Method, lessons: Lessons, draft: Draft) -> tuple[GPT, dict[str, Json]]:
    model = base.learner(config.adapters)
    with products_in(base.dtype):
        lesson = course(method, config, lessons, model, base.model, base.tokenizer, base.dtype, config.seed)
    with progress(f"teach ({method})", lesson.steps) as bar:

        def each_step(state: RunState) -> None:
            draft.log(state.step, **{name: value for name, value in state.metrics.items() if name != "learning_rate"})
            bar.update(state.step, **_told(state))

        state = train(
            model,
            lesson.objective,
            lesson.source,
            _loop(config, lesson.steps, base),
            hooks=[(1, each_step)],
            checkpoint=draft.path / "scratch-run.safetensors",
            on_start=draft.truncate_log,
        )
    figures: dict[str, Json] = {"lessons": lesson.lessons, "steps": state.step, "training_seconds": state.seconds}
    return base.folded(model), figures


def _loop(settings: TrainingSettings, steps: int, base: Base) -> LoopSettings:
    return settings.loop_settings(steps).model_copy(update={"precision": dtype_name(base.dtype)})


def _told(state: RunState) -> dict[str, str]:
    return {name: f"{state.metrics[name]:.3f}" for name in ("loss", "accuracy") if name in state.metrics}


def _suite(config: Config, base: Base, judge: RewardModel, heldout: Sequence[Thumb | Pair], name: str) -> Suite:
    asked = questions_asked(heldout, config.questions)
    if not asked:
        raise NothingToLearn("no question that people asked is held out, so that nothing could be measured")
    text = library_prose(config.text_megabytes)
    return Suite(
        name=name,
        judge=judge,
        tokenizer=base.tokenizer,
        texts=[document.text for document in text],
        languages=[document.language for document in text],
        questions=asked,
        cloze={},
        sampling=Sampling(temperature=config.temperature, max_tokens=config.max_tokens),
        dtype=base.dtype,
        seed=config.seed,
    )


def _measured(
    suite: Suite, tokenizer: Tokenizer, name: str, stage: str, draft: Draft, load: Callable[[], GPT]
) -> Measured:
    kept = draft.path / f"{name}.json"
    if kept.exists():
        return Measured.load(kept)
    model = load()
    answering = decodable(Int8Weights.of(model))
    with progress(f"teach (measuring {stage})", suite.work(stage)) as bar:
        measured = suite.measure(
            model,
            tokenizer,
            name,
            stage,
            lambda what, n: bar.advance(n, now=what),
            answering if isinstance(answering, CompiledGPT) else None,
        )
    measured.save(kept)
    return measured


def _shown(count: int, suite: Suite, before: Measured, after: Measured) -> list[Json]:
    """Questions with both answers."""
    prompts = {question.id: question.prompt for question in suite.questions}
    pairs = zip(*after.paired(before), strict=True)
    return [
        {"question": prompts[ours.question_id], "before": theirs.text, "after": ours.text}
        for ours, theirs in list(pairs)[:count]
    ]
