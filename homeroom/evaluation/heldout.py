"""What of the held-out documents models are measured on: questions that none has seen, and a sample of the text.

Which split is held out, and how much of it is used, is the stage's business; `suite.py` measures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from homeroom.data.documents import Document
from homeroom.data.python_library import PythonLibrary
from homeroom.tasks.base import Question, unseen
from homeroom.tasks.idioms import meaning_of
from homeroom.tasks.questions import questions
from homeroom.tasks.split import share
from homeroom.tasks.wording import plain


def unseen_questions(heldout: Sequence[Document], train: Iterable[Document]) -> list[Question]:
    """Held-out questions in words that no training document would be asked in, each once.

    Only what can ask the same is asked of the training side: all of it would take longer than the rest.
    """
    idioms = [document for document in heldout if document.kind == "idiom"]
    meanings, words = set(map(_meaning, idioms)), {document.fields["word"] for document in idioms}
    alike = (d for d in train if d.kind != "idiom" or _meaning(d) in meanings or d.fields["word"] in words)
    once = {plain(question.prompt): question for question in reversed(questions(heldout))}
    return unseen(once.values(), questions(alike))


def _meaning(document: Document) -> str:
    return meaning_of(str(document.fields.get("explanation", "")), str(document.fields.get("word", "")))


def library_prose(megabytes: float, *, validation: bool = False) -> Sequence[Document]:
    """Prose of Python's own library, for models that no text of a workspace was held out from. Read once a process.

    What decides while something is made is `validation`, other documents than those that measure it.
    """
    return up_to(megabytes, _library_prose(), last=validation)


def rehearsed(measured: float, decided: float, megabytes: float) -> list[Document]:
    """So much of that prose as neither measures (its first megabytes) nor decides (its last), to be learned beside."""
    kept_out = {one.id for one in (*library_prose(measured), *library_prose(decided, validation=True))}
    return up_to(megabytes, [document for document in _library_prose() if document.id not in kept_out])


@cache
def _library_prose() -> Sequence[Document]:
    return tuple(document for document in PythonLibrary().documents(0) if document.kind == "prose")


def up_to(megabytes: float, documents: Iterable[Document], *, last: bool = False) -> list[Document]:
    """Documents in a stable random order, or its reverse, until their size is reached; where the first is larger, its
    beginning."""
    kept: list[Document] = []
    size, most = 0, int(megabytes * 1e6)
    for document in sorted(documents, key=lambda document: share(document.id, "held-out text"), reverse=last):
        text = document.text.encode()
        size += len(text)
        if size > most:
            return kept or [replace(document, text=text[:most].decode("utf-8", "ignore"))]
        kept.append(document)
    return kept
