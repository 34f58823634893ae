"""Which model is champion, and every decision that led there. Whom to promote is the gate's business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from homeroom.settings import Json, as_json
from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import (
    AlreadyChampion,
    ChampionChanged,
    MissingArtifact,
    NothingToRollBack,
    TrialRefused,
)

Kind = Literal["promoted", "refused", "rolled_back", "on_trial"]


@dataclass(frozen=True)
class Decision:
    """One line of the registry. `artifact_id` is who was decided on, or to whom a rollback went back;
    `previous_id` is who was champion before."""

    id: int
    kind: Kind
    artifact_id: str
    previous_id: str | None
    verdict: dict[str, Json]
    at: str


class Registry:
    """Decisions are only ever added. The champion follows from them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def champion(self) -> str | None:
        with self._database.read() as connection:
            champions = _champions(connection)
        return champions[-1] if champions else None

    def promote(self, artifact_id: str, verdict: Mapping[str, object], over: str | None = None) -> Decision:
        """Make it champion. For the champion this changes nothing, so that a killed promotion can be repeated.

        With `over`, only in the place of this champion, which it was compared with: refused if another came meanwhile.
        """
        with self._database.write() as connection:
            champions = _champions(connection)
            if champions and champions[-1] == artifact_id:
                return next(d for d in reversed(_decisions(connection)) if d.kind in ("promoted", "rolled_back"))
            champion = champions[-1] if champions else None
            if over is not None and champion != over:
                reason = f"it was compared with {over}, but the champion is {champion} now"
                refusal = {**verdict, "promoted": False, "reasons": [reason]}
                return _decide(connection, "refused", artifact_id, champion, refusal)
            return _decide(connection, "promoted", artifact_id, champion, verdict)

    def refuse(self, artifact_id: str, verdict: Mapping[str, object]) -> Decision:
        with self._database.write() as connection:
            champions = _champions(connection)
            return _decide(connection, "refused", artifact_id, champions[-1] if champions else None, verdict)

    def rollback(self, verdict: Mapping[str, object] | None = None, *, of: str | None = None) -> Decision:
        """Restore the champion before this one; again, the one before that.

        With `of`, only while this is the champion: raises ChampionChanged if another came meanwhile.
        """
        with self._database.write() as connection:
            champions = _champions(connection)
            if of is not None and champions[-1:] != [of]:
                raise ChampionChanged(_changed(of, champions))
            if len(champions) < 2:
                now = f"{champions[0]} is the first champion" if champions else "no model was promoted yet"
                raise NothingToRollBack(f"nothing to roll back to: {now}. See `homeroom status`.")
            return _decide(connection, "rolled_back", champions[-2], champions[-1], verdict or {})

    def promote_by_hand(self, artifact_id: str, by: str, reason: str = "", *, over: str | None = None) -> Decision:
        """Make it champion because a person says so, which its verdict tells. The champion itself is refused.

        With `over`, only in the place of this champion: raises ChampionChanged if another came meanwhile.
        """
        with self._database.write() as connection:
            champions = _champions(connection)
            if over is not None and champions[-1:] != [over]:
                raise ChampionChanged(_changed(over, champions))
            if champions[-1:] == [artifact_id]:
                raise AlreadyChampion(f"{artifact_id} is the champion already, so nothing was changed.")
            champion = champions[-1] if champions else None
            verdict = by_hand(by, reason) | {"promoted": True, "model": artifact_id, "over": champion}
            return _decide(connection, "promoted", artifact_id, champion, verdict)

    def before(self) -> str | None:
        """To whom a rollback would go back."""
        with self._database.read() as connection:
            champions = _champions(connection)
        return champions[-2] if len(champions) > 1 else None

    def begin_trial(self, artifact_id: str, settings: Mapping[str, object]) -> Decision:
        """Put a candidate on trial against the champion. Raises TrialRefused."""
        with self._database.write() as connection:
            champions, running = _champions(connection), _trial(connection)
            if not champions:
                raise TrialRefused("there is no champion to be tried against. Run `homeroom promote` first.")
            if champions[-1] == artifact_id:
                raise TrialRefused(f"{artifact_id} is the champion. Name another model: see `homeroom status`.")
            if running is not None:
                raise TrialRefused(
                    f"{running.artifact_id} is on trial since {running.at}. "
                    "Let it end, or end it with `homeroom trial --stop`."
                )
            return _decide(connection, "on_trial", artifact_id, champions[-1], settings)

    def trial(self) -> Decision | None:
        """The trial that is running. Whoever becomes champion ends it, and so does a refusal of its candidate."""
        with self._database.read() as connection:
            return _trial(connection)

    def end_trial(
        self, number: int, kind: Literal["promoted", "refused"], verdict: Mapping[str, object]
    ) -> Decision | None:
        """Decide on the candidate of this trial. None: it has ended, as when another process decided first."""
        with self._database.write() as connection:
            running = _trial(connection)
            if running is None or running.id != number:
                return None
            return _decide(connection, kind, running.artifact_id, running.previous_id, verdict)

    def history(self) -> list[Decision]:
        """All decisions, oldest first."""
        with self._database.read() as connection:
            return _decisions(connection)


def by_hand(by: str, reason: str = "") -> dict[str, Json]:
    """What a verdict says where a person decided and no gate."""
    return {"by_hand": True, "by": by, "reasons": [f"by hand, {by}", *([reason] if reason else [])]}


def _changed(expected: str, champions: Sequence[str]) -> str:
    now = champions[-1] if champions else "none"
    return f"the champion is {now} now and not {expected}, so nothing was changed. Look again, then decide."


def _decisions(connection: Connection) -> list[Decision]:
    rows = connection.execute(select(tables.decisions).order_by(tables.decisions.c.number))
    return [Decision(r.number, r.kind, r.artifact_id, r.previous_id, r.verdict, r.at) for r in rows]


def _champions(connection: Connection) -> list[str]:
    """Those promoted and not rolled back, the present one last."""
    champions: list[str] = []
    for decision in _decisions(connection):
        if decision.kind == "promoted":
            champions.append(decision.artifact_id)
        elif decision.kind == "rolled_back":
            champions.pop()
    return champions


def _trial(connection: Connection) -> Decision | None:
    running: Decision | None = None
    for decision in _decisions(connection):
        if decision.kind == "on_trial":
            running = decision
        elif decision.kind != "refused" or (running is not None and decision.artifact_id == running.artifact_id):
            running = None
    return running


def _decide(
    connection: Connection, kind: Kind, artifact_id: str, previous_id: str | None, verdict: Mapping[str, object]
) -> Decision:
    artifacts = tables.artifacts.c
    if connection.execute(select(artifacts.id).where(artifacts.id == artifact_id)).one_or_none() is None:
        raise MissingArtifact(f"model {artifact_id} is not in this workspace. See `homeroom status`.")
    row: dict[str, Any] = {
        "kind": kind,
        "artifact_id": artifact_id,
        "previous_id": previous_id,
        "verdict": {key: as_json(value) for key, value in verdict.items()},
        "at": tables.now(),
    }
    return Decision(id=tables.insert_numbered(connection, tables.decisions, row), **row)
