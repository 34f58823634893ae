"""trial: a candidate answers beside the champion, people choose blind, and their votes promote or refuse it.

The trial is a decision in the registry, its votes are blind pairs of the chat. Nothing is kept between them: how it
stands is counted anew from what is stored, so a kill loses nothing, and whoever decides, server or command, decides the
same, once. How votes are counted is `homeroom.evaluation.trial`'s business, showing pairs the server's.
"""

from collections.abc import Mapping
from typing import cast

from homeroom.evaluation.trial import BlindVote, Counted, TrialSettings, count
from homeroom.progress import say
from homeroom.settings import Json
from homeroom.stages.decisions import say_decisions
from homeroom.stages.lookup import find_model
from homeroom.tasks.wording import worded
from homeroom.workspace import Artifact, Ballot, Decision, TrialRefused, Workspace, WorkspaceError

VISITOR = "visitor-"  # who has no account is told apart by a cookie, which anybody may throw away


def begin(workspace: Workspace, name: str, settings: TrialSettings | None = None, *, anyway: bool = False) -> Decision:
    """Put a model on trial. Raises TrialRefused, or HomeroomError for a name that is none.

    `anyway`: also a model that the gate has not measured, or refused for more than its win rate.
    """
    # Not above: `homeroom status` tells how a trial stands, and need not wait for torch.
    from homeroom.stages import compress

    settings = settings or TrialSettings()
    candidate, champion = find_model(workspace, name), workspace.registry.champion()
    candidate.check()
    found = [] if champion == candidate.id else objections(workspace, candidate)
    if found and not anyway:
        raise TrialRefused(
            f"{candidate.id} was not put on trial: {'; '.join(found)}. `--anyway` asks people nevertheless."
        )
    possible = champion not in (None, candidate.id) and workspace.registry.trial() is None
    if possible:
        # Both in one number format, or people would vote on that as well.
        compress.like(str(champion), candidate, workspace)
    verdict: dict[str, Json] = {"settings": settings.model_dump(mode="json"), "despite": list[Json](found)}
    begun = workspace.registry.begin_trial(candidate.id, verdict)
    say("trial", f"{begun.artifact_id} is on trial against {begun.previous_id}")
    return begun


def objections(workspace: Workspace, candidate: Artifact) -> list[str]:
    """Why the gate's last word on it forbids a trial. Its win rate does not: that is what people are asked for."""
    from homeroom.evaluation.gate import QUESTIONS, WIN_RATE

    decided = [one for one in workspace.registry.history() if one.artifact_id == candidate.id and "gate" in one.verdict]
    if not decided:
        return ["no gate has measured it"]
    if decided[-1].kind != "refused":
        return []
    reasons = [str(reason) for reason in cast(list[Json], decided[-1].verdict.get("reasons") or [])]
    return [reason for reason in reasons if not reason.startswith((QUESTIONS, WIN_RATE))]


def standing(workspace: Workspace, trial: Decision) -> Counted:
    """How a trial stands by the votes that are stored."""
    settings = TrialSettings.model_validate(trial.verdict["settings"])
    ballots = workspace.pairs.ballots(trial.id, trial.artifact_id, str(trial.previous_id))
    silent = workspace.standings.people("distrusted")
    return count([_vote(one, trial.artifact_id) for one in ballots if one.user not in silent], settings)


def decide(workspace: Workspace) -> Decision | None:
    """Promote or refuse the candidate on trial, if the votes so far allow it."""
    trial = workspace.registry.trial()
    if trial is None:
        return None
    counted = standing(workspace, trial)
    if counted.test.verdict == "open":
        return None
    reasons = [_told(counted)]
    promoted = counted.test.verdict == "better"
    if promoted:
        try:
            workspace.artifacts.get(trial.artifact_id).check()
        except WorkspaceError as error:
            promoted = False
            reasons.append(str(error))
    return _end(workspace, trial, counted, promoted, reasons)


def stop(workspace: Workspace) -> Decision:
    """End the trial undecided: the champion stays. Raises TrialRefused where there is none."""
    trial = workspace.registry.trial()
    if trial is None:
        raise TrialRefused("no model is on trial. `homeroom trial MODEL` begins one.")
    counted = standing(workspace, trial)
    ended = _end(workspace, trial, counted, False, ["a person stopped the trial", _told(counted)])
    if ended is None:
        raise TrialRefused(f"the trial of {trial.artifact_id} has ended meanwhile. See `homeroom status`.")
    return ended


def _end(
    workspace: Workspace, trial: Decision, counted: Counted, promoted: bool, reasons: list[str]
) -> Decision | None:
    verdict: Mapping[str, Json] = {
        "promoted": promoted,
        "reasons": list[Json](reasons),
        "over": trial.previous_id,
        "trial": trial.id,
        "sequential": counted.figures(),
    }
    ended = workspace.registry.end_trial(trial.id, "promoted" if promoted else "refused", verdict)
    if ended is not None:
        say_decisions("trial", [ended])
    return ended


def _vote(ballot: Ballot, candidate: str) -> BlindVote:
    person = VISITOR if ballot.user.startswith(VISITOR) else ballot.user
    outcome = 0.5 if ballot.preferred is None else float(ballot.preferred == candidate)
    return BlindVote(person, f"{worded(ballot.question)}\n{worded(ballot.before)}", outcome)


def _told(counted: Counted) -> str:
    test = counted.test
    rate = test.interval
    return (
        f"{test.verdict} in blind votes: {rate.mean:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {test.n} by "
        f"{counted.people} {'person' if counted.people == 1 else 'people'}, required: "
        f"{test.confidence:.0%} interval above {test.bar:.0%}"
    )
