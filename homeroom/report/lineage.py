"""Which artifacts belong together, so that figures of different runs never stand side by side.

What is shown is led by the newest evaluation: its inputs, at however many removes, and what was made of it since.
Before there is one, the newest artifact of the furthest stage leads.
"""

from homeroom.stages import CIRCLE
from homeroom.workspace import Artifact, Workspace

_PLACE = {stage: place for place, stage in enumerate(CIRCLE)}
_EVALUATE = _PLACE["evaluate"]


def lineage(workspace: Workspace) -> dict[str, Artifact]:
    """By stage, in the circle's order. A stage that did not run in this lineage is missing."""
    there = [a for a in workspace.artifacts.all() if a.stage in CIRCLE and not _is_aside(a)]
    newest = {artifact.stage: artifact for artifact in there}
    leading = [stage for stage, place in _PLACE.items() if place <= _EVALUATE and stage in newest]
    if not leading:
        return {}
    found = _made_from(newest[leading[-1]], {artifact.id: artifact for artifact in there})
    for stage in CIRCLE:
        beside = [artifact for artifact in there if artifact.stage == stage and _belongs(artifact, found)]
        if stage not in found and beside:
            found[stage] = beside[-1]
    return {stage: found[stage] for stage in CIRCLE if stage in found}


def is_whole(found: dict[str, Artifact]) -> bool:
    """Whether these are one run of the whole circle: every stage, and nothing made from another artifact of one."""
    return found.keys() == CIRCLE.keys() and all(not a.inputs or _belongs(a, found) for a in found.values())


def of_one_run(found: dict[str, Artifact]) -> dict[str, Artifact]:
    """Without what comes, at any remove, of another artifact of a stage than the one found.

    An evaluation may measure a new model beside one that was made of the model before it.
    """
    alike: dict[str, Artifact] = {}
    for stage, artifact in found.items():
        known = {other.id for other in alike.values()}
        strange = [name for name in artifact.inputs if name not in known and name.rpartition("-")[0] in found]
        if not strange or _PLACE[stage] >= _EVALUATE:
            alike[stage] = artifact
    return alike


def _is_aside(artifact: Artifact) -> bool:
    """A control, or an evaluation that settings are tuned by: neither is a result."""
    return artifact.settings.get("inverted") is True or artifact.settings.get("split") == "validation"


def _made_from(end: Artifact, there: dict[str, Artifact]) -> dict[str, Artifact]:
    """The end and its inputs at any remove, of each stage the one nearest to it.

    A model that learned from votes and was evaluated like the others leads to no earlier round: its own harvest and
    evaluation are another run's.
    """
    found, waiting = {end.stage: end}, [end]
    for artifact in waiting:
        for name in artifact.inputs:
            source = there.get(name)
            if source and source.stage not in found and _PLACE[source.stage] < _EVALUATE:
                found[source.stage] = source
                waiting.append(source)
    return found


def _belongs(artifact: Artifact, found: dict[str, Artifact]) -> bool:
    place = _PLACE[artifact.stage]
    wanted = [name for name in artifact.inputs if _PLACE[name.rpartition("-")[0]] < place]
    if place > _EVALUATE:
        wanted = wanted[:1]  # what the stage worked on; who was champion then may be of any run
    return bool(wanted) and {artifact.id for artifact in found.values()}.issuperset(wanted)
