"""The policy that PPO makes of a champion in a round of `teach`: what rewards it, what judges it, whose seed is kept.

How PPO goes is `ppo.py`'s business, what the adapters and reward models are `adapting.py`'s.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

from homeroom.data.batches import TokenRow
from homeroom.data.preferences import Pair, Thumb
from homeroom.evaluation.qualification import score_scale
from homeroom.inference.request import Completion, Request, Sampling
from homeroom.memory import release
from homeroom.models.adapters import AdapterSettings
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.models.precision import products_in
from homeroom.progress import say
from homeroom.settings import Json, NothingToLearn
from homeroom.stages.adapting import Base, Contests, RewardSettings, qualified, ranked, reward_model
from homeroom.stages.ppo import NotQualified, PolicySettings, by_ppo
from homeroom.stages.seeds import each_seed, in_order, places_of
from homeroom.stages.watching import Judge
from homeroom.training.pairs import with_prompts
from homeroom.training.teaching import Lessons
from homeroom.workspace import Draft


def by_reward(
    settings: PolicySettings,
    rewarded: RewardSettings,
    adapters: AdapterSettings,
    base: Base,
    lessons: Lessons,
    heldout: Contests,
    start: GPT,
    look: Judge | None,
    draft: Draft,
    seeds: int = 1,
    text: TokenRow | None = None,
) -> tuple[GPT, dict[str, Json]]:
    """A policy that answers what people asked so that a reward model of what they said is pleased (PPO).

    `start` is the policy to begin with and, as it is, the reference; `look` is what an independent judge thinks of one,
    and says which of several seeds' was the best; `text` is learned beside. Raises NotQualified where the reward model
    is no better than a coin or fails its bar, NothingToLearn where no question leaves room for an answer.
    """
    contested = base.contests(lessons, rewarded.seed)
    reward = reward_model(rewarded, adapters, base, contested, draft, "reward")
    shown = qualified(reward, heldout, contested, rewarded, base)
    if not shown.passed:
        raise NotQualified(f"the reward model does not qualify, so PPO did not start: {shown.reason}")
    with products_in(base.dtype):
        scale = score_scale(reward, ranked(contested)[:100])
    mean, deviation = (cast(float, scale[name]) for name in ("score_mean", "score_deviation"))
    prompts = _prompts(lessons, base, settings.rollouts.max_tokens)
    reference = base.copy_of(start, adapters).requires_grad_(False).eval()

    length = min(settings.text.length, base.model.config.max_length)
    settings = settings.model_copy(update={"text": settings.text.model_copy(update={"length": length})})

    def run(policy: GPT, seed: int, place: Draft) -> tuple[GPT, dict[str, Json]]:
        return by_ppo(
            settings.model_copy(update={"seed": settings.seed + seed}),
            policy,
            reference,
            prompts,
            lambda rows: (reward.score(rows, 8) - mean) / deviation,
            base.tokenizer,
            place,
            dtype=base.dtype,
            look=look,
            text=text,
            section="teach.policy",
        )

    if look is None and seeds > 1:
        say("teach", "nothing judges policies ([teach.policy.watch].judge_every is 0): one seed of PPO")
    if look is None or seeds == 1:
        policy, figures = run(start, 0, draft)
    else:
        policy, figures = _best_judged(run, lambda: base.copy_of(reference, adapters), draft, seeds)
    return policy, {"lessons": len(contested), "reward": shown.figures(), **figures}


def _best_judged(
    run: Callable[[GPT, int, Draft], tuple[GPT, dict[str, Json]]], begin: Callable[[], GPT], draft: Draft, seeds: int
) -> tuple[GPT, dict[str, Json]]:
    """The policy whose answers to questions set apart the judge likes best. One is held beside the one that runs.

    All seeds' looks ask the same with the same draws.
    """
    places = places_of(draft, "ppo", seeds)
    told: dict[int, dict[str, Json]] = {}
    best, kept, judged = 0, None, -math.inf
    for number, made in each_seed(seeds, lambda number: run(begin(), number, places[number])):
        figures = made[1]
        told[number] = {name: figures[name] for name in ("judge_last", "reward_last", "kl", "steps", "stopped_early")}
        if kept is None or cast(float, figures["judge_last"]) > judged:
            best, kept, judged = number, made, cast(float, figures["judge_last"])
        del made
        release()
    assert kept is not None
    scores = ", ".join(f"{one['judge_last']:.2f} ({number + 1})" for number, one in told.items())
    say("teach", f"the judge on PPO by seed: {scores}; number {best + 1} is kept")
    draft.take(places[best])
    policy, figures = kept
    return policy, {**figures, "seeds": in_order(told, seeds), "seed": best}


def look_of(judge: RewardModel, settings: PolicySettings, base: Base, lessons: Lessons) -> Judge | None:
    """What the round's judge thinks of a policy's answers to questions set apart for it, always in the same draws."""
    if not settings.watch.judge_every:
        return None
    most = settings.rollouts.max_tokens
    asked = [
        Request(f"look {number}", prompt, Sampling(max_tokens=most, seed=number))
        for number, prompt in enumerate(_prompts(lessons, base, most)[: settings.watch.questions])
    ]

    def score(completions: Sequence[Completion]) -> float:
        rows = [[*one.prompt_ids, *done.token_ids] for one, done in zip(asked, completions, strict=True)]
        return float(judge.score(rows, 8).mean())

    return Judge(asked, score)


def _prompts(lessons: Lessons, base: Base, max_tokens: int) -> list[list[int]]:
    every: list[Thumb | Pair] = [*lessons.thumbs, *lessons.pairs]
    asked = {str(one.messages): one for one in every}
    prompts = [prompt for _, prompt in with_prompts(list(asked.values()), base.tokenizer)]
    fitting = [prompt for prompt in prompts if len(prompt) + max_tokens <= base.model.config.max_length]
    if not fitting:
        raise NothingToLearn(
            f"no question leaves room for an answer of {max_tokens} tokens in a context of "
            f"{base.model.config.max_length}: lower [teach.policy.rollouts].max_tokens"
        )
    return fitting
