"""All questions that structured documents can be asked, and which of them serve what.

Every document serves one purpose, so that what a reward model or a judge is trained on was never a demonstration, the
two never share a question, and votes are cast on questions that nothing was trained on.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from homeroom.tasks.base import Document, Question, Task
from homeroom.tasks.dialogues import Dialogues
from homeroom.tasks.functions import Functions
from homeroom.tasks.idioms import Idioms
from homeroom.tasks.split import share

KINDS = ("idiom", "function", "dialogue")
# Weight of each kind of question in demonstrations, rankings, rollouts and votes. What a small model can learn from
# the question alone (pronunciation, characters) stands beside what needs knowledge (meaning, purpose).
MIX = {
    "idiom-meaning": 0.22,
    "idiom-source": 0.05,
    "idiom-example": 0.04,
    "idiom-name": 0.05,
    "idiom-character": 0.07,
    "idiom-length": 0.02,
    "idiom-pronunciation": 0.16,
    "idiom-initials": 0.07,
    "idiom-character-english": 0.06,
    "idiom-length-english": 0.02,
    "function-purpose": 0.08,
    "function-arguments": 0.06,
    "function-module": 0.03,
    "dialogue": 0.07,
}
Purpose = Literal["sft", "reward", "judge", "ppo", "vote"]
_SHARES = {"sft": 0.6, "reward": 0.12, "judge": 0.12, "ppo": 0.08, "vote": 0.08}


def purpose_of(document_id: str) -> Purpose:
    """What a training document serves."""
    point = share(document_id, "purpose")
    for purpose in get_args(Purpose)[:-1]:
        point -= _SHARES[purpose]
        if point < 0:
            return purpose  # type: ignore[no-any-return]
    return "vote"


def questions(documents: Iterable[Document], purpose: Purpose | None = None) -> list[Question]:
    """Every question about these documents, in their order; with `purpose` those of the documents that serve it."""
    chosen = [d for d in documents if d.kind in KINDS and (purpose is None or purpose_of(d.id) == purpose)]
    return [question for task in (Idioms, Functions, Dialogues) for question in task(chosen).questions]


def grade(question: Question, answer: str, ended: bool) -> float:
    """An answer's grade by the question's own task, from 0 to 1."""
    tasks: dict[str, type[Task]] = {"idiom": Idioms, "function": Functions, "dialogue": Dialogues}
    return tasks[question.kind.partition("-")[0]].grade(question, answer, ended)
