"""watch: rounds of learning without anybody at hand, one whenever enough was said since the last.

What a round is (a harvest, then improve or teach) the caller says. Nothing is remembered here: where things stand
follows from the workspace, so that after a kill at any moment the same call goes on with the round that it was in. The
stages resume by themselves, publish whole or not at all, and only the gate's decision changes who is champion.
"""

import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pydantic import Field, PositiveFloat, PositiveInt

from homeroom.progress import say
from homeroom.settings import Frozen, HomeroomError
from homeroom.stages.harvest import judgements, read_by
from homeroom.stages.lookup import champion
from homeroom.workspace import Artifact, Workspace

LEARNERS = ("improve", "teach")
Step = Callable[[], object]
Found = TypeVar("Found")


class Config(Frozen):
    """When a round begins."""

    votes: PositiveInt = Field(50, description="judgements that the last harvest did not read: so many begin a round")
    poll_seconds: PositiveFloat = Field(30.0, description="how long to wait before looking again")


def run(
    config: Config,
    workspace: Workspace,
    *,
    harvest: Step,
    learn: Step,
    rounds: int | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Begin a round whenever enough is new; go on for ever, or for so many rounds.

    A round that refuses, or has too little to learn from, waits for as many new judgements as any other. While the
    database does not answer, it waits for that.
    """
    champion(workspace)  # without one there is nothing to improve, and that is better said now than in the night
    said, begun = partial(judgements, workspace), 0

    def found(look: Callable[[], Found]) -> Found:
        return _patiently(look, lambda: wait(config.poll_seconds))

    if unfinished := found(partial(_unfinished, workspace)):
        if read_by(unfinished.path) <= found(said):
            say("watch", f"goes on with {unfinished.id}, of which nothing was learned yet")
            _round(learn)
        else:
            say("watch", f"{unfinished.id} holds what was changed or withdrawn since: votes are gathered again")
            _round(harvest, learn)
        begun += 1
    tried: set[str] = set()  # judgements of rounds that did not get to their harvest
    seen: tuple[int, ...] | None = None
    while rounds is None or begun < rounds:
        mark = found(workspace.judged_up_to)
        if mark == seen:
            wait(config.poll_seconds)
            continue
        latest, now = found(partial(_latest_harvest, workspace)), found(said)
        fresh = len(now - tried - (read_by(latest.path) if latest else set()))
        if fresh >= config.votes:
            say("watch", f"{fresh} new judgements: a round begins")
            _round(harvest, learn)
            begun += 1
            tried, seen = now, None
        else:
            of = f"since {latest.id}" if latest else "so far"
            say("watch", f"waits for {config.votes - fresh} more: {fresh} of {config.votes} judgements {of}")
            seen = mark


def _patiently(look: Callable[[], Found], wait: Callable[[], object]) -> Found:
    """What is seen in the workspace, once it can be: its database may start again, or be held by another for long."""
    told = ""
    while True:
        try:
            seen = look()
        except HomeroomError as reason:
            if str(reason) != told:
                told = str(reason)
                say("watch", f"cannot look for votes, and tries again until it can: {reason}")
            wait()
            continue
        if told:
            say("watch", "the workspace answers again")
        return seen


def _round(*steps: Step) -> None:
    try:
        for step in steps:
            step()
    except HomeroomError as reason:  # too little to learn from, a full disk: the next votes are another chance
        say("watch", f"nothing came of this round: {reason}")
    except ValueError as error:  # something in these lessons that nobody thought of, which others may not have
        where = "".join(traceback.format_exception(error))
        say("watch", f"nothing came of this round, by a mistake in Homeroom: {error}\n{where}")


def _unfinished(workspace: Workspace) -> Artifact | None:
    """The latest harvest, if it led to no decision: what was learned of it is missing, or the decision is."""
    latest = _latest_harvest(workspace)
    if latest is None:
        return None
    decided = {one.verdict.get("decided_by") for one in workspace.registry.history()}
    learned = (one for one in workspace.artifacts.all() if one.stage in LEARNERS and latest.id in one.inputs)
    return None if any(one.id in decided for one in learned) else latest


def _latest_harvest(workspace: Workspace) -> Artifact | None:
    return next((one for one in reversed(workspace.artifacts.all()) if one.stage == "harvest"), None)
