"""A workspace at a glance: each artifact in one line, and everything at once as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from homeroom.report import exports, scores
from homeroom.report.figures import decided_by, figures, flat, number_at, verdicts
from homeroom.report.lineage import lineage
from homeroom.settings import Json
from homeroom.stages import CIRCLE
from homeroom.workspace import Artifact, Decision, Workspace

Metrics = dict[str, Json]


def in_circle_order(workspace: Workspace) -> list[Artifact]:
    """The artifacts in the order of their stages; of one stage the newest last."""
    order = list(CIRCLE)
    place = {stage: number for number, stage in enumerate(order)}
    return sorted(workspace.artifacts.all(), key=lambda artifact: place.get(artifact.stage, len(order)))


def as_json(workspace: Workspace) -> dict[str, object]:
    """What `homeroom status --json` prints."""
    history, improved = workspace.registry.history(), lineage(workspace).get("improve")
    return {
        "workspace": str(workspace.path),
        "champion": workspace.registry.champion(),
        "figures": flat(figures(workspace)),
        "verdicts": verdicts(improved, history) if improved else None,
        "artifacts": [
            {"id": a.id, "stage": a.stage, "inputs": list(a.inputs), "created": a.created, "seconds": a.seconds,
             "peak_memory_bytes": a.peak_memory_bytes, "bytes": a.size,
             "path": str(a.path), "settings": a.settings, "metrics": a.metrics}
            for a in in_circle_order(workspace)
        ],
        "decisions": [asdict(decision) for decision in history],
        "trial": _trial(workspace),
        "feedback": workspace.feedback.counts(),
    }  # fmt: skip


def _trial(workspace: Workspace) -> dict[str, Json] | None:
    """The candidate on trial and how it stands."""
    running = workspace.registry.trial()
    if running is None:
        return None
    # Here, because most workspaces have none, and a status is to come at once.
    from homeroom.stages.trial import standing

    began: dict[str, Json] = {"candidate": running.artifact_id, "champion": running.previous_id, "at": running.at}
    return began | standing(workspace, running).figures()


def headline(artifact: Artifact, history: Sequence[Decision] = ()) -> str:
    """What a stage made, in a few words; what was decided of it is the registry's to say."""
    if artifact.stage == "improve":
        return _improved(artifact, history)
    if artifact.stage == "promote":
        return "; ".join(f"{one.artifact_id} {one.kind}" for one in decided_by(artifact, history)) or "nothing decided"
    tell = _HEADLINES.get(artifact.stage)
    return tell(artifact.metrics) if tell else f"{len(artifact.files)} files"


def _count(metrics: Metrics, *path: str) -> str:
    value = number_at(metrics, *path)
    return "?" if value is None else f"{value:,.0f}"


def _real(metrics: Metrics, *path: str, places: int = 2) -> str:
    value = number_at(metrics, *path)
    return "?" if value is None else f"{value:.{places}f}"


def _share(metrics: Metrics, *path: str) -> str:
    value = number_at(metrics, *path)
    return "?" if value is None else f"{100 * value:.1f} %"


def _megabytes(metrics: Metrics) -> str:
    return f"{(number_at(metrics, 'bytes') or 0) / 1e6:,.1f} MB"


def _improved(artifact: Artifact, history: Sequence[Decision]) -> str:
    """Both verdicts: of the votes as they were given, and of the same ones inverted."""
    of, m = verdicts(artifact, history), artifact.metrics
    name = "inverted votes" if artifact.settings.get("inverted") is True else "votes"
    told = f"{name} {of['votes'] or 'undecided'}: wins {_share(m, 'win_rate', 'mean')} against the champion"
    if of["inverted"] is None:
        return told
    return f"{told}; inverted {of['inverted']}: wins {_share(m, 'inverted', 'win_rate', 'mean')}"


_HEADLINES: dict[str, Callable[[Metrics], str]] = {
    "collect": lambda m: f"{_count(m, 'documents')} documents, {_megabytes(m)}",
    "clean": lambda m: f"{_count(m, 'documents')} documents kept, {_megabytes(m)}",
    "tokenize": lambda m: f"{_count(m, 'vocab_size')} kinds of token, {_count(m, 'tokens', 'train')} to train on",
    "pretrain": lambda m: (
        f"{_count(m, 'parameters')} parameters, "
        f"{_real(m, 'validation_bits_per_byte')} bits per byte, {_count(m, 'tokens_per_second')} tokens/s"
    ),
    "sft": lambda m: f"{_count(m, 'examples')} demonstrations",
    "rankings": lambda m: f"{_count(m, 'questions')} questions, {_count(m, 'pairs')} pairs",
    "reward": lambda m: f"{_share(m, 'accuracy', 'mean')} of unseen pairs in the right order",
    "judge": lambda m: f"{_share(m, 'accuracy', 'mean')} of unseen pairs in the right order",
    "ppo": lambda m: f"reward {_real(m, 'reward_first')} → {_real(m, 'reward_last')} at KL {_real(m, 'kl')}",
    "evaluate": lambda m: f"{len(rows) if isinstance(rows := m.get('models'), list) else 0} models measured",
    "vote": lambda m: f"{_count(m, 'up')} up, {_count(m, 'down')} down",
    "harvest": lambda m: f"{_count(m, 'pairs')} pairs of {_count(m, 'answers')} judged answers",
    "score": scores.headline,
    "export": exports.headline,
    "imported": lambda m: f"{m.get('name')}, {_count(m, 'parameters')} parameters",
    "compress": lambda m: f"int8, {_megabytes(m)}: {_real(m, 'ratio', places=4)} × the bits per byte",
}
