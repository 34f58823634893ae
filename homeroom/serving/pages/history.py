"""What the chat page shows of earlier conversations, read from the workspace. Slow enough to belong in a thread."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from homeroom.workspace import Feedback, FeedbackError, Message

LISTED = 40


@dataclass(frozen=True)
class Listed:
    conversation_id: str
    title: str


@dataclass(frozen=True)
class Past:
    """A question with the answer that followed, and what this user made of it."""

    question: str
    answer: Message
    vote: Literal[1, -1, 0]
    better: str


def listed(feedback: Feedback, user: str) -> list[Listed]:
    """The user's conversations by their first question, the newest first."""
    mine = [each.id for each in feedback.conversations(LISTED, user)]
    firsts = [(one, next((m.text for m in feedback.conversation(one) if m.role == "user"), "")) for one in mine]
    return [Listed(one, " ".join(first[:200].split())) for one, first in firsts if first]


def past(feedback: Feedback, user: str, conversation_id: str) -> list[Past] | None:
    """The branch that was written last. None: there is no such conversation, or it is another user's."""
    try:
        if feedback.user_of(conversation_id) != user:
            return None
        stored = {message.id: message for message in feedback.conversation(conversation_id)}
    except FeedbackError:
        return None
    branch: list[Message] = []
    at = next(reversed(stored), None)
    while at is not None:
        branch.append(stored[at])
        at = stored[at].parent_id
    better = feedback.better_answers(conversation_id, user)
    shown = []
    for question, answer in pairwise(reversed(branch)):
        if question.role == "user" and answer.role == "assistant":
            vote = feedback.vote_on(answer.id, user)
            shown.append(Past(question.text, answer, vote.value if vote else 0, better.get(answer.id, "")))
    return shown
