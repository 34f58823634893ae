"""Judgements as JSONL in the formats that other tools speak, out of a workspace and into one.

pairs      {"messages": […], "chosen": "…", "rejected": "…"}: DPO; "prompt" for "messages" is read too, as are lists of
           messages for "chosen" and "rejected", with or without the prompt in them
thumbs     {"messages": [… up to the answer], "label": true}: KTO; "prompt" with "completion" is read too
rankings   {"messages": […], "answers": ["…"], "tiers": [[0], [1, 2]]}, best first; "flags" and "ideal_answer" as well

Nobody's name leaves: "annotator" numbers people within a file. An "id" is kept, so that what comes back is known.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from sqlalchemy import Connection

from homeroom.files import written_aside
from homeroom.workspace import rankings, tables
from homeroom.workspace.database import Database
from homeroom.workspace.derived import (
    Known,
    pair_of_edit,
    pair_of_ranking,
    pair_of_votes,
    short_hash,
    thumb_of_edit,
)
from homeroom.workspace.errors import FeedbackError, WorkspaceError
from homeroom.workspace.feedback import Feedback, Vote
from homeroom.workspace.judged import JudgedAnswer
from homeroom.workspace.questions import NewAnswer, record_question
from homeroom.workspace.rows import add, valid

Format = Literal["pairs", "thumbs", "rankings"]
FORMATS: tuple[Format, ...] = get_args(Format)
BATCH = 500  # lines in one transaction: other writers wait no longer than it takes
# They may stand in JSON as they are, but many a reader of lines takes them for a line's end.
_BREAKS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_ANNOTATOR = re.compile(r"[A-Za-z0-9_.-]{1,40}")


@dataclass(frozen=True)
class Imported:
    """How many judgements were new and how many were there already; what was wrong, by line number."""

    format: Format | None
    added: int
    known: int
    bad: dict[int, str]


@dataclass
class _Numbers:
    """People by the order in which they appear."""

    seen: dict[str, str] = field(default_factory=dict)

    def of(self, user: str) -> str:
        return self.seen.setdefault(user, f"a{len(self.seen) + 1}")


class _BadLine(Exception):
    """What is wrong with a line, for the person who has the file."""


def export(feedback: Feedback, path: Path, format: Format) -> int:
    """Write every judgement that counts and may be learned from; how many lines that were."""
    lines = {"pairs": _pairs, "thumbs": _thumbs, "rankings": _rankings}[format](feedback, _Numbers())
    count = 0
    try:
        with written_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False).translate(_BREAKS) + "\n")
                count += 1
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}") from error
    return count


def _pairs(feedback: Feedback, numbers: _Numbers) -> Iterator[dict[str, Any]]:
    """Choices, orders, better answers, and one person's thumbs up above the same person's thumbs down."""
    for one in feedback.compared():
        if one.choice != "tie":
            sides = (one.left, one.right) if one.choice == "left" else (one.right, one.left)
            yield _pair(one.id, numbers.of(one.user), one.history, sides[0].text, sides[1].text)
    for ranked in feedback.ranked():
        tier_of = {place: tier for tier, places in enumerate(ranked.tiers) for place in places}
        for better, worse in ((i, j) for i in tier_of for j in tier_of if tier_of[i] < tier_of[j]):
            texts = ranked.answers[better].text, ranked.answers[worse].text
            name = pair_of_ranking(ranked.id, better, worse)
            yield _pair(name, numbers.of(ranked.user), ranked.history, *texts)
    votes = feedback.votes()
    by_place: dict[tuple[str, str], list[JudgedAnswer]] = {}
    for vote in votes:
        by_place.setdefault((json.dumps(vote.history), vote.user), []).append(vote)
        if vote.better_answer is not None:
            texts = vote.better_answer, vote.answer
            yield _pair(pair_of_edit(str(vote.edit_id)), numbers.of(vote.user), vote.history, *texts)
    for (_, user), judged in by_place.items():
        for up, down in ((up, down) for up in judged for down in judged if up.value > down.value):
            if up.answer != down.answer:
                name = pair_of_votes(str(up.vote_id), str(down.vote_id or down.edit_id))
                yield _pair(name, numbers.of(user), up.history, up.answer, down.answer)


def _pair(id: str, annotator: str, messages: list[dict[str, str]], chosen: str, rejected: str) -> dict[str, Any]:
    return {"id": id, "annotator": annotator, "messages": messages, "chosen": chosen, "rejected": rejected}


def _thumbs(feedback: Feedback, numbers: _Numbers) -> Iterator[dict[str, Any]]:
    for vote in feedback.votes():
        messages = [*vote.history, {"role": "assistant", "content": vote.answer}]
        id = vote.vote_id or thumb_of_edit(str(vote.edit_id))
        yield {"id": id, "annotator": numbers.of(vote.user), "messages": messages, "label": vote.value > 0}


def _rankings(feedback: Feedback, numbers: _Numbers) -> Iterator[dict[str, Any]]:
    for one in feedback.ranked():
        line: dict[str, Any] = {"id": one.id, "annotator": numbers.of(one.user), "messages": one.history}
        line |= {"answers": [answer.text for answer in one.answers], "tiers": one.tiers}
        if any(one.flags):
            line["flags"] = one.flags
        if one.ideal_answer is not None:
            line["ideal_answer"] = one.ideal_answer
        yield line


def import_file(database: Database, path: Path, user: str = "import") -> Imported:
    """Read a file of any of the formats. Good lines are kept whatever the others are; nothing is added twice.

    The judgements are of `user`, or of `user`-annotator where the lines name annotators.
    """
    added, there, bad, format = 0, 0, dict[int, str](), None
    known = Known()
    try:
        with path.open("rb") as file:
            numbered = enumerate(file, start=1)
            while batch := list(islice(numbered, BATCH)):
                with database.write() as connection:
                    for number, raw in batch:
                        if not raw.strip():
                            continue
                        try:
                            line = _read_line(raw)
                            found = _format_of(line)
                            if format not in (None, found):
                                raise _BadLine(f"it is of {found}, the lines before are of {format}")
                            with connection.begin_nested():
                                new = _READERS[found](connection, known, line, user)
                            format = found
                            added, there = added + new, there + (not new)
                        except (_BadLine, FeedbackError) as error:
                            bad[number] = str(error)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    return Imported(format, added, there, bad)


@dataclass(frozen=True)
class Asked:
    """A question for the annotators and the line that it came from; `answers`, where they came with it."""

    line: int
    messages: list[dict[str, str]]
    answers: list[str] | None


def read_questions(path: Path) -> tuple[list[Asked], dict[int, str]]:
    """{"prompt": "…"} or {"messages": […]} up to the question, maybe with "answers": ["…", "…"]; and what is wrong, by
    line number."""
    asked, bad = list[Asked](), dict[int, str]()
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.strip():
                    continue
                try:
                    line = _read_line(raw)
                    messages = _prompt(line)
                    if messages[-1]["role"] != "user":
                        raise _BadLine("the last message is the question: its role is 'user'")
                    asked.append(Asked(number, messages, _given_answers(line) if "answers" in line else None))
                except _BadLine as error:
                    bad[number] = str(error)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    return asked, bad


def _read_line(raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _BadLine(f"it is no JSON ({error})") from error
    if not isinstance(line, dict):
        raise _BadLine("it is no JSON object")
    return line


def _format_of(line: dict[str, Any]) -> Format:
    if "chosen" in line and "rejected" in line:
        return "pairs"
    if "label" in line:
        return "thumbs"
    if "answers" in line and "tiers" in line:
        return "rankings"
    raise _BadLine("it has neither 'chosen' and 'rejected', nor 'label', nor 'answers' and 'tiers'")


def _import_pair(connection: Connection, known: Known, line: dict[str, Any], user: str) -> bool:
    chosen, rejected = line["chosen"], line["rejected"]
    if "prompt" in line or "messages" in line:
        messages = _prompt(line)
        best, worst = (_answer(_after(_turns(side, "assistant"), messages)) for side in (chosen, rejected))
    else:  # both sides hold the whole conversation
        one, two = _turns(chosen, "assistant"), _turns(rejected, "assistant")
        messages = one[:-1]
        if two[:-1] != messages:
            raise _BadLine("'chosen' and 'rejected' differ before the last message, and there is no 'prompt'")
        best, worst = _answer(one[-1:]), _answer(two[-1:])
    if valid(best) == valid(worst):
        raise _BadLine("'chosen' and 'rejected' say the same")
    id, who, question = _begin(line, user, ["pairs", messages, best, worst])
    if known.holds(connection, tables.comparisons, id):
        return False
    _, (best_id, worst_id) = record_question(connection, question, user, messages, [NewAnswer(best), NewAnswer(worst)])
    # On either side, as those that people compared here: what learns from sides learns nothing.
    left = int(short_hash(id), 16) % 2 == 0
    sides = (best_id, worst_id) if left else (worst_id, best_id)
    rankings.compare(connection, *sides, "left" if left else "right", "samples", id, who)
    return True


def _import_thumb(connection: Connection, known: Known, line: dict[str, Any], user: str) -> bool:
    if not isinstance(line["label"], bool):
        raise _BadLine("'label' is true or false")
    if "completion" in line:
        messages = _prompt(line)
        answer = _answer(_after(_turns(line["completion"], "assistant"), messages))
    else:
        whole = _prompt(line)
        messages, answer = whole[:-1], _answer(whole[-1:])
    id, who, question = _begin(line, user, ["thumbs", messages, answer, line["label"]])
    if known.holds(connection, tables.votes, id):
        return False
    _, (answer_id,) = record_question(connection, question, user, messages, [NewAnswer(answer)])
    add(connection, tables.votes, Vote, _vote(id, answer_id, who, line["label"]))
    return True


def _vote(id: str, message_id: str, user: str, label: bool) -> dict[str, Any]:
    return {"id": id, "message_id": message_id, "user": user, "value": 1 if label else -1}


def _import_ranking(connection: Connection, known: Known, line: dict[str, Any], user: str) -> bool:
    messages, answers, tiers = _prompt(line), _given_answers(line), line["tiers"]
    if not isinstance(tiers, list) or not all(isinstance(tier, list) for tier in tiers):
        raise _BadLine("'tiers' is a list of lists of places in 'answers'")
    places = [place for tier in tiers for place in tier]
    if not all(type(place) is int and 0 <= place < len(answers) for place in places):
        raise _BadLine(f"'tiers' holds places in 'answers', 0 to {len(answers) - 1}")
    flags, ideal = line.get("flags", [[]] * len(answers)), line.get("ideal_answer")
    if not isinstance(flags, list) or len(flags) != len(answers) or not all(isinstance(each, list) for each in flags):
        raise _BadLine("'flags' is a list as long as 'answers', of lists")
    if not all(isinstance(flag, str) for each in flags for flag in each):
        raise _BadLine("'flags' holds lists of texts")
    if ideal is not None and not isinstance(ideal, str):
        raise _BadLine("'ideal_answer' is a text")
    id, who, question = _begin(line, user, ["rankings", messages, answers, tiers, flags, ideal])
    if known.holds(connection, tables.rankings, id):
        return False
    question_id, ids = record_question(connection, question, user, messages, [NewAnswer(text) for text in answers])
    order = [[ids[place] for place in tier] for tier in tiers]
    by_id: dict[str, Any] = {one: each for one, each in zip(ids, flags, strict=True) if each}
    rankings.rank(connection, question_id, order, by_id, ideal, id, who)
    return True


_READERS = {"pairs": _import_pair, "thumbs": _import_thumb, "rankings": _import_ranking}


def _begin(line: dict[str, Any], user: str, content: list[Any]) -> tuple[str, str, str]:
    """The judgement's id, whose it is, and the id of the conversation that holds the question."""
    id, annotator = line.get("id"), line.get("annotator")
    if id is not None and not (isinstance(id, str) and _ID.fullmatch(id)):
        raise _BadLine("'id' is 1 to 100 of the letters A-Z a-z 0-9 _ . : -")
    if annotator is not None and not (isinstance(annotator, str) and _ANNOTATOR.fullmatch(annotator)):
        raise _BadLine("'annotator' is 1 to 40 of the letters A-Z a-z 0-9 _ . -")
    who = user if annotator is None else f"{user}-{annotator}"
    question = f"import-{short_hash(user, json.dumps(content[1]))}"
    return id or f"import-{short_hash(who, json.dumps(content))}", who, question


def _prompt(line: dict[str, Any]) -> list[dict[str, str]]:
    given = line.get("messages", line.get("prompt"))
    if given is None:
        raise _BadLine("it has no 'messages' and no 'prompt'")
    return _turns(given, "user")


def _given_answers(line: dict[str, Any]) -> list[str]:
    answers = line["answers"]
    if not isinstance(answers, list) or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise _BadLine("'answers' is a list of texts")
    if len({valid(answer) for answer in answers}) < len(answers):
        raise _BadLine("two of the 'answers' say the same")
    return answers


def _turns(given: object, role: str) -> list[dict[str, str]]:
    """Messages, or a bare text as one message of this role."""
    if isinstance(given, str):
        given = [{"role": role, "content": given}]
    if not isinstance(given, list) or not given:
        raise _BadLine("a list of messages, or a text, was expected, and it may not be empty")
    turns = list[dict[str, str]]()
    for turn in given:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            raise _BadLine('a message is {"role": "…", "content": "…"}')
        if turn.get("role") not in ("system", "user", "assistant"):
            raise _BadLine(f"a message's role is 'system', 'user' or 'assistant', not {turn.get('role')!r}")
        if not turn["content"].strip():
            raise _BadLine("a message is empty")
        if turn["role"] == "system" and turns:
            raise _BadLine("a system message comes first, and this one comes later")
        turns.append({"role": turn["role"], "content": turn["content"]})
    return turns


def _after(turns: Sequence[dict[str, str]], prompt: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
    """Without the prompt, where a side repeats it."""
    return turns[len(prompt) :] if list(turns[: len(prompt)]) == list(prompt) else turns


def _answer(turns: Iterable[dict[str, str]]) -> str:
    said = list(turns)
    if len(said) != 1 or said[0]["role"] != "assistant":
        raise _BadLine("an answer is one message of the assistant's")
    return said[0]["content"]
