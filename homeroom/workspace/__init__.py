"""All that a project made: artifacts, runs, models, conversations, feedback. Begin at `Workspace.open`."""

from homeroom.workspace.artifacts import Artifact, ArtifactStore, Damage, FileRecord
from homeroom.workspace.deletion import Forgotten
from homeroom.workspace.drafts import Draft, read_log
from homeroom.workspace.errors import (
    AlreadyPublished,
    Damaged,
    DiskFull,
    FeedbackError,
    KeyRefused,
    MissingArtifact,
    NothingToRollBack,
    PasswordRefused,
    TrialRefused,
    UserRefused,
    WorkspaceBusy,
    WorkspaceError,
    WorkspaceTooNew,
)
from homeroom.workspace.feedback import Conversation, Edit, Feedback, Message, Vote
from homeroom.workspace.judged import GivenAnswer, JudgedAnswer, JudgedComparison, JudgedRanking
from homeroom.workspace.keys import Key, Keys
from homeroom.workspace.names import ModelName, ModelNames, model_name
from homeroom.workspace.pairs import Ballot, Chosen, Pair, Pairs
from homeroom.workspace.questions import NewAnswer
from homeroom.workspace.queue import PLAN, Item, Plan, Progress, Queue, ShownAnswer, ShownItem
from homeroom.workspace.rankings import FLAGS, Comparison, Flag, Ranking
from homeroom.workspace.registry import Decision, Registry
from homeroom.workspace.runs import Run, Runs
from homeroom.workspace.search import Listed
from homeroom.workspace.sessions import Session, Sessions
from homeroom.workspace.users import Role, User, Users
from homeroom.workspace.workspace import Workspace

__all__ = [
    "FLAGS",
    "PLAN",
    "AlreadyPublished",
    "Artifact",
    "ArtifactStore",
    "Ballot",
    "Chosen",
    "Comparison",
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
    "Flag",
    "Forgotten",
    "GivenAnswer",
    "Item",
    "JudgedAnswer",
    "JudgedComparison",
    "JudgedRanking",
    "Key",
    "KeyRefused",
    "Keys",
    "Listed",
    "Message",
    "MissingArtifact",
    "ModelName",
    "ModelNames",
    "NewAnswer",
    "NothingToRollBack",
    "Pair",
    "Pairs",
    "PasswordRefused",
    "Plan",
    "Progress",
    "Queue",
    "Ranking",
    "Registry",
    "Role",
    "Run",
    "Runs",
    "Session",
    "Sessions",
    "ShownAnswer",
    "ShownItem",
    "TrialRefused",
    "User",
    "UserRefused",
    "Users",
    "Vote",
    "Workspace",
    "WorkspaceBusy",
    "WorkspaceError",
    "WorkspaceTooNew",
    "model_name",
    "read_log",
]
