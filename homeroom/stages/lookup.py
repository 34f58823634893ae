"""What several stages look up in a workspace: the champion, and what a stage made before.

It reads; what is made of it is each stage's business.
"""

from homeroom.settings import Frozen, HomeroomError
from homeroom.workspace import Artifact, Workspace


def champion(workspace: Workspace) -> Artifact:
    """The champion's artifact."""
    name = workspace.registry.champion()
    if name is None:
        raise HomeroomError("there is no champion yet. Run `homeroom promote` first.")
    return workspace.artifacts.get(name)


def made_before(workspace: Workspace, stage: str, settings: Frozen, first: Artifact, version: int) -> Artifact | None:
    """What this stage made of the same settings and the same first input, whoever was champion then.

    A stage that works on the champion may change who that is. By identity alone every rerun would be a new task.
    """
    wanted = settings.model_dump(mode="json")
    for artifact in reversed(workspace.artifacts.all()):
        same = artifact.stage == stage and artifact.version == version and artifact.inputs[:1] == (first.id,)
        if same and artifact.settings == wanted:
            workspace.artifacts.record(artifact)
            return artifact
    return None
