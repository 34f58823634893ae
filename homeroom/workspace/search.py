"""A person's conversations by what they begin with, and by any words that were said in them.

Compared in Python: databases fold only Latin letters, each in its own way, and no full-width ones.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Connection, func, select

from homeroom.workspace import tables

TITLE = 200  # characters
AROUND = 30


@dataclass(frozen=True)
class Listed:
    """A conversation by its first question; `excerpt` is where a search found it, if not there."""

    conversation_id: str
    title: str
    excerpt: str = ""


def titles(connection: Connection, user: str, limit: int) -> list[Listed]:
    """The newest first. One to which nobody said anything is left out."""
    conversations, messages = tables.conversations.c, tables.messages.c
    first = (
        select(func.substr(messages.text, 1, TITLE))
        .where(messages.conversation_id == conversations.id, messages.role == "user")
        .order_by(messages.number)
        .limit(1)
        .scalar_subquery()
    )
    newest = select(conversations.id, first).where(conversations.user == user).order_by(conversations.number.desc())
    rows = connection.execute(newest.limit(limit))
    return [Listed(id, title) for id, text in rows if text is not None and (title := _title(text))]


def search(connection: Connection, user: str, text: str, limit: int) -> list[Listed]:
    """Conversations in which every word of `text` was said, the newest first. Case and width make no difference."""
    words = _folded(text).split()
    conversations, messages = tables.conversations.c, tables.messages.c
    rows = connection.execute(
        select(conversations.id, messages.role, messages.text)
        .join(tables.messages, messages.conversation_id == conversations.id)
        .where(conversations.user == user, messages.role != "system")
        .order_by(conversations.number.desc(), messages.number),
        execution_options={"yield_per": 500},
    )
    found: list[Listed] = []
    for id, said in groupby(rows, key=lambda row: str(row.id)):
        texts = [(row.role, row.text) for row in said]
        hit = _hit(words, texts)
        if hit is not None:
            found.append(Listed(id, *hit))
            if len(found) == limit:
                break
    rows.close()
    return found


def _hit(words: list[str], said: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Title and excerpt of a conversation in which all the words are."""
    texts = list(said)
    question = next((text for role, text in texts if role == "user"), None)
    if question is None:
        return None
    folded = [_folded(text) for _, text in texts]
    if not all(any(word in text for text in folded) for word in words):
        return None
    title = _title(question[:TITLE])
    missing = next((word for word in words if word not in _folded(title)), None)
    if missing is None:
        return title, ""
    at = next(number for number, text in enumerate(folded) if missing in text)
    # Folding may lengthen a text (ß is ss): then the excerpt begins a little late, which nobody minds.
    whole, start = _title(texts[at][1]), max(0, folded[at].index(missing) - AROUND)
    end = start + 2 * AROUND + len(missing)
    return title, ("…" if start else "") + whole[start:end] + ("…" if end < len(whole) else "")


def _title(text: str) -> str:
    return " ".join(text.split())


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
