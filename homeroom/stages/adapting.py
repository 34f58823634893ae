"""What `teach` trains on one frozen champion: adapters of it, and reward models, of which one judges a round.

Large models learn low-rank adapters beside the shared weights, small ones all of theirs. Which lessons there are and
what becomes of the result is the business of `teach`.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from homeroom.data.batches import Conversation, Groups, RankingBatch
from homeroom.data.rankings import RankedRows, collate
from homeroom.evaluation.comparison import Interval, mean_interval, proportion
from homeroom.evaluation.gate import Line
from homeroom.evaluation.reward_guard import RewardBar, length_bias, pair_figures, reward_lines
from homeroom.files import write_atomically
from homeroom.memory import release
from homeroom.models.adapters import AdapterSettings, adapted, fold, freeze
from homeroom.models.checkpoint import load_model
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.models.precision import dtype_name, products_in, resolve_precision
from homeroom.progress import progress, say
from homeroom.settings import Json, Probability
from homeroom.stages import checkpoints
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import LoopSettings, RunState, train
from homeroom.training.objectives.ranking import PairwiseRanking
from homeroom.training.optimizers import OptimizerKind
from homeroom.training.settings import TrainingSettings
from homeroom.training.teaching import Lessons, contests
from homeroom.workspace import Artifact, Draft

SETTLED = "scratch-settled.json"
Contests = Sequence[tuple[Conversation, Conversation]]
"""The better conversation first."""


class RewardSettings(TrainingSettings):
    """How a model learns which of two answers is better, and what it must show before it may decide or reward."""

    optimizer: OptimizerKind = "adamw"
    learning_rate: PositiveFloat = 8e-4
    warmup: Probability = 0.1
    decay: Probability = 0.5
    epochs: PositiveFloat = 3.0
    pairs_per_step: PositiveInt = 8
    micro_tokens: PositiveInt = Field(384, description="about so many are read at once: memory")
    known: NonNegativeFloat = Field(
        0.01,
        description="after one pass over the pairs, a step with a loss below it is the last: there is no more in them",
    )
    minimum_pairs: PositiveInt = Field(12, description="fewer make no judge")
    minimum_accuracy: Probability = Field(
        0.5, description="on held-out pairs the interval's lower end must lie above it"
    )
    bar: RewardBar | None = Field(None, description="calibration and love of length as well; none: accuracy alone")


@dataclass(frozen=True)
class Base:
    """The champion, frozen, in the number format in which it is multiplied; `dtype` is that of products, `compressed`
    says whether it answers people in int8."""

    model: GPT
    tokenizer: Tokenizer
    artifact: Artifact
    dtype: torch.dtype
    whole: bool
    compressed: bool

    @classmethod
    def of(
        cls, artifact: Artifact, settings: TrainingSettings, whole: bool | None, draft: Draft, *, compressed: bool
    ) -> Self:
        model = checkpoints.load(artifact)
        # A run that goes on must neither measure the machine nor look at the workspace again: another format, another
        # result, and a successor that is compared with what it is not served like.
        settled = draft.path / SETTLED
        if not settled.exists():
            found = dtype_name(resolve_precision(settings.precision, model))
            write_atomically(settled, json.dumps({"precision": found, "compressed": compressed}))
        kept = json.loads(settled.read_text(encoding="utf-8"))
        dtype = getattr(torch, kept["precision"])
        parameters = sum(parameter.numel() for parameter in model.parameters())
        small = parameters < 30e6
        return cls(
            freeze(model, dtype),
            Tokenizer.load(artifact.path),
            artifact,
            dtype,
            small if whole is None else whole,
            kept["compressed"],
        )

    def plain(self) -> GPT:
        """The champion in float32: the base itself, unless its matrices are in another format by now."""
        return self.model if self.dtype == torch.float32 else load_model(self.artifact.path)

    def learner(self, settings: AdapterSettings) -> GPT:
        return checkpoints.load(self.artifact) if self.whole else adapted(self.model, settings)

    def copy_of(self, learned: GPT, settings: AdapterSettings) -> GPT:
        """What was learned so far, to learn on from."""
        twin = self.learner(settings)
        wanted = dict(learned.named_parameters())
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(wanted[name])
        return twin

    def folded(self, learned: GPT) -> GPT:
        """What was learned, in plain float32 weights."""
        if self.whole:
            return learned
        release()  # with the plain weights there will be two whole models
        plain = self.plain()
        return fold(learned, copy.deepcopy(plain) if plain is self.model else plain)

    def contests(self, lessons: Lessons, seed: int) -> Contests:
        # A score stands at the last token, which is read as well.
        return contests(lessons, self.tokenizer, self.model.config.max_length - 1, seed)

    def loop(self, settings: TrainingSettings, steps: int) -> LoopSettings:
        return settings.loop_settings(steps).model_copy(update={"precision": dtype_name(self.dtype)})


@dataclass(frozen=True)
class Qualified:
    """How a reward model does on contests that it never saw, and the lines of its bar, if it has one."""

    accuracy: Interval | None
    above_chance: bool
    contests: int
    lines: tuple[Line, ...] = ()

    @property
    def passed(self) -> bool:
        return self.above_chance and all(line.passed for line in self.lines)

    @property
    def reason(self) -> str:
        """What it failed, or how it did."""
        if self.accuracy is None:
            return "nothing is held out"
        if not self.above_chance:
            return f"no better than a coin: {self.accuracy} of held-out contests"
        return "; ".join(str(line) for line in self.lines if not line.passed) or f"{self.accuracy} of held-out contests"

    def figures(self) -> dict[str, Json]:
        return {
            "accuracy": self.accuracy.figures() if self.accuracy else None,
            "contests": self.contests,
            "qualified": self.passed,
            "reason": self.reason,
            "bar": [line.figures() for line in self.lines],
        }


def told(state: RunState) -> dict[str, str]:
    """What a bar shows of a step."""
    return {name: f"{state.metrics[name]:.3f}" for name in ("loss", "accuracy") if name in state.metrics}


def reward_model(
    settings: RewardSettings, adapters: AdapterSettings, base: Base, learned: Contests, draft: Draft, name: str
) -> RewardModel:
    """One that learned from these contests; `name` is also its checkpoint's, from which it goes on."""
    rows = ranked(learned)
    torch.manual_seed(settings.seed + 1)
    model = RewardModel(base.learner(adapters.model_copy(update={"seed": adapters.seed + 1})))
    per_step = min(settings.pairs_per_step, len(rows))
    of_one = sum(len(ids) for row in rows for ids in row.rows) / len(rows)
    micro = max(1, round(settings.micro_tokens / of_one))
    source: Groups[RankingBatch] = Groups(rows, collate, per_step=per_step, micro=micro, seed=settings.seed)
    steps, once = max(1, round(settings.epochs * len(rows) / per_step)), len(rows) / per_step
    with progress(f"teach ({name})", steps) as bar:

        def each_step(state: RunState) -> None:
            bar.update(state.step, **told(state))
            if state.step >= once and state.metrics["loss"] < settings.known:
                state.stopped = "nothing is left to learn"

        state = train(
            model,
            PairwiseRanking(),
            source,
            base.loop(settings, steps),
            hooks=[(1, each_step)],
            checkpoint=draft.path / f"scratch-{name}.safetensors",
        )
    if state.stopped:
        say("teach", f"{name} ended at step {state.step} of {steps}: {state.stopped}")
    return model


def qualified(
    model: RewardModel, heldout: Contests, learned: Contests, settings: RewardSettings, base: Base
) -> Qualified:
    if not heldout:
        return Qualified(None, False, len(learned))
    with products_in(base.dtype):
        scores = model.score([list(one.token_ids) for both in heldout for one in both], 8).tolist()
    lengths = [float(sum(one.learn)) for both in heldout for one in both]
    asked = [str(list(better.prompt_ids)) for better, _ in heldout]
    margins, longer_by = ([a - b for a, b in zip(of[::2], of[1::2], strict=True)] for of in (scores, lengths))
    accuracy = _of_questions([margin > 0 for margin in margins], asked)
    lines: tuple[Line, ...] = ()
    if settings.bar is not None:
        figures: dict[str, Json] = {
            "accuracy": accuracy.figures(),
            **pair_figures(margins, longer_by, asked),
            # A contest is a question of its own, whose better answer has the more merit.
            **length_bias(scores, [1, 0] * len(heldout), lengths, [one for one in asked for _ in range(2)]),
        }
        lines = reward_lines(figures, settings.bar)
    return Qualified(accuracy, accuracy.low > settings.minimum_accuracy, len(learned), lines)


def _of_questions(right: Sequence[bool], asked: Sequence[str]) -> Interval:
    """The share that is right. Contests about one question share its answers, so whole questions are drawn as well."""
    alone = proportion(right)
    drawn = mean_interval([float(one) for one in right], 0, asked)
    return Interval(alone.mean, min(alone.low, drawn.low), max(alone.high, drawn.high), alone.n)


def ranked(learned: Contests) -> list[RankedRows]:
    return [
        RankedRows([list(better.token_ids), list(worse.token_ids)], [0, 1], better.weight) for better, worse in learned
    ]
