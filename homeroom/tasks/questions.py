"""All questions that structured documents can be asked, and which of them serve what.

Every question serves one purpose, so that what a reward model or a judge is trained on was never a demonstration, the
two never share a question, and votes are cast on questions that nothing was trained on. What decides is the subject,
not the document: two documents may ask the same.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, NonNegativeFloat

from homeroom.tasks.base import Document, Question, Task
from homeroom.tasks.dialogues import Dialogues
from homeroom.tasks.functions import Functions
from homeroom.tasks.idioms import Idioms, meaning_of
from homeroom.tasks.manners import manners
from homeroom.tasks.split import share
from homeroom.tasks.wording import plain

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


def _laid_over_all(given: object) -> object:
    """Who names one kind's weight keeps those of the others."""
    if not isinstance(given, Mapping):
        return given
    if unknown := [kind for kind in given if kind not in MIX]:
        raise ValueError(f"there is no kind of question '{unknown[0]}'; the kinds are {', '.join(MIX)}")
    return {**MIX, **given}


Mix = Annotated[
    dict[str, NonNegativeFloat],
    BeforeValidator(_laid_over_all),
    Field(description="weight of each kind of question; those not named keep theirs, 0 leaves a kind out"),
]
Purpose = Literal["sft", "reward", "judge", "ppo", "vote"]
_SHARES = {"sft": 0.6, "reward": 0.12, "judge": 0.12, "ppo": 0.08, "vote": 0.08}


def purpose_of(subject: str) -> Purpose:
    """What questions about this serve: an idiom's meaning, a function's name, or what is said in a dialogue."""
    point = share(plain(subject), "purpose")
    for purpose in get_args(Purpose)[:-1]:
        point -= _SHARES[purpose]
        if point < 0:
            return purpose  # type: ignore[no-any-return]
    return "vote"


def questions(documents: Iterable[Document], purpose: Purpose | None = None) -> list[Question]:
    """Every question about these documents, in their order; with `purpose` those that serve it."""
    chosen = [document for document in documents if document.kind in KINDS]
    # An idiom with two meanings would be asked about for two purposes: the first of them alone is.
    first = {name_of(document): document.id for document in reversed(chosen) if document.kind == "idiom"}
    chosen = [d for d in chosen if d.kind != "idiom" or first[name_of(d)] == d.id]
    if purpose is not None:
        # The exchanges of one dialogue are subjects of their own.
        chosen = [d for d in chosen if d.kind == "dialogue" or purpose_of(_subject(d)) == purpose]
    asked = [question for task in (Idioms, Functions, Dialogues) for question in task(chosen).questions]
    return [q for q in asked if purpose is None or q.kind != "dialogue" or purpose_of(q.prompt) == purpose]


def name_of(document: Document) -> str:
    """What questions about an idiom or a function call it."""
    return str(document.fields.get("word" if document.kind == "idiom" else "name", ""))


def _subject(document: Document) -> str:
    name = name_of(document)
    if document.kind == "function":
        return name
    return meaning_of(str(document.fields.get("explanation", "")), name) or name


def grade(question: Question, answer: str, ended: bool) -> float:
    """An answer's grade by the question's own task, from 0 to 1; without a reference, by its manners."""
    if not question.reference:
        return manners(question, answer, ended)
    tasks: dict[str, type[Task]] = {"idiom": Idioms, "function": Functions, "dialogue": Dialogues}
    return tasks[question.kind.partition("-")[0]].grade(question, answer, ended)
