"""serve: the champion answers, on the chat page and behind the OpenAI-compatible API, until Ctrl-C.

Unlike the other stages it makes no artifact; what people say and vote goes into the workspace. Where a candidate is on
trial, their blind votes decide on it while the server runs.
"""

from functools import partial

from homeroom.serving.app import serve
from homeroom.serving.settings import ServingSettings
from homeroom.stages.agreement import agreement
from homeroom.stages.trial import decide
from homeroom.workspace import Workspace

VERSION = 1


class Config(ServingSettings):
    """Where the server listens, and how the assistant answers when a request does not say."""


def run(config: Config, workspace: Workspace) -> None:
    serve(workspace, config, agree=partial(agreement, workspace.feedback), decide=decide)
