import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select

from homeroom.settings import Frozen
from homeroom.workspace import Artifact, Workspace, tables
from homeroom.workspace.deletion import COLUMNS, Removed, readers
from homeroom.workspace.errors import WorkspaceError


class Config(Frozen):
    name: str = "x"


def make(workspace: Workspace, stage: str, inputs: Sequence[Artifact] = (), name: str = "x", **files: str) -> Artifact:
    with workspace.publish(stage, Config(name=name), inputs) as draft:
        for file, content in files.items():
            (draft.path / file.replace("__", ".")).write_text(content, encoding="utf-8")
    return draft.artifact


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def talk(workspace: Workspace, user: str, text: str = "hello") -> tuple[str, list[str]]:
    conversation = workspace.feedback.open_conversation(user=user).id
    question = workspace.feedback.add_message(conversation, "user", text).id
    answers = [
        workspace.feedback.add_message(conversation, "assistant", f"{text} {n}", parent_id=question).id for n in "12"
    ]
    return question, answers


def rows(workspace: Workspace) -> dict[str, int]:
    counted = [table for table in tables.metadata.sorted_tables if table.name not in ("artifacts", "runs", "keys")]
    with workspace._database.read() as connection:
        counts = {table.name: connection.execute(select(func.count()).select_from(table)).scalar() for table in counted}
    return {name: count for name, count in counts.items() if count}


def test_a_persons_rows_go_and_what_others_said_of_them(workspace: Workspace) -> None:
    feedback, queue = workspace.feedback, workspace.queue
    anns, (one, two) = talk(workspace, "ann")
    bobs, (three, four) = talk(workspace, "bob")
    for user in ("ann", "bob"):
        for question, (best, worst) in ((anns, (one, two)), (bobs, (three, four))):
            feedback.vote(best, 1, user=user)
            feedback.edit(worst, "better", user=user)
            feedback.rank(question, [[best], [worst]], user=user)
            feedback.compare(best, worst, "left", user=user)
    item = queue.add_item([{"role": "user", "content": "?"}], ["a", "b"], user="ann")
    for user in ("ann", "bob"):
        assert queue.next(user) is not None or user == "bob"
    forgotten = workspace.forget("ann")
    assert forgotten.rows == {
        "votes": 3, "edits": 3, "rankings": 3, "comparisons": 3, "items": 1, "messages": 6, "conversations": 2
    }  # fmt: skip
    assert rows(workspace) == {
        "conversations": 1, "messages": 3, "votes": 1, "edits": 1, "rankings": 1, "comparisons": 1
    }  # fmt: skip
    assert {(judged.user, judged.message_id) for judged in feedback.votes()} == {("bob", three), ("bob", four)}
    assert [ranked.user for ranked in feedback.ranked()] == ["bob"]
    assert item.question_id not in {message.id for message in feedback.conversation(feedback.conversations()[0].id)}
    again = workspace.forget("ann")
    assert (again.rows, again.artifacts, again.models) == ({}, [], [])


def test_what_was_made_of_the_rows_is_named_at_however_many_removes(workspace: Workspace) -> None:
    _, (mine, _) = talk(workspace, "ann")
    _, (other, _) = talk(workspace, "bob")
    on_mine, on_other = (workspace.feedback.vote(answer, 1, user="cy").id for answer in (mine, other))
    anns = workspace.feedback.edit(other, "better", user="ann").id
    row = {"message_id": mine, "vote_id": on_mine, "edit_id": None}
    read = make(workspace, "harvest", name="read", sources__jsonl=lines(row))
    by_edit = make(workspace, "pairs", sources__jsonl=lines({"message_id": other, "vote_id": None, "edit_id": anns}))
    # The id of another table's row is no sign.
    others = make(workspace, "harvest", name="o", sources__jsonl=lines({"message_id": other, "vote_id": anns}))
    model = make(workspace, "improve", [read], model__safetensors="weights")
    small = make(workspace, "compress", [model], name="small", weights__safetensors="weights")
    checked = make(workspace, "evaluate", [small])
    make(workspace, "improve", [others], name="o", model__safetensors="weights")
    old = make(workspace, "harvest", name="old")  # of before there were lists
    draft = workspace.path / "work" / "harvest-begun"
    draft.mkdir()
    (draft / "sources.jsonl").write_text(lines(row) + '{"message_id": "to')
    forgotten = workspace.forget("ann")
    assert forgotten.artifacts == [read.id, by_edit.id, model.id, small.id, checked.id, old.id, draft.name]
    assert forgotten.models == [model.id, small.id]
    assert on_other in {judged.vote_id for judged in workspace.feedback.votes()}
    assert workspace.forget("nobody").artifacts == []


def test_an_older_harvest_than_the_first_row_did_not_read_it(workspace: Workspace) -> None:
    make(workspace, "harvest", name="old")
    talk(workspace, "ann")
    assert workspace.forget("ann").artifacts == []


def test_nothing_is_left_of_the_text_on_the_disk(sqlite_folder: Path) -> None:
    secret = "the-moon-is-a-secret" * 30
    with Workspace.open(sqlite_folder) as workspace:
        talk(workspace, "ann", secret)
        talk(workspace, "bob", "not-so-secret")
        workspace.forget("ann")
        stored = b"".join(path.read_bytes() for path in sqlite_folder.glob("homeroom.sqlite*"))
    assert b"not-so-secret" in stored
    assert secret[:20].encode() not in stored


def test_what_it_went_into_is_told_whatever_the_disk_says_afterwards(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are gone by then: whoever asks again would hear of nothing."""
    _, (answer, _) = talk(workspace, "ann")
    harvest = make(workspace, "harvest", sources__jsonl="damaged\n" + lines({"message_id": answer}))
    row = json.dumps({"text": "a\u2028b", "message_id": answer}, ensure_ascii=False)  # ends a line for some
    vote = make(workspace, "vote", votes__jsonl=f"{row}\n")

    def busy() -> None:
        raise WorkspaceError("the database is locked")

    monkeypatch.setattr(workspace._database, "erase", busy)
    forgotten = workspace.forget("ann")
    assert (forgotten.rows, forgotten.artifacts) == ({"messages": 3, "conversations": 1}, [harvest.id, vote.id])


def test_a_draft_that_is_published_between_two_looks_is_named(workspace: Workspace) -> None:
    _, (answer, _) = talk(workspace, "ann")
    made: list[Artifact] = []

    def published_now() -> list[Artifact]:
        made.append(make(workspace, "harvest", sources__jsonl=lines({"message_id": answer})))
        return workspace.artifacts.all()

    removed = Removed({table: set() for table in COLUMNS.values()} | {"messages": {answer}}, None)
    assert readers(removed, published_now, workspace.path / "work").artifacts == [made[0].id]


def test_a_deletion_that_fails_half_way_deletes_nothing(workspace: Workspace) -> None:
    _, (answer, _) = talk(workspace, "ann")
    workspace.feedback.vote(answer, 1, user="bob")
    before = rows(workspace)

    def stop(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM conversations"):
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            workspace.forget("ann")
    finally:
        event.remove(Engine, "before_cursor_execute", stop)
    assert rows(workspace) == before
    assert workspace.forget("ann").rows == {"votes": 1, "messages": 3, "conversations": 1}


_said = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["vote", "edit", "rank", "compare", "item"]), st.integers(0, 2)),
    max_size=12,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=_said)
def test_whatever_was_said_no_trace_of_a_person_stays_and_nothing_else_goes(workspace: Workspace, said: Any) -> None:
    """Against the same story told without the person."""
    run = uuid.uuid4().hex

    def tell(prefix: str, without: str | None) -> dict[str, int]:
        for owner in "abc":
            workspace.forget(f"{run}-{owner}")
        owners = [one for one in "abc" if one != without]
        asked = {owner: talk(workspace, f"{run}-{owner}", prefix) for owner in owners}
        for user, what, whose in said:
            if user == without or ("abc"[whose] == without and what != "item"):
                continue
            question, answers = asked.get("abc"[whose], ("", []))
            name = f"{run}-{user}"
            if what == "vote":
                workspace.feedback.vote(answers[0], 1, user=name)
            elif what == "edit":
                workspace.feedback.edit(answers[0], "better", user=name)
            elif what == "rank":
                workspace.feedback.rank(question, [answers], user=name)
            elif what == "compare":
                workspace.feedback.compare(*answers, "tie", user=name)
            else:
                workspace.queue.add_item([{"role": "user", "content": "?"}], "ab", user=name)
        if without is None:
            workspace.forget(f"{run}-a")
        return rows(workspace)

    assert tell("one", None) == tell("two", "a")
    for owner in "abc":
        workspace.forget(f"{run}-{owner}")
