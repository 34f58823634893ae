"""What the chat page shows of earlier conversations, read from the workspace. Slow enough to belong in a thread.

A conversation is a tree: a question asked in other words and an answer made again stand beside the first. What is shown
is one branch of it. Of a blind pair it leads through the answer that was chosen, before that through the left one.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from homeroom.workspace import Feedback, FeedbackError, Listed, Message, Pair, Pairs

LISTED = 40
COMPLETE = ("stop", "length")


@dataclass(frozen=True)
class OpenPair:
    """Two answers between which the person may still choose."""

    pair: Pair
    left: Message
    right: Message


@dataclass(frozen=True)
class Past:
    """A question with the answer that followed, and what this user made of it.

    `questions` and `answers` are the ids of those that stand in the same place, themselves included, the oldest first.
    """

    question: Message
    answer: Message
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    vote: Literal[1, -1, 0]
    better: str
    pair: OpenPair | None = None


def listed(feedback: Feedback, user: str, search: str = "") -> list[Listed]:
    """The user's conversations, the newest first; only those where the words of `search` were said."""
    return feedback.search(user, search, LISTED) if search.strip() else feedback.titles(user, LISTED)


def past(
    feedback: Feedback, user: str, conversation_id: str, through: str | None = None, pairs: Pairs | None = None
) -> list[Past] | None:
    """The branch with the newest answer; with the newest of those that come of message `through`, if it is given.

    None: there is no such conversation, or it is another user's.
    """
    try:
        if feedback.user_of(conversation_id) != user:
            return None
        stored = {message.id: message for message in feedback.conversation(conversation_id)}
    except FeedbackError:
        return None
    branch: list[Message] = []
    answered = [one for one in stored.values() if _is_answer(one, stored)]
    shown_pairs = pairs.of_conversation(conversation_id, user) if pairs is not None else []
    behind = {
        pair.left_id if choice == "right" else pair.right_id
        for pair, choice in shown_pairs
        if pair.left_id in stored and pair.right_id in stored
    }
    newest_first = answered[::-1]
    newest_first.sort(key=lambda one: one.id in behind)
    for answer in newest_first:
        branch = _up_to(answer, stored)
        if through is None or any(message.id == through for message in branch):
            break
    else:
        return []
    unchosen = [pair for pair, choice in shown_pairs if choice is None]
    better, votes = feedback.better_answers(conversation_id, user), feedback.votes_in(conversation_id, user)
    shown = []
    for question, answer in pairwise(branch):
        if _is_answer(answer, stored):
            # A question that nobody answered has nothing to show.
            asked = {one.parent_id for one in answered}
            beside = (one for one in stored.values() if one.parent_id == question.parent_id and one.id in asked)
            made = tuple(one.id for one in answered if one.parent_id == question.id)
            vote: Literal[1, -1, 0] = votes.get(answer.id, 0)
            questions = tuple(one.id for one in beside)
            asked_of = _open(question, made, unchosen, stored)
            if asked_of is not None:
                answer, vote = asked_of.left, 0
            shown.append(Past(question, answer, questions, made, vote, better.get(answer.id, ""), asked_of))
    return shown


def _open(
    question: Message, answers: tuple[str, ...], pairs: list[Pair], stored: dict[str, Message]
) -> OpenPair | None:
    """The pair that may be chosen from: whole, not the same twice, and the last that was said."""
    followed = {message.parent_id for message in stored.values()}
    for pair in pairs:
        both = {pair.left_id, pair.right_id}
        if pair.question_id != question.id or set(answers[-2:]) != both or both & followed:
            continue
        left, right = stored[pair.left_id], stored[pair.right_id]
        if left.text != right.text and {left.finish_reason, right.finish_reason} <= set(COMPLETE):
            return OpenPair(pair, left, right)
    return None


def _is_answer(message: Message, stored: dict[str, Message]) -> bool:
    parent = stored.get(message.parent_id or "")
    return message.role == "assistant" and parent is not None and parent.role == "user"


def _up_to(message: Message, stored: dict[str, Message]) -> list[Message]:
    branch = [message]
    while (parent := branch[-1].parent_id) is not None:
        branch.append(stored[parent])
    return branch[::-1]
