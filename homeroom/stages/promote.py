"""promote: the evaluated models meet the gate; who passes becomes the champion that is served.

The gate itself is `homeroom.evaluation.gate`, decisions are kept by the workspace's registry. The first champion has
nobody to beat.
"""

from typing import cast

from pydantic import Field

from homeroom.evaluation.gate import Bar, gate
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import checkpoints, compress
from homeroom.stages.decisions import decision, enact, say_decisions
from homeroom.stages.lookup import ModelStage, deciding_evaluation, made_before
from homeroom.stages.measuring import measured_by
from homeroom.workspace import Artifact, Workspace

VERSION = 4


class Config(Frozen):
    """Who becomes champion where there is none, and who then has to pass the gate."""

    first: ModelStage = Field("sft", description="the stage whose model is the first champion")
    candidates: tuple[ModelStage, ...] = ("ppo",)
    gate: Bar = Bar()


def run(config: Config, workspace: Workspace) -> Artifact:
    evaluation = deciding_evaluation(workspace)
    if done := made_before(workspace, "promote", config, evaluation, VERSION):
        enact(done, workspace)
        return done
    models = {artifact.stage: artifact for artifact in map(workspace.artifacts.get, evaluation.inputs[2:])}
    wanted = {config.first, *config.candidates}
    if missing := sorted(wanted - set(models)):
        raise HomeroomError(
            f"{evaluation.id} did not measure the model of {', '.join(missing)}; it measured {', '.join(models)}. "
            "Add what is missing to [evaluate].stages, or take it out of [promote]."
        )
    previous = workspace.registry.champion()
    champion = workspace.artifacts.get(previous) if previous else models[config.first]
    with workspace.publish("promote", config, [evaluation, champion], VERSION) as draft:
        decisions: list[Json] = []
        if previous is None:
            decisions.append(decision(champion.id, True, ["the first champion has nobody to beat"]))
        best = before = measured_by(evaluation, champion, workspace, draft.path)
        for stage in config.candidates:
            if models[stage].id == best.artifact:
                continue
            candidate = measured_by(evaluation, models[stage], workspace, draft.path)
            beaten = workspace.artifacts.get(best.artifact)
            latency = compress.latency(checkpoints.load(models[stage]), beaten, workspace, config.gate.doubt)
            verdict = gate(candidate, best, config.gate, latency)
            decisions.append(
                decision(candidate.artifact, verdict.accepted, verdict.reasons, best.artifact, verdict.figures())
            )
            if verdict.accepted:
                best = candidate
        draft.metrics |= {
            "champion": best.artifact,
            "previous": previous,
            "evaluation_before": before.figures(),  # where it stays champion, the evaluation itself knows nothing of it
            "promoted": best.artifact != previous,
            "reasons": [reason for one in decisions for reason in cast(dict[str, list[str]], one)["reasons"]],
            "decisions": decisions,
        }
    say_decisions("promote", enact(draft.artifact, workspace))
    return draft.artifact
