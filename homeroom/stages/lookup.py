"""What several stages look up in a workspace: the champion, and what a stage made before.

It reads; what is made of it is each stage's business.
"""

from collections.abc import Sequence

from homeroom.progress import say
from homeroom.settings import Frozen, HomeroomError
from homeroom.workspace import Artifact, Workspace, ancestor
from homeroom.workspace.names import MODEL_STAGES as MODEL_STAGES
from homeroom.workspace.names import ModelStage as ModelStage

COMPRESSED = "compress"  # whose artifacts are a language model's int8 weights


def champion(workspace: Workspace) -> Artifact:
    """The champion's artifact."""
    found = workspace.champion()
    if found is None:
        raise HomeroomError("there is no champion yet. Run `homeroom promote` or `homeroom import smollm2` first.")
    return found


def is_compressed(workspace: Workspace, model_id: str) -> bool:
    """Whether a language model has int8 weights, by which it is then served."""
    return workspace.artifacts.made_of(model_id, COMPRESSED) is not None


def deciding_evaluation(workspace: Workspace) -> Artifact:
    """The latest evaluation, unless it is of the split that settings are tuned on. Raises HomeroomError."""
    evaluation = workspace.latest("evaluate")
    if evaluation.settings.get("split") == "validation":
        raise HomeroomError(
            f"{evaluation.id} is of the validation split, on which settings are tuned, so nothing is decided by it. "
            'Run `homeroom evaluate` with [evaluate].split = "heldout" first.'
        )
    return evaluation


def unchanged(
    workspace: Workspace, stage: str, settings: Frozen, inputs: Sequence[Artifact] = (), version: int = 1
) -> Artifact | None:
    """What this stage made of the same settings and inputs before; says that the work is skipped."""
    done = workspace.find(stage, settings, inputs, version)
    return _skipped(stage, done) if done else None


def made_before(workspace: Workspace, stage: str, settings: Frozen, first: Artifact, version: int) -> Artifact | None:
    """As `unchanged`, but of the same first input alone, whoever was champion then.

    A stage that works on the champion may change who that is. By identity alone every rerun would be a new task.
    """
    wanted = settings.model_dump(mode="json")
    for artifact in reversed(workspace.artifacts.all()):
        same = artifact.stage == stage and artifact.version == version and artifact.inputs[:1] == (first.id,)
        if same and artifact.settings == wanted:
            workspace.artifacts.record(artifact)
            return _skipped(stage, artifact)
    return None


def _skipped(stage: str, done: Artifact) -> Artifact:
    say(stage, f"unchanged, skipped: {done.id}")
    return done


def made_from(workspace: Workspace, artifact: Artifact, stage: str) -> Artifact:
    """The artifact of `stage` that this one was made from. Raises HomeroomError."""
    found = ancestor(artifact, stage, workspace.artifacts.get)
    if found is None:
        raise HomeroomError(f"{artifact.id} was not made from any artifact of {stage}")
    return found


def came_from_elsewhere(workspace: Workspace, model: Artifact) -> bool:
    """Whether a model was imported, or taught on one that was: no evaluation of the circle's knows its like."""
    waiting = [model]
    for artifact in waiting:
        if artifact.stage == "imported":
            return True
        waiting += [workspace.artifacts.get(name) for name in artifact.inputs if name.split("-")[0] in MODEL_STAGES]
    return False


def learner(workspace: Workspace) -> str:
    """The stage that learns from the latest harvest: one that no evaluation of the circle stands behind is taught.

    By the harvest, not by the champion: that may have been changed since.
    """
    return "improve" if workspace.latest("harvest").inputs else "teach"


def find_model(workspace: Workspace, name: str, stages: Sequence[str] = MODEL_STAGES) -> Artifact:
    """The champion, the latest model of a stage, or the one artifact whose name begins so. Raises HomeroomError."""
    if name == "champion":
        if found := workspace.champion():
            return found
        raise HomeroomError(f"there is no champion yet. Name a model: {', '.join(stages)} or an id.")
    if name in stages:
        return workspace.latest(name)
    models = [artifact for artifact in workspace.artifacts.all() if artifact.stage in stages]
    meant = [artifact for artifact in models if artifact.id.startswith(name.rstrip("…"))] if "-" in name else []
    if len(meant) == 1:
        return meant[0]
    known = ", ".join(artifact.id for artifact in meant or models) or "none yet"
    what = "could be several" if meant else "is no model of this workspace"
    raise HomeroomError(f"model '{name}' {what}. Allowed: champion, {', '.join(stages)}, or one of {known}.")
