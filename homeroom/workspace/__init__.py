"""All that a project made: artifacts, runs, models, conversations, feedback. Begin at `Workspace.open`."""

from homeroom.workspace.artifacts import Artifact, ArtifactStore, Damage, FileRecord, ancestor
from homeroom.workspace.deletion import Forgotten
from homeroom.workspace.drafts import Draft, Unfinished, growing_log, read_log
from homeroom.workspace.errors import (
    AlreadyChampion,
    AlreadyPublished,
    ChampionChanged,
    Damaged,
    DiskFull,
    FeedbackError,
    KeyRefused,
    MissingArtifact,
    NothingToRollBack,
    NotServable,
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
from homeroom.workspace.names import MODEL_STAGES, ModelName, ModelNames, model_name
from homeroom.workspace.pairs import Ballot, Chosen, Pair, Pairs
from homeroom.workspace.questions import NewAnswer
from homeroom.workspace.queue import PLAN, Item, Plan, Progress, Queue, ShownAnswer, ShownItem
from homeroom.workspace.rankings import FLAGS, Comparison, Flag, Ranking
from homeroom.workspace.registry import Decision, Registry, by_hand
from homeroom.workspace.runs import Run, Runs
from homeroom.workspace.search import Listed
from homeroom.workspace.sessions import Session, Sessions
from homeroom.workspace.traces import Judgement
from homeroom.workspace.users import Role, User, Users
from homeroom.workspace.workspace import Workspace

__all__ = [
    "FLAGS",
    "MODEL_STAGES",
    "PLAN",
    "AlreadyChampion",
    "AlreadyPublished",
    "Artifact",
    "ArtifactStore",
    "Ballot",
    "ChampionChanged",
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
    "Judgement",
    "Key",
    "KeyRefused",
    "Keys",
    "Listed",
    "Message",
    "MissingArtifact",
    "ModelName",
    "ModelNames",
    "NewAnswer",
    "NotServable",
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
    "Unfinished",
    "User",
    "UserRefused",
    "Users",
    "Vote",
    "Workspace",
    "WorkspaceBusy",
    "WorkspaceError",
    "WorkspaceTooNew",
    "ancestor",
    "by_hand",
    "growing_log",
    "model_name",
    "read_log",
]
