"""The workspace's errors, each of which tells a person what happened and what to do next."""

import errno
import os
import shutil
from pathlib import Path

from homeroom.settings import HomeroomError


class WorkspaceError(HomeroomError):
    """The workspace cannot do what was asked of it."""


class WorkspaceTooNew(WorkspaceError):
    """A later Homeroom made this workspace; nothing in it was touched."""


class WorkspaceBusy(WorkspaceError):
    """Another process is at work on the same thing."""


class DiskFull(WorkspaceError):
    """No space was left to write to. What had been published or recorded is still there."""


class MissingArtifact(WorkspaceError):
    """A stage's result is needed that is not there."""


class Damaged(WorkspaceError):
    """A file of an artifact is not as it was published."""


class AlreadyPublished(WorkspaceError):
    """The identical artifact exists; `Workspace.find` returns it."""


class NothingToRollBack(WorkspaceError):
    """There is no earlier champion."""


class ChampionChanged(WorkspaceError):
    """Another model became champion since somebody looked."""


class AlreadyChampion(WorkspaceError):
    """What should become champion is."""


class NotServable(WorkspaceError):
    """An artifact that is no language model cannot be champion."""


class TrialRefused(WorkspaceError):
    """A model cannot be put on trial now."""


class FeedbackError(WorkspaceError):
    """A message, vote or edit does not fit what is recorded already."""


class KeyRefused(WorkspaceError):
    """A key cannot be made or revoked as asked."""


class UserRefused(WorkspaceError):
    """A user cannot be made or changed as asked."""


class PasswordRefused(UserRefused):
    """A password that would be guessed."""


class NotRecorded(FeedbackError):
    """There is no such conversation or message. `param` is what named it."""

    def __init__(self, message: str, param: str = "message_id") -> None:
        super().__init__(message)
        self.param = param


# EFBIG is what a limit on file sizes (ulimit -f) answers, EDQUOT what a user's quota does.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Libraries written in Rust and C++ pass the system's words on, without its number.
_FULL_WORDS = [os.strerror(number).lower() for number in _FULL] + ["database or disk is full", "os error 28)"]


def is_disk_full(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised from, says that there was no space to write to."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(words in str(error).lower() for words in _FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def no_space_left(path: Path) -> bool:
    try:
        return shutil.disk_usage(path).free < 100_000
    except OSError:
        return False


def free_space(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path).free / 1e6:,.1f} MB free"
    except OSError:
        return "free space unknown"
