import json
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from homeroom import cli
from homeroom.settings import Frozen, HomeroomError, NothingToLearn
from homeroom.stages import watch
from homeroom.workspace import Workspace, WorkspaceBusy, WorkspaceError
from homeroom.workspace.database import Database
from homeroom.workspace.deletion import SOURCES

KILLED_ROUNDS = Path(__file__).with_name("killed_rounds.py")
CONFIG = watch.Config(votes=3, poll_seconds=1.0)


class Made(Frozen):
    by: int = 0


class Enough(Exception):
    """Ends a test's watching."""


class Rounds:
    """A workspace with a champion, votes that come in while the watcher waits, and rounds of no training."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.told = workspace, list[str]()
        with workspace.publish("imported", Made()) as draft:
            pass
        workspace.registry.promote(draft.artifact.id, {"reasons": []})
        self.votes = 0

    def vote(self, count: int) -> None:
        for _ in range(count):
            self.votes += 1
            said = [{"role": "user", "content": f"{self.votes}?"}]
            item = self.workspace.queue.add_item(said, ["a", "b"])
            self.workspace.feedback.vote(item.answer_ids[0], 1)

    def harvest(self) -> None:
        self.told.append("harvest")
        with self.workspace.publish("harvest", Made(by=self.votes)) as draft:
            rows = ({"vote_id": one.vote_id, "edit_id": None} for one in self.workspace.feedback.votes())
            (draft.path / SOURCES).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def learn(self) -> None:
        self.told.append("learn")
        with self.workspace.publish("teach", Made(by=self.votes), [self.workspace.latest("harvest")]) as draft:
            pass
        self.workspace.registry.refuse(draft.artifact.id, {"decided_by": draft.artifact.id, "reasons": ["worse"]})

    def run(self, *coming: int, learn=None, harvest=None) -> list[str]:
        """So many votes come in each time that it waits; what it did until they are out."""
        waiting = iter(coming)

        def wait(seconds: float) -> None:
            assert seconds == 1.0
            self.told.append("wait")
            count = next(waiting, None)
            if count is None:
                raise Enough
            self.vote(count)

        self.told.clear()
        with pytest.raises(Enough):
            watch.run(CONFIG, self.workspace, harvest=harvest or self.harvest, learn=learn or self.learn, wait=wait)
        return self.told


@pytest.fixture
def rounds(tmp_path):
    with Workspace.open(tmp_path / "w") as workspace:
        yield Rounds(workspace)


def test_a_round_begins_when_enough_is_new_and_a_refusal_waits_for_more(rounds, capsys):
    assert rounds.run(1, 1, 1, 0, 2, 2) == [
        "wait", "wait", "wait", "harvest", "learn", "wait", "wait", "wait", "harvest", "learn", "wait",
    ]  # fmt: skip
    told = capsys.readouterr().err
    assert "waits for 3 more: 0 of 3 judgements so far" in told
    assert "waits for 1 more: 2 of 3 judgements since harvest-" in told
    assert rounds.run(0) == ["wait", "wait"]  # another watcher knows what was read


def test_too_little_to_learn_from_waits_for_votes_and_a_new_watcher_tries_once(rounds):
    def nothing():
        rounds.told.append("nothing")
        raise NothingToLearn("too few lessons")

    assert rounds.run(3, 0, 2, learn=nothing) == ["wait", "harvest", "nothing", "wait", "wait", "wait"]
    assert rounds.run(1, learn=nothing) == ["nothing", "wait", "harvest", "nothing", "wait"]


def test_a_round_without_a_harvest_does_not_spin(rounds):
    def fails():
        rounds.told.append("fails")
        raise HomeroomError("the disk is full")

    assert rounds.run(3, 0, 2, 1, harvest=fails) == ["wait", "fails", "wait", "wait", "wait", "fails", "wait"]


def test_a_database_that_does_not_answer_is_waited_for_and_that_is_said_once(rounds, monkeypatch, capsys):
    read, down = Database.read, []

    @contextmanager
    def answer(database):
        if down:
            raise WorkspaceError("the database is starting up")
        with read(database) as connection:
            yield connection

    def up():
        down.clear()
        rounds.vote(3)

    def enough():
        raise Enough

    breaks = partial(down.append, True)
    while_it_waits = iter([breaks, list, list, up, breaks, up, enough])
    monkeypatch.setattr(Database, "read", answer)
    steps = {"harvest": rounds.harvest, "learn": rounds.learn, "wait": lambda _: next(while_it_waits)()}
    with pytest.raises(Enough):
        watch.run(CONFIG, rounds.workspace, **steps)
    assert rounds.told == ["harvest", "learn"] * 2
    told = capsys.readouterr().err
    assert told.count("tries again until it can: the database is starting up") == 2
    assert told.count("the workspace answers again") == 2


def test_an_error_that_nobody_thought_of_ends_the_round_and_not_the_watching(rounds, capsys):
    def breaks():
        raise ValueError("request 'asked-1': the prompt has 900 tokens")

    assert rounds.run(3, 0, 3, learn=breaks) == ["wait", "harvest", "wait", "wait", "harvest", "wait"]
    told = capsys.readouterr().err
    assert "nothing came of this round, by a mistake in Homeroom: request 'asked-1': the prompt has" in told
    assert "test_watch.py" in told  # where
    assert "in breaks" in told


def test_what_was_learned_and_not_decided_is_finished_first(rounds):
    rounds.vote(3)
    rounds.harvest()
    assert rounds.run() == ["learn", "wait"]
    assert rounds.run() == ["wait"]


def test_votes_that_were_deleted_since_their_harvest_are_gathered_again(rounds):
    rounds.vote(3)
    rounds.harvest()
    rounds.workspace.feedback.vote(rounds.workspace.feedback.votes()[0].message_id, 0)  # taken back
    rounds.votes += 1  # so that it is another harvest
    assert rounds.run() == ["harvest", "learn", "wait"]


def test_ctrl_c_ends_it_and_errors_of_ours_show(rounds):
    def interrupted():
        raise KeyboardInterrupt

    rounds.vote(3)
    with pytest.raises(KeyboardInterrupt):
        watch.run(CONFIG, rounds.workspace, harvest=rounds.harvest, learn=interrupted)
    assert rounds.run() == ["learn", "wait"]
    rounds.vote(3)
    with pytest.raises(ZeroDivisionError):
        watch.run(CONFIG, rounds.workspace, harvest=lambda: 1 / 0, learn=rounds.learn)


def test_one_watcher_is_enough_and_without_a_champion_there_is_none(rounds, tmp_path):
    with (
        rounds.workspace.only_watcher(),
        Workspace.open(rounds.workspace.path) as other,
        pytest.raises(WorkspaceBusy, match="another `homeroom improve --watch` is at work"),
        other.only_watcher(),
    ):
        pass
    with rounds.workspace.only_watcher():
        refused = CliRunner().invoke(cli.app, ["improve", "--watch", "-w", str(rounds.workspace.path)])
    assert (refused.exit_code, "is at work on" in refused.output) == (1, True)
    with Workspace.open(tmp_path / "empty") as empty, pytest.raises(HomeroomError, match="no champion yet"):
        watch.run(CONFIG, empty, harvest=rounds.harvest, learn=rounds.learn)


def test_killed_twice_in_a_round_it_goes_on_and_no_half_trained_model_is_champion(tmp_path):
    command = [sys.executable, str(KILLED_ROUNDS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["killed"] == [True, True, True, False]
    taught = [name for name in found["made"] if name.startswith("teach")]
    assert len(taught) == len(found["made"]) - 1 == 1, "one harvest and one round, however many lives it took"
    assert found["champion"] == taught[0]
    *before, last = found["champions"]
    assert all(one == [name for name in last if name != taught[0]] for one in before)
    assert found["runs"] == ["killed"] * 3  # the last life had only to promote
