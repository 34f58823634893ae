"""reward: a model of which answers are better, learned from rankings and qualified on questions it never saw."""

from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt

from homeroom.data.batches import Groups, RankingBatch
from homeroom.data.rankings import Part, as_rows, collate, read_rankings
from homeroom.evaluation.qualification import qualify, score_rankings, score_scale
from homeroom.evaluation.reward_guard import RewardBar, reward_lines
from homeroom.models.heads import RewardModel
from homeroom.models.precision import products_in
from homeroom.progress import progress, say
from homeroom.settings import HomeroomError
from homeroom.stages import checkpoints
from homeroom.stages.following import shown
from homeroom.stages.lookup import unchanged
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import RunState, train
from homeroom.training.objectives.ranking import PairwiseRanking
from homeroom.training.settings import TrainingSettings
from homeroom.workspace import Artifact, Workspace

VERSION = 4


class Config(TrainingSettings):
    """How the reward model is trained and what it must show before PPO may use it."""

    epochs: PositiveFloat = 1.0
    questions_per_step: PositiveInt = 4
    micro_questions: PositiveInt = 4
    bar: RewardBar = RewardBar()


def run(config: Config, workspace: Workspace) -> Artifact:
    """Train the model that PPO is to be rewarded by, and hold it against its bar: accuracy, calibration, length."""
    return fit("reward", config, workspace)


def fit(stage: Literal["reward", "judge"], config: Config, workspace: Workspace) -> Artifact:
    """A reward model on the rankings set apart for this stage."""
    sft, rankings = workspace.latest("sft"), workspace.latest("rankings")
    if done := unchanged(workspace, stage, config, [sft, rankings], VERSION):
        return done
    _refuse_empty(rankings, stage)
    with workspace.publish(stage, config, [sft, rankings], VERSION) as draft:
        tokenizer = Tokenizer.load(sft.path)
        torch.manual_seed(config.seed)
        model = RewardModel(checkpoints.load(sft))
        rows = [as_rows(r, tokenizer, model.config.max_length) for r in read_rankings(rankings.path, stage)]
        source: Groups[RankingBatch] = Groups(
            rows, collate, per_step=config.questions_per_step, micro=config.micro_questions, seed=config.seed
        )
        steps = max(1, round(config.epochs * len(rows) / config.questions_per_step))
        with progress(stage, steps) as bar:

            def each_step(state: RunState) -> None:
                draft.log(state.step, loss=state.metrics["loss"], accuracy=state.metrics["accuracy"])
                bar.update(state.step, **shown(state), accuracy=f"{state.metrics['accuracy']:.2f}")

            state = train(
                model,
                PairwiseRanking(),
                source,
                config.loop_settings(steps),
                hooks=[(1, each_step)],
                checkpoint=draft.path / "scratch-run.safetensors",
                on_start=draft.truncate_log,
            )
        checkpoints.save(model, tokenizer, draft.path)
        with products_in(state.precision, model.score_head.weight.device.type):
            figures = qualify(score_rankings(model, tokenizer, list(read_rankings(rankings.path, "validation"))))
            scale = score_scale(model, rows[:200])
        lines = reward_lines(figures, config.bar)
        failed = [line for line in lines if not line.passed]
        draft.metrics |= {
            **figures,
            "steps": state.step,
            "questions": len(rows),
            "bar": [line.figures() for line in lines],
            "qualified": not failed,
            **scale,
        }
    say(stage, f"{'; '.join(f'{line.name} {line.measured}' for line in lines)} → {draft.artifact.path}")
    if failed:
        say(stage, f"not qualified: {'; '.join(map(str, failed))}")
    return draft.artifact


def _refuse_empty(rankings: Artifact, stage: Literal["reward", "judge"]) -> None:
    """Raises before anything is trained when there is nothing to train on, or nothing to qualify with."""
    parts: tuple[Part, ...] = (stage, "validation")
    for part in parts:
        if next(read_rankings(rankings.path, part), None) is None:
            raise HomeroomError(
                f"{rankings.id} holds no rankings for {part}, so there is no order of answers to learn and to be "
                "qualified by. Collect more idioms, functions or dialogues (rows with messages), raise "
                "[clean].validation, or lower [rankings].max_tokens: a question and its answer must fit the context."
            )
