"""Episodes per second of PPO, and where the time goes.

    python -m bench.ppo_step [--rounds 3]

The model of `bench.train_throughput` (vocabulary 8192, width 256, 6 layers, 4 heads), 64 episodes of 64 prompt and 64
answer tokens, one epoch, a reward model and a reference of the same size, in the ppo stage's own number format. No
answer ends early: every episode has its 64 + 64 tokens.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from bench.interleaved import median
from bench.train_throughput import HEADS, LAYERS, VOCABULARY, WIDTH
from homeroom.inference.engine import Engine
from homeroom.models.gpt import GPT, Config
from homeroom.models.heads import ActorCritic, RewardModel
from homeroom.models.precision import resolve_precision
from homeroom.stages import ppo
from homeroom.training.loop import LoopSettings, RunState, train
from homeroom.training.objectives.policy import PPO
from homeroom.training.optimizers import OptimizerSettings
from homeroom.training.rollouts import PREFIX_TOKENS, Rollouts, RolloutSettings

EPISODES, PROMPT, ANSWER = 64, 64, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default=ppo.Config().precision, choices=["auto", "float32", "bfloat16"])
    given = parser.parse_args()
    torch.manual_seed(0)
    config = Config(vocab_size=VOCABULARY, max_length=PROMPT + ANSWER, layers=LAYERS, width=WIDTH, heads=HEADS)
    actor, reward = ActorCritic(GPT(config)), RewardModel(GPT(config))
    prompts = torch.randint(1, VOCABULARY, (256, PROMPT)).tolist()
    # An id outside of the vocabulary never comes up, so every answer has its full length.
    engine = Engine(actor.policy, end_id=VOCABULARY, slots=EPISODES, prefix_tokens=PREFIX_TOKENS)
    settings = RolloutSettings(
        iterations=given.rounds + 1, episodes=EPISODES, max_tokens=ANSWER, epochs=1, minibatches=1, kl_stop=1e9
    )
    dtype = resolve_precision(given.precision, actor)
    rollouts = Rollouts(actor, engine, GPT(config), prompts, reward.score, settings, dtype=dtype)
    spent: dict[str, float] = defaultdict(float)
    rollouts.score = _timed(spent, "reward model", reward.score)
    engine.generate = _timed(spent, "sampling", engine.generate)  # type: ignore[method-assign]
    rollouts.measure = _timed(spent, "values, reference, advantages", rollouts.measure)  # type: ignore[method-assign]
    rounds: list[float] = []
    shares: list[dict[str, float]] = []

    def each_step(state: RunState) -> None:
        if state.step > 1:  # the first round warms up
            rounds.append(state.seconds - each_step.before)  # type: ignore[attr-defined]
            known = dict(spent)
            shares.append(known | {"training step": rounds[-1] - sum(known.values())})
            print(f"round {state.step - 1}/{given.rounds}  {rounds[-1]:.3f} s", flush=True)
        each_step.before = state.seconds  # type: ignore[attr-defined]
        spent.clear()

    loop = LoopSettings(
        steps=given.rounds + 1,
        precision=given.precision,
        optimizer=OptimizerSettings(kind="adamw", learning_rate=1e-5),
    )
    train(actor, PPO(), rollouts, loop, hooks=[(1, each_step)])
    seconds = {name: round(median([share[name] for share in shares]), 3) for name in shares[0]}
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{name:<32} {value:6.3f} s")
    rate = round(EPISODES / median(rounds), 2)
    print(json.dumps({"episodes_per_second": rate, "seconds": seconds, "precision": given.precision}))


def _timed(spent: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - started

    return run


if __name__ == "__main__":
    main()
