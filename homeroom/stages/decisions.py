"""Decisions of the gate: part of the artifact that was made of them first, and enacted after.

So a kill between the two loses none. Who may be promoted is each stage's business.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from homeroom.progress import say
from homeroom.settings import Json
from homeroom.workspace import Artifact, Decision, Workspace

if TYPE_CHECKING:
    from homeroom.evaluation.gate import Verdict
    from homeroom.evaluation.suite import Measured


def decision(
    model: str,
    promoted: bool,
    reasons: Sequence[str],
    over: str | None = None,
    figures: Mapping[str, Json] | None = None,
) -> Json:
    """One line for the registry, to be enacted once the artifact that holds it is published."""
    return {**(figures or {}), "model": model, "promoted": promoted, "reasons": list(reasons), "over": over}


def outcome(
    model: str, verdict: "Verdict", before: "Measured", after: "Measured", objections: Sequence[str], over: str
) -> dict[str, Json]:
    """What a round of learning records: the gate's lines, and its decision, against which any objection stands."""
    promoted, reasons = verdict.accepted and not objections, [*objections, *verdict.reasons]
    return {
        **verdict.figures(),
        "promoted": promoted,
        "reasons": list[Json](reasons),
        "bits_per_byte": after.bits_per_byte["all"],
        "bits_per_byte_before": before.bits_per_byte["all"],
        "evaluation": after.figures(),
        "decisions": [decision(model, promoted, reasons, over, verdict.figures())],
    }


def enact(artifact: Artifact, workspace: Workspace) -> list[Decision]:
    """Write an artifact's decisions into the registry, those that are not there yet."""
    # Not above: a trial only says its decisions, and `homeroom status` tells how it stands without waiting for torch.
    from homeroom.stages import compress

    made = []
    known = {(one.artifact_id, one.verdict.get("decided_by")) for one in workspace.registry.history()}
    for one in cast(list[Json], artifact.metrics["decisions"]):
        verdict = {**cast(Mapping[str, Json], one), "decided_by": artifact.id}
        model = str(verdict["model"])
        if (model, artifact.id) in known:
            continue
        if verdict["promoted"]:
            over = verdict["over"]
            if over is not None:  # before anybody is served by it
                compress.like(str(over), workspace.artifacts.get(model), workspace)
            made.append(workspace.registry.promote(model, verdict, over=None if over is None else str(over)))
        else:
            made.append(workspace.registry.refuse(model, verdict))
    return made


def say_decisions(stage: str, decisions: Iterable[Decision]) -> None:
    for one in decisions:
        say(stage, f"{one.artifact_id} {one.kind}: {'; '.join(map(str, cast(list[Json], one.verdict['reasons'])))}")
