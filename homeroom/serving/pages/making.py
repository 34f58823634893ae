"""What the pages Data and Runs show, read from the workspace: artifacts and their kin, runs, and drafts as they grow.

All is read from the disk at every look, so that a reload, or a server that was restarted, loses nothing. Slow enough
to belong in a thread.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from homeroom.drawing.lineage import Node
from homeroom.workspace import Artifact, Run, Unfinished, Workspace, growing_log, read_log

RUNS = 100
Log = list[dict[str, float | None]]


@dataclass(frozen=True)
class Stock:
    """All artifacts, the newest first."""

    artifacts: list[Artifact]
    champion: str | None


@dataclass(frozen=True)
class Work:
    """A draft in the work folder, with the run that makes it, if one does."""

    draft: Unfinished
    run: Run | None
    log: Log

    @property
    def seconds(self) -> float:
        """Of all attempts, and of this one as far as it was not written down yet."""
        if self.run is None:
            return self.draft.seconds
        began = datetime.fromisoformat(self.run.started)
        return max(self.draft.seconds, (datetime.now(UTC) - began).total_seconds())


@dataclass(frozen=True)
class Shift:
    """What runs, what was left unfinished, and the newest runs."""

    running: list[Work]
    left: list[Work]
    runs: list[Run]


@dataclass(frozen=True)
class Found:
    """An artifact, or a draft that is to be one, by its id; neither where there is none of this id."""

    name: str
    champion: str | None
    artifact: Artifact | None = None
    work: Work | None = None
    kin: list[Artifact] = field(
        default_factory=list
    )  # itself, what it is made of and what was made of it, at any remove
    log: Log = field(default_factory=list)
    judgements: int = 0

    @property
    def missing(self) -> bool:
        return self.artifact is None and self.work is None


def stock(workspace: Workspace) -> Stock:
    newest = sorted(workspace.artifacts.all(), key=lambda one: one.created, reverse=True)
    return Stock(newest, workspace.registry.champion())


def shift(workspace: Workspace) -> Shift:
    runs = workspace.runs.recent(RUNS)
    works = [_work(draft, runs) for draft in workspace.unfinished()]
    return Shift([one for one in works if one.run], [one for one in works if not one.run], runs)


def find(workspace: Workspace, name: str) -> Found:
    champion = workspace.registry.champion()
    everything = sorted(workspace.artifacts.all(), key=lambda one: one.created)
    artifact = next((one for one in everything if one.id == name), None)
    if artifact is None:
        draft = next((one for one in workspace.unfinished() if one.id == name), None)
        work = _work(draft, workspace.runs.recent(RUNS)) if draft else None
        return Found(name, champion, work=work, log=work.log if work else [])
    judgements, _ = workspace.learned_from(artifact, 0)
    return Found(name, champion, artifact, None, kin(artifact, everything), read_log(artifact.path), judgements)


def kin(artifact: Artifact, everything: list[Artifact]) -> list[Artifact]:
    """In the order of `everything`, where what something is made of comes before it."""
    above = {artifact.id}
    for one in reversed(everything):
        if one.id in above:
            above.update(one.inputs)
    below = {artifact.id}
    for one in everything:
        if below.intersection(one.inputs):
            below.add(one.id)
    return [one for one in everything if one.id in above | below]


def nodes(artifacts: Iterable[Artifact]) -> list[Node]:
    """For the graph; the newest first, as everywhere on these pages."""
    in_order = sorted(artifacts, key=lambda one: one.created, reverse=True)
    return [Node(one.id, one.inputs, f"{one.size / 1e6:,.1f} MB", f"/data/{one.id}") for one in in_order]


def _work(draft: Unfinished, runs: list[Run]) -> Work:
    run = next((one for one in runs if one.artifact_id == draft.id and one.state == "running"), None)
    return Work(draft, run, _log(draft))


def _log(draft: Unfinished) -> Log:
    try:
        return growing_log(draft.path)
    except (OSError, ValueError):  # it was published, or its log replaced, in this very moment
        return []
