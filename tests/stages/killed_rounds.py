"""Watches over a tiny model in child processes, kills three in mid-round with SIGKILL, and looks who is champion.

Run by test_watch.py: `killed_rounds.py FOLDER`. Prints one JSON object. Forks, because loading torch takes longer than
a round; the parent itself computes nothing, so that no thread is lost in a fork.
"""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # torch loads it with the first optimizer: once here, not in every child

from homeroom.data.python_library import PythonLibrary
from homeroom.evaluation import heldout
from homeroom.evaluation.gate import Bar
from homeroom.evaluation.suite import Measured
from homeroom.models.gpt import GPT, Config
from homeroom.stages import checkpoints, harvest, imported, teach, watch
from homeroom.stages.adapting import RewardSettings
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Draft, Workspace
from homeroom.workspace.artifacts import ArtifactStore

# A gate and a judge that let everything pass: what is looked at is when, not whether.
TEACH = teach.Config(
    learning_rate=1e-3, epochs=1, answers_per_step=4, max_tokens=4, text_megabytes=0.0005, precision="float32",
    whole=True, questions=6,
    gate=Bar(questions=1, win_rate=0, bits_per_byte_worse=9, rude_by_chance=0, latency_worse=9),
    judge=RewardSettings(minimum_accuracy=0, minimum_pairs=4, epochs=1), minimum_lessons=10,
)  # fmt: skip


# All of the library takes each child seconds to read; this is as much prose as is measured on here.
heldout.PythonLibrary = partial(PythonLibrary, Path(json.__file__).parent)  # type: ignore[misc,assignment]


def prepare(folder: Path) -> None:
    tokenizer = Tokenizer.train(["which number is it that this is about"] * 3, 300)
    torch.manual_seed(0)
    model = GPT(Config(vocab_size=tokenizer.vocab_size, max_length=96, layers=1, width=16, heads=2))
    torch.nn.init.normal_(model.head.weight, std=0.3)
    with Workspace.open(folder) as workspace:
        with workspace.publish("imported", imported.Config(sha256="0" * 64)) as draft:
            checkpoints.save(model, tokenizer, draft.path)
        workspace.registry.promote(draft.artifact.id, {"reasons": []})
        lines = [
            {"prompt": f"number {n * 7919}?", "chosen": "this is it", "rejected": "it is about that"} for n in range(60)
        ]
        (folder / "votes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert workspace.import_feedback(folder / "votes.jsonl").added == 60


def round_of(folder: Path) -> None:
    torch.set_num_threads(1)
    with Workspace.open(folder) as workspace, workspace.only_watcher():
        watch.run(
            watch.Config(votes=50, poll_seconds=0.01),
            workspace,
            harvest=lambda: harvest.run(harvest.Config(judge=0.3, deciding=0.3), workspace),
            learn=lambda: teach.run(TEACH, workspace),
            rounds=1,
        )


def child(job: Callable[[Path], None], folder: Path, until: Callable[[], None] = lambda: None) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        until()
        job(folder)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(2)
    os._exit(0)


def killed_after(room: type, name: str, count: int) -> None:
    """Let this process die by SIGKILL when it has called a method so many times: whatever the machine's speed."""
    method, calls = getattr(room, name), itertools.count(1)

    def counted(*given: object, **named: object) -> object:
        made = method(*given, **named)
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    setattr(room, name, counted)


def life(folder: Path, until: Callable[[], None] = lambda: None) -> tuple[bool, set[str]]:
    """A watcher until it ends or dies; and whoever was champion meanwhile."""
    pid, champions = child(round_of, folder, until), set[str]()
    with Workspace.open(folder) as workspace:
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            found = workspace.champion()  # raises where its files are not all there
            assert found is not None
            champions.add(found.id)
            if done:
                assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
                return os.WIFSIGNALED(status), champions
            time.sleep(0.01)


def main(folder: Path) -> None:
    pid = child(prepare, folder)
    assert os.waitpid(pid, 0)[1] == 0
    in_training = partial(killed_after, Draft, "log", 3)
    measured = partial(killed_after, Measured, "save", 1)
    published = partial(killed_after, ArtifactStore, "record", 1)  # and nobody promoted yet
    lives = [life(folder, in_training), life(folder, measured), life(folder, published), life(folder)]
    with Workspace.open(folder) as workspace:
        made = [one.id for one in workspace.artifacts.all() if one.stage in ("harvest", "teach")]
        runs = [run.state for run in workspace.runs.recent() if run.stage == "teach"]
        champion = workspace.registry.champion()
    print(
        json.dumps(
            {
                "killed": [killed for killed, _ in lives],
                "champions": [sorted(champions) for _, champions in lives],
                "champion": champion,
                "made": made,
                "runs": runs,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
