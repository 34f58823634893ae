"""ppo: the SFT model learns to be scored well by the reward model without drifting away from itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, cast

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from homeroom.data.batches import TokenRow
from homeroom.data.documents import read_documents
from homeroom.data.shards import Shards
from homeroom.evaluation.answers import answerable
from homeroom.evaluation.gate import Line
from homeroom.inference.engine import SLOTS, Engine
from homeroom.models.gpt import GPT
from homeroom.models.heads import ActorCritic
from homeroom.models.precision import dtype_name, resolve_precision
from homeroom.progress import progress, say
from homeroom.settings import HomeroomError, Json, Probability
from homeroom.stages import checkpoints
from homeroom.stages.following import SampleFile
from homeroom.stages.lookup import unchanged
from homeroom.stages.watching import Judge, Watch, WatchSettings, judge_of
from homeroom.tasks.base import sample
from homeroom.tasks.questions import MIX, Mix, questions
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import RunState, train
from homeroom.training.objectives.policy import PPO
from homeroom.training.optimizers import OptimizerKind
from homeroom.training.rollouts import PREFIX_TOKENS, Episode, Rollouts, RolloutSettings
from homeroom.training.settings import TextSettings, TrainingSettings
from homeroom.workspace import Artifact, Draft, Workspace, read_log

VERSION = 4
CHECKPOINT_SECONDS = 10.0  # checked often, because only the end of an iteration can be gone on from


class NotQualified(HomeroomError):
    """The reward model is not good enough to be trained against."""


class PolicySettings(TrainingSettings):
    """Sampling and the clipped objective, as in InstructGPT."""

    rollouts: RolloutSettings = RolloutSettings()
    optimizer: OptimizerKind = "adamw"
    learning_rate: PositiveFloat = 1e-4
    decay: Probability = 0.3
    clip: PositiveFloat = Field(0.2, description="how far a token's probability ratio may move in one iteration")
    value_clip: PositiveFloat = 0.2
    value_weight: NonNegativeFloat = 0.1
    text: TextSettings = TextSettings()
    watch: WatchSettings = WatchSettings()


class Config(PolicySettings):
    """What is asked, how answers are sampled and what they are rewarded for."""

    questions: PositiveInt = Field(2000, description="questions that answers are sampled to")
    mix: Mix = MIX
    require_qualified: bool = Field(True, description="refuse a reward model that fails a line of [reward.bar]")


def run(config: Config, workspace: Workspace) -> Artifact:
    """Refuses, with NotQualified, a reward model below its bar; ends at the onset of reward hacking."""
    cleaned, tokenized = workspace.latest("clean"), workspace.latest("tokenize")
    sft, reward = workspace.latest("sft"), workspace.latest("reward")
    judge = workspace.latest("judge") if config.watch.judge_every else None
    inputs = [cleaned, tokenized, sft, reward, *([judge] if judge else [])]
    if done := unchanged(workspace, "ppo", config, inputs, VERSION):
        return done
    if failed := failed_lines(reward):
        if config.require_qualified:
            refuse(reward, failed)
        say("ppo", f"{reward.id} is not qualified, and used all the same: {'; '.join(failed)}")
    tokenizer = Tokenizer.load(sft.path)
    with workspace.publish("ppo", config, inputs, VERSION) as draft:
        looks = None
        if judge is not None:
            looks = judge_of(judge, cleaned, tokenizer, config.watch, config.mix, config.rollouts.max_tokens)
        policy = checkpoints.load(sft)
        policy, figures = by_ppo(
            config,
            policy,
            checkpoints.load(sft),
            _prompts(config, cleaned, policy, tokenizer),
            _scorer(reward),
            tokenizer,
            draft,
            dtype=resolve_precision(config.precision, policy),
            look=looks,
            text=Shards(tokenized.path, "train"),
        )
        checkpoints.save(policy, tokenizer, draft.path)
        draft.metrics |= figures
    made = draft.artifact.metrics
    say(
        "ppo",
        f"reward {made['reward_first']:.2f} → {made['reward_last']:.2f} at {made['kl']:.1f} nats of KL "
        f"→ {draft.artifact.path}",
    )
    return draft.artifact


def by_ppo(
    config: PolicySettings,
    policy: GPT,
    reference: GPT,
    prompts: Sequence[list[int]],
    scorer: Callable[[list[list[int]]], Tensor],
    tokenizer: Tokenizer,
    draft: Draft,
    *,
    dtype: torch.dtype,
    look: Judge | None = None,
    text: TokenRow | None = None,
    section: str = "ppo",
) -> tuple[GPT, dict[str, Json]]:
    """PPO from `policy`, to the end or to where it is stopped: then it has the last good weights back.

    `look` is what an independent judge thinks of a policy, `text` is learned beside, `section` is where the recipe has
    the settings. Returns the policy, which is trained in place, and what the run came to.
    """
    torch.manual_seed(config.seed)
    actor = ActorCritic(policy)
    slots = min(config.rollouts.episodes + (len(look.asks) if look else 0), SLOTS)
    engine = Engine(policy, end_id=tokenizer.end_ids, slots=slots, prefix_tokens=PREFIX_TOKENS)
    rollouts = Rollouts(actor, engine, reference, prompts, scorer, config.rollouts, seed=config.seed, dtype=dtype)
    diary = _Diary(draft, tokenizer, config.rollouts.steps_per_iteration)
    watch = Watch(config.watch, rollouts, tokenizer, draft.path, look, section)
    stage = section.partition(".")[0]
    settings = config.loop_settings(config.rollouts.iterations * diary.steps)
    settings = settings.model_copy(update={"precision": dtype_name(dtype), "checkpoint_seconds": CHECKPOINT_SECONDS})
    with progress("ppo" if stage == "ppo" else f"{stage} (ppo)", settings.steps) as bar:

        def each_iteration(iteration: int, figures: dict[str, float], episodes: list[Episode]) -> None:
            diary.write(iteration, watch.see(iteration, figures, episodes), episodes)
            bar.update(
                iteration * diary.steps,
                reward=f"{figures['reward']:.2f}",
                kl=f"{figures['kl']:.1f}",
                length=f"{figures['length']:.0f}",
            )

        def on_start(step: int) -> None:
            diary.restart(step)
            watch.replay(diary.iterations())

        def each_step(state: RunState) -> None:
            diary.log(state)
            bar.update(state.step)

        rollouts.on_iteration = each_iteration
        source, objective = config.text.beside(
            rollouts, PPO(config.clip, config.value_clip, config.value_weight), text, config.seed
        )
        state = train(
            actor,
            objective,
            source,
            settings,
            hooks=[(1, each_step)],
            checkpoint=draft.path / "scratch-run.safetensors",
            on_start=on_start,
        )
        if rollouts.stopped is None:
            rollouts.measure(rollouts.sample())  # the policy as it ends, on questions of its own
    if rollouts.stopped is not None:
        watch.restore()
        say(stage, rollouts.stopped)
    return policy, _figures(rollouts, state, diary, watch)


def _figures(rollouts: Rollouts, state: RunState, diary: "_Diary", watch: Watch) -> dict[str, Json]:
    settings, figures = rollouts.settings, diary.iterations()
    kept = figures[-1 if watch.last_good is None else watch.last_good]
    return {
        "iterations": rollouts.iteration,
        "episodes": rollouts.iteration * settings.episodes,
        "episodes_per_second": state.step / diary.steps * settings.episodes / state.seconds,
        "steps": state.step,
        "training_seconds": state.seconds,
        "kl": kept["kl"],
        "reward_first": figures[0]["reward"],
        "reward_last": kept["reward"],
        "stopped_early": rollouts.stopped,
        **watch.figures(),
        "samples": diary.file.read(),
    }


def failed_lines(reward: Artifact) -> list[str]:
    """The lines of its bar that a reward model failed. Raises NotQualified where nobody held it against one."""
    if "bar" not in reward.metrics:
        raise NotQualified(f"reward model {reward.id} was made before there was a bar: run `homeroom reward` again.")
    lines = (Line.of(cast(Mapping[str, Json], one)) for one in cast(list[Json], reward.metrics["bar"]))
    return [str(line) for line in lines if not line.passed]


def refuse(reward: Artifact, failed: list[str]) -> NoReturn:
    """Raises NotQualified with every line that failed."""
    raise NotQualified(
        f"reward model {reward.id} is not qualified, so PPO did not start:\n  "
        + "\n  ".join(failed)
        + "\n  See its calibration with `homeroom report`, add rankings, or loosen [reward.bar]; "
        "--set ppo.require_qualified=false trains against it all the same."
    )


def _prompts(config: Config, cleaned: Artifact, policy: GPT, tokenizer: Tokenizer) -> list[list[int]]:
    pool = questions(read_documents(cleaned.path / "documents.parquet", split="train"), "ppo")
    fitting = answerable(pool, policy.config.max_length, tokenizer, config.rollouts.max_tokens)
    chosen = sample(fitting, config.questions, "ppo", config.mix)
    if not chosen:
        raise HomeroomError(
            f"no question of the training documents of {cleaned.id} that serve ppo leaves room for an answer of "
            f"{config.rollouts.max_tokens} tokens in a context of {policy.config.max_length}, so there is nothing to "
            "sample answers to. Collect more idioms, functions or dialogues (rows with messages), lower "
            "[ppo.rollouts].max_tokens, or give weight to more kinds in [ppo].mix."
        )
    return [prompt_ids(question.prompt, tokenizer) for question in chosen]


def _scorer(reward: Artifact) -> Callable[[list[list[int]]], Tensor]:
    """Scores in deviations, with a right answer's mean at zero."""
    model = checkpoints.load_reward(reward)
    mean, deviation = (cast(float, reward.metrics[name]) for name in ("score_mean", "score_deviation"))
    return lambda rows: (model.score(rows) - mean) / deviation


class _Diary:
    """What each iteration of so many steps showed: figures into the curves, a few episodes as samples."""

    def __init__(self, draft: Draft, tokenizer: Tokenizer, steps: int) -> None:
        self.draft, self.tokenizer, self.steps = draft, tokenizer, steps
        self.file = SampleFile(draft.path / "samples.jsonl")

    def restart(self, step: int) -> None:
        self.draft.truncate_log(step)
        self.file.forget_after(step)

    def log(self, state: RunState) -> None:
        """A step's figures."""
        self.draft.log(
            state.step,
            **{name: state.metrics[name] for name in ("entropy", "policy_loss", "value_loss", "step_kl")},
            clip_fraction=state.metrics["clipped"],
        )

    def write(self, iteration: int, figures: dict[str, float], episodes: list[Episode]) -> None:
        # One past the step that these weights come from: a resume from that step makes this iteration again.
        step = iteration * self.steps + 1
        self.draft.log(step, **figures)
        self.file.write(
            {
                "step": step,
                "prompt": self.tokenizer.decode(episode.prompt_ids),
                "text": self.tokenizer.decode(episode.completion.token_ids),
                "reward": round(episode.score, 3),
            }
            for episode in episodes[:: max(1, len(episodes) // 3)][:3]
        )

    def iterations(self) -> list[dict[str, float]]:
        """The figures of every iteration, in order."""
        return [cast(dict[str, float], point) for point in read_log(self.draft.path) if "sampled_entropy" in point]
