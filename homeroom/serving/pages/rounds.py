"""What the page Lessons shows, read from the workspace: rounds of learning, their votes, curves and what was decided.

Slow enough to belong in a thread. How it looks is lessons.py's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from homeroom.drawing.curves import points
from homeroom.settings import Json, rows_at, value_at
from homeroom.workspace import (
    MODEL_STAGES,
    Artifact,
    Decision,
    Forgotten,
    Judgement,
    ModelName,
    Workspace,
    ancestor,
    model_name,
    read_log,
)

STAGES = ("improve", "teach", "promote", "ppo")  # of a round, and of what is promoted without votes
SHOWN = 60  # judgements of a round
SAMPLES = 6
Outcome = Literal["champion", "promoted", "refused", "rolled_back", "on_trial", "none"]
Log = list[dict[str, float | None]]


@dataclass(frozen=True)
class Champion:
    """Who it is and how it came to be; `before` is to whom a rollback goes back."""

    id: str
    name: ModelName
    decision: Decision
    before: str | None


@dataclass(frozen=True)
class Summary:
    """A round in a list of them."""

    id: str
    stage: str
    created: str
    outcome: Outcome


@dataclass(frozen=True)
class Rule:
    """One line of the gate."""

    name: str
    required: str
    measured: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """One decision of the registry, or what a round meant to decide and did not live to (`kind` is None)."""

    kind: str | None
    model: str
    at: str
    by: str | None  # who decided by hand
    reasons: list[str]
    rules: list[Rule]


@dataclass(frozen=True)
class Judge:
    """Who compared the answers, or, of PPO, gave the reward. `id`: its artifact, if it is one of its own."""

    id: str | None
    is_reward: bool
    accuracy: Mapping[str, Json]
    qualified: bool | None


@dataclass(frozen=True)
class Sample:
    """A question and how it was answered: before and after, or at a step of the training."""

    question: str
    before: str | None
    after: str
    step: int | None = None


@dataclass(frozen=True)
class Round:
    """All of one round. `model`: its own, where it made one that can be promoted."""

    summary: Summary
    model: str | None
    inputs: tuple[str, ...]
    verdicts: list[Verdict]
    harvest: str | None
    counts: dict[str, int]
    questions: dict[str, int]
    total: int  # judgements read
    judgements: list[Judgement]
    judge: Judge | None
    method: str
    log: Log
    frontier: list[tuple[float, float]]
    samples: list[Sample]


@dataclass(frozen=True)
class Traced:
    """What was made of the row of this id; `found` is None where there is no such row."""

    name: str
    found: Forgotten | None


@dataclass(frozen=True)
class Lessons:
    champion: Champion | None
    rounds: list[Summary]
    shown: Round | None
    traced: Traced | None


def read(workspace: Workspace, name: str | None = None, traced: str = "") -> Lessons:
    """`name`: the round to show, the newest where it is None or none of them."""
    artifacts = {artifact.id: artifact for artifact in workspace.artifacts.all()}
    history, champion = workspace.registry.history(), workspace.registry.champion()
    made = sorted((one for one in artifacts.values() if one.stage in STAGES), key=lambda one: one.created, reverse=True)
    rounds = [Summary(one.id, one.stage, one.created, _of_round(one, history, champion)) for one in made]
    chosen = next((one for one in rounds if one.id == name), rounds[0] if rounds else None)
    # From an address as well as from a field: what stands last in it.
    asked = traced.strip().rstrip("/").rpartition("/")[2][:200]
    return Lessons(
        _champion(workspace, artifacts, history, champion),
        rounds,
        _round(workspace, chosen, artifacts, history) if chosen else None,
        Traced(asked, workspace.went_into(asked)) if asked else None,
    )


def outcome(model: str, history: Sequence[Decision], champion: str | None) -> Outcome:
    """What became of a model in the end."""
    if model == champion:
        return "champion"
    found: Outcome = "none"
    for one in history:
        if one.kind == "rolled_back":
            found = "promoted" if one.artifact_id == model else "rolled_back" if one.previous_id == model else found
        elif one.artifact_id == model:
            found = one.kind
    return found


def _of_round(artifact: Artifact, history: Sequence[Decision], champion: str | None) -> Outcome:
    """Of a promotion, what became of the last model that it decided on."""
    decided = [str(row.get("model")) for row in rows_at(artifact.metrics, "decisions")]
    model = artifact.id if artifact.stage in MODEL_STAGES else decided[-1] if decided else ""
    return outcome(model, history, champion)


def _champion(
    workspace: Workspace, artifacts: Mapping[str, Artifact], history: Sequence[Decision], champion: str | None
) -> Champion | None:
    if champion is None:
        return None
    artifact = artifacts.get(champion)
    decision = next(one for one in reversed(history) if one.kind in ("promoted", "rolled_back"))
    name = model_name(artifact) if artifact else ModelName(champion)
    return Champion(champion, name, decision, workspace.registry.before())


def _round(
    workspace: Workspace, summary: Summary, artifacts: Mapping[str, Artifact], history: Sequence[Decision]
) -> Round:
    artifact = artifacts[summary.id]
    metrics, log = artifact.metrics, read_log(artifact.path)
    read = (artifacts.get(one) for one in artifact.inputs if _stage(one) == "harvest")
    harvest = next((one for one in read if one is not None), None)
    figures = harvest.metrics if harvest else {}
    total, judgements = workspace.learned_from(harvest, SHOWN) if harvest else (0, [])
    rewards, steps = points(log, "reward"), dict(points(log, "kl"))
    return Round(
        summary=summary,
        model=artifact.id if artifact.stage in MODEL_STAGES else None,
        inputs=artifact.inputs,
        verdicts=_verdicts(artifact, history),
        harvest=harvest.id if harvest else None,
        counts=_counts(figures),
        questions=_counts(_mapping(figures.get("questions"))),
        total=total,
        judgements=judgements,
        judge=_judge(artifact, artifacts),
        method=str(metrics.get("why") or metrics.get("method") or ""),
        log=log,
        frontier=[(steps[step], reward) for step, reward in rewards if step in steps],
        samples=_samples(metrics),
    )


def _stage(artifact_id: str) -> str:
    return artifact_id.rpartition("-")[0]


def _verdicts(artifact: Artifact, history: Sequence[Decision]) -> list[Verdict]:
    """All that was decided in this round or of its model, the newest first."""
    of_it = [
        one
        for one in history
        if artifact.id in (one.verdict.get("decided_by"), one.artifact_id)
        or (one.kind == "rolled_back" and one.previous_id == artifact.id)
    ]
    decided = [Verdict(one.kind, one.artifact_id, one.at, *_said(one.verdict)) for one in reversed(of_it)]
    known = {one.model for one in decided if one.kind != "rolled_back"}
    meant = [row for row in rows_at(artifact.metrics, "decisions") if row.get("model") not in known]
    return decided + [Verdict(None, str(row.get("model")), artifact.created, *_said(row)) for row in meant]


def _said(verdict: Mapping[str, Json]) -> tuple[str | None, list[str], list[Rule]]:
    by, reasons = verdict.get("by") if verdict.get("by_hand") else None, verdict.get("reasons")
    told = [str(reason) for reason in reasons] if isinstance(reasons, list) else []
    rules = [
        Rule(str(row.get("rule")), str(row.get("bar")), str(row.get("value")), row.get("passed") is True)
        for row in rows_at(verdict, "gate")
    ]
    # Who decided by hand is told in the reader's language; and a rule's line says what the reason says.
    shown = told[1:] if by is not None else [reason for reason in told if not _is_rule(reason, rules)]
    return (None if by is None else str(by)), shown, rules


def _is_rule(reason: str, rules: Sequence[Rule]) -> bool:
    return any(reason.startswith(f"{rule.name}: {rule.measured}") for rule in rules)


def _counts(figures: Mapping[str, Json]) -> dict[str, int]:
    return {name: value for name, value in figures.items() if isinstance(value, int) and not isinstance(value, bool)}


def _judge(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> Judge | None:
    own = artifact.metrics.get("judge")
    if isinstance(own, dict):
        return Judge(None, False, _mapping(own.get("accuracy")), own.get("qualified") is True)
    wanted = "reward" if artifact.stage == "ppo" else "judge"
    found = ancestor(artifact, wanted, artifacts.get)
    if found is None:
        return None
    qualified = found.metrics.get("qualified")
    accuracy = _mapping(found.metrics.get("accuracy"))
    return Judge(found.id, wanted == "reward", accuracy, qualified if isinstance(qualified, bool) else None)


def _mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _samples(metrics: Mapping[str, Json]) -> list[Sample]:
    """Answers before and after; of a run that only sampled along the way, the first and the last of these."""
    both = [
        Sample(str(row.get("question", "")), str(row.get("before", "")), str(row.get("after", "")))
        for row in rows_at(metrics, "answers")
        if "before" in row
    ]
    if both:
        return both[:SAMPLES]
    rows = rows_at(metrics, "samples")
    some = rows if len(rows) <= SAMPLES else rows[: SAMPLES // 2] + rows[-(SAMPLES // 2) :]
    return [
        Sample(str(row.get("prompt", "")), None, str(row.get("text", "")), step if isinstance(step, int) else None)
        for row in some
        for step in (value_at(row, "step"),)
    ]
