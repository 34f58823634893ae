"""All that a project made: artifacts, runs, models, conversations, feedback. Begin at `Workspace.open`."""

from homeroom.workspace.artifacts import Artifact, ArtifactStore, Damage, FileRecord
from homeroom.workspace.drafts import Draft, read_log
from homeroom.workspace.errors import (
    AlreadyPublished,
    Damaged,
    DiskFull,
    FeedbackError,
    KeyRefused,
    MissingArtifact,
    NothingToRollBack,
    WorkspaceBusy,
    WorkspaceError,
    WorkspaceTooNew,
)
from homeroom.workspace.feedback import Conversation, Edit, Feedback, Message, Vote
from homeroom.workspace.judged import JudgedAnswer
from homeroom.workspace.keys import Key, Keys
from homeroom.workspace.names import ModelName, ModelNames, model_name
from homeroom.workspace.registry import Decision, Registry
from homeroom.workspace.runs import Run, Runs
from homeroom.workspace.search import Listed
from homeroom.workspace.workspace import Workspace

__all__ = [
    "AlreadyPublished",
    "Artifact",
    "ArtifactStore",
    "Conversation",
    "Damage",
    "Damaged",
    "Decision",
    "DiskFull",
    "Draft",
    "Edit",
    "Feedback",
    "FeedbackError",
    "FileRecord",
    "JudgedAnswer",
    "Key",
    "KeyRefused",
    "Keys",
    "Listed",
    "Message",
    "MissingArtifact",
    "ModelName",
    "ModelNames",
    "NothingToRollBack",
    "Registry",
    "Run",
    "Runs",
    "Vote",
    "Workspace",
    "WorkspaceBusy",
    "WorkspaceError",
    "WorkspaceTooNew",
    "model_name",
    "read_log",
]
