"""A question with its history and several answers, written as one conversation that nobody led here.

Its ids follow from the conversation's id and from what was said, so that to write it again adds nothing. Used for what
is put into the annotators' queue and for what is imported.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from homeroom.settings import Json
from homeroom.workspace import tables
from homeroom.workspace.errors import FeedbackError
from homeroom.workspace.feedback import Conversation, Message
from homeroom.workspace.rows import add, valid


@dataclass(frozen=True)
class NewAnswer:
    """An answer that is not in a conversation yet; `token_ids` are the sampler's own, if they are known."""

    text: str
    model_id: str | None = None
    sampling: dict[str, Json] | None = None
    token_ids: list[int] | None = None
    finish_reason: str | None = None


def record_question(
    connection: Connection,
    conversation_id: str,
    user: str,
    messages: Sequence[Mapping[str, str]],
    answers: Sequence[NewAnswer],
) -> tuple[str, list[str]]:
    """Gives the ids of the question and of the answers. `messages` end with the question."""
    if not messages or messages[-1]["role"] != "user":
        raise FeedbackError("the messages end with a question: the last one's role is 'user'")
    if strange := {message["role"] for message in messages} - {"system", "user", "assistant"}:
        raise FeedbackError(f"a message's role is 'system', 'user' or 'assistant', not {', '.join(sorted(strange))}")
    if any(message["role"] == "system" for message in messages[1:]):
        raise FeedbackError("a system message comes first, and this one comes later")
    add(connection, tables.conversations, Conversation, {"id": conversation_id, "user": user}, {"consent": True})
    parent_id: str | None = None
    for place, message in enumerate(messages):
        id = f"{conversation_id}-{place}"
        parent_id = _say(connection, id, conversation_id, parent_id, message["role"], NewAnswer(message["content"]))
    assert parent_id is not None
    ids = []
    for answer in answers:
        id = f"{conversation_id}-{hashlib.sha256(valid(answer.text).encode()).hexdigest()[:16]}"
        ids.append(_say(connection, id, conversation_id, parent_id, "assistant", answer))
    return parent_id, ids


def _say(
    connection: Connection, id: str, conversation_id: str, parent_id: str | None, role: str, said: NewAnswer
) -> str:
    given = {"id": id, "conversation_id": conversation_id, "role": role, "text": valid(said.text)}
    made: dict[str, Any] = {"model_id": said.model_id, "sampling": said.sampling}
    made |= {"token_ids": said.token_ids, "finish_reason": said.finish_reason, "parent_id": parent_id}
    return add(connection, tables.messages, Message, given, made).id
