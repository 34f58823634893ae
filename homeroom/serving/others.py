"""Other models than the champion, for who wants to talk to one: those that were ever decided on here.

One of them is loaded beside the champion at a time, as long as somebody has chosen it. Who may choose is the page's
business; who is on trial cannot be chosen, for people are to judge it blind.
"""

import threading

from homeroom.serving.assistant import Assistant
from homeroom.settings import HomeroomError
from homeroom.workspace import Artifact, Workspace

MOST = 20


class Others:
    def __init__(self, workspace: Workspace, assistant: Assistant) -> None:
        self._workspace, self._assistant = workspace, assistant
        self._wanted: dict[object, str] = {}
        self._lock = threading.Lock()

    def ids(self) -> list[str]:
        """The newest decision first. Reads the database: not for an event loop."""
        registry = self._workspace.registry
        trial = registry.trial()
        hidden = {self._assistant.loaded_id, trial.artifact_id if trial else None}
        decided = dict.fromkeys(one.artifact_id for one in reversed(registry.history()) if one.artifact_id)
        here = (name for name in decided if name not in hidden and self._workspace.artifacts.find(name))
        return list(here)[:MOST]

    def choose(self, who: object, model_id: str | None) -> None:
        """Have a model answer by name for this one, who had perhaps chosen it before; None: the champion, as everybody.

        Reads files. Raises HomeroomError: it cannot be chosen (any more), or its files were changed.
        """
        with self._lock:
            self._wanted.pop(who, None)
            try:
                if model_id is not None:
                    self._load(model_id)
                    self._wanted[who] = model_id
            finally:
                if self._assistant.chosen_id not in self._wanted.values():
                    self._assistant.drop("chosen")

    def _load(self, model_id: str) -> None:
        if model_id not in self.ids():
            raise HomeroomError(f"{model_id} cannot be chosen: it is no model that was decided on, or it is on trial")
        if self._assistant.chosen_id != model_id:
            artifact = self._workspace.artifacts.get(model_id)
            artifact.check()
            self._assistant.load_chosen(artifact, compressed_of(self._workspace, self._assistant, model_id))


def compressed_of(workspace: Workspace, assistant: Assistant, model_id: str) -> Artifact | None:
    """The int8 weights by which this server would answer, checked; None where there are none or it does not."""
    found = workspace.artifacts.made_of(model_id, "compress") if assistant.uses_compressed else None
    if found is not None:
        found.check()
    return found
