"""What to call a model when talking to people; what is stored keeps the full id.

A language's way to write the day is the pages' business.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from homeroom.workspace.artifacts import Artifact, ArtifactStore

ModelStage = Literal["pretrain", "sft", "ppo", "improve", "imported", "teach"]  # whose artifacts are language models
MODEL_STAGES: tuple[ModelStage, ...] = get_args(ModelStage)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class ModelName:
    """`str` of it is for people: "SmolLM2-135M-Instruct" for an imported model, "ppo · 3 Nov" for one raised here."""

    label: str
    day: date | None = None  # when it was raised, on this machine's calendar

    def __str__(self) -> str:
        # Not strftime: its months follow the machine's locale, and not every machine can leave a day's zero out.
        return f"{self.label} · {self.day.day} {MONTHS[self.day.month - 1]}" if self.day else self.label


def model_name(artifact: Artifact) -> ModelName:
    if artifact.stage == "imported":
        name = artifact.metrics.get("name")
        return ModelName(name if isinstance(name, str) and name else artifact.id)
    return ModelName(artifact.stage, datetime.fromisoformat(artifact.created).astimezone().date())


class ModelNames:
    """Names by id, each read from the workspace once. An id that is not there any more is its own name."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._known: dict[str, ModelName] = {}

    def __call__(self, artifact_id: str) -> ModelName:
        if artifact_id not in self._known:
            artifact = self._artifacts.find(artifact_id)
            self._known[artifact_id] = model_name(artifact) if artifact else ModelName(artifact_id)
        return self._known[artifact_id]
