"""Trains in child processes, kills them with SIGKILL at random moments, lets them go on, and looks at the weights.

Run by test_resume.py: `killed_runs.py FOLDER pretrain|ppo SEED`. Prints one JSON object. Forks, because loading torch
takes longer than these runs; the parent itself computes nothing, so that no thread is lost in a fork.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # torch loads it with the first optimizer: once here, not in every child
import torch.nn.functional as F
from torch import Tensor, nn

from homeroom.data.batches import PackedTokens
from homeroom.inference.engine import Engine
from homeroom.models.checkpoint import save_tensors
from homeroom.models.gpt import GPT, Config
from homeroom.models.heads import ActorCritic, RewardModel
from homeroom.training.loop import LoopSettings, RunState, train
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.objectives.policy import PPO
from homeroom.training.optimizers import OptimizerSettings
from homeroom.training.rollouts import Rollouts, RolloutSettings
from homeroom.training.settings import TextSettings

STEPS = {"pretrain": 30, "ppo": 16}
KILLS = 6
Report = Callable[[str, int], None]


class Dropping(GPT):
    """Draws random numbers in its forward, so that a random state that was not restored shows."""

    def hidden(self, *given: Any, **named: Any) -> Tensor:
        return F.dropout(super().hidden(*given, **named), 0.2, self.training)


class Row:
    def __init__(self) -> None:
        self.ids = np.random.default_rng(0).integers(0, 40, 1500)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, count: int) -> Any:
        return self.ids[start : start + count]


def model(kind: type[GPT] = GPT) -> GPT:
    torch.manual_seed(7)
    made = kind(Config(vocab_size=40, max_length=24, layers=1, width=16, heads=2))
    nn.init.normal_(made.head.weight, std=0.3)
    return made


def pretrain(checkpoint: Path | None, report: Report) -> nn.Module:
    policy = model(Dropping)
    source = PackedTokens(Row(), length=16, rows=6, micro_rows=4, seed=3)
    settings = LoopSettings(steps=STEPS["pretrain"], precision="float32", checkpoint_seconds=0)
    run(policy, NextToken(), source, settings, checkpoint, report)
    return policy


def ppo(checkpoint: Path | None, report: Report) -> nn.Module:
    actor = ActorCritic(model())
    judge = RewardModel(model())
    rollouts = Rollouts(
        actor,
        Engine(actor.policy, end_id=1, slots=8),
        model(),
        [[2, 3, n] for n in range(4, 17)],
        judge.score,
        RolloutSettings(iterations=4, episodes=8, max_tokens=8, epochs=2, micro_rows=3, kl_target=0.01),
        seed=5,
    )
    adamw = OptimizerSettings(kind="adamw", learning_rate=1e-3)
    settings = LoopSettings(steps=STEPS["ppo"], precision="float32", checkpoint_seconds=0, optimizer=adamw)
    text = TextSettings(rows=2, length=16)
    source, objective = text.beside(rollouts, PPO(), Row(), seed=4)
    run(actor, objective, source, settings, checkpoint, report)
    return actor


def run(
    module: nn.Module, objective: Any, source: Any, settings: LoopSettings, checkpoint: Path | None, report: Report
) -> None:
    def each_step(state: RunState) -> None:
        report("step", state.step)

    train(
        module,
        objective,
        source,
        settings,
        hooks=[(1, each_step)],
        checkpoint=checkpoint,
        on_start=lambda step: report("start", step),
    )


def child(job: Callable[[], None]) -> tuple[int, int]:
    """Its process id, and where it writes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.dup2(writing, 1)
    try:
        job()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(2)
    os._exit(0)


def life(folder: Path, what: str, name: str, checkpoint: Path | None, chance: random.Random | None) -> tuple[bool, int]:
    """One process, which trains to the end or is killed on the way: (killed, step after which it began)."""

    def job() -> None:
        torch.set_num_threads(1)

        def report(kind: str, step: int) -> None:
            os.write(1, f"{kind} {step}\n".encode())

        trained = {"pretrain": pretrain, "ppo": ppo}[what](checkpoint, report)
        save_tensors(dict(trained.state_dict()), folder / name)

    pid, reading = child(job)
    begun = 0
    # So many steps are let through, and then up to two more steps' time: a kill may come anywhere in a step.
    steps = chance.randint(1, STEPS[what] // 3) if chance else -1
    last, taken = time.monotonic(), 0.01
    with os.fdopen(reading) as lines:
        for line in lines:
            kind, number = line.split()
            if kind == "start":
                begun, last = int(number), time.monotonic()
                continue
            taken, last = time.monotonic() - last, time.monotonic()
            steps -= 1
            if chance and steps == 0:
                time.sleep(chance.uniform(0, 2 * taken))
                os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0, "the child failed"
    return killed, begun


def main(folder: Path, what: str, seed: int) -> None:
    assert life(folder, what, "whole", None, None) == (False, 0)
    chance, kills, starts = random.Random(seed), 0, []
    # On until one has gone on from a checkpoint: kills may all have come before the first.
    while kills < KILLS or not any(starts):
        killed, begun = life(folder, what, "resumed", folder / "checkpoint", chance)
        starts.append(begun)
        if not killed:  # it got to the end before: once more from the beginning
            assert same(folder), f"seed {seed}: the weights differ, starts {starts}"
            (folder / "checkpoint").unlink(missing_ok=True)
        kills += killed
    killed, begun = life(folder, what, "resumed", folder / "checkpoint", None)
    starts.append(begun)
    print(json.dumps({"kills": kills, "starts": starts, "same": same(folder)}))


def same(folder: Path) -> bool:
    return (folder / "whole").read_bytes() == (folder / "resumed").read_bytes()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
