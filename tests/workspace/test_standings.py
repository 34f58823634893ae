import json
from pathlib import Path

import pytest

from homeroom.workspace import FeedbackError, Workspace, tables
from homeroom.workspace.standings import SET_ASIDE


def judged(workspace: Workspace) -> dict[str, str]:
    """Something of every kind that four people said; the rows' ids by person."""
    item = workspace.queue.add_item([{"role": "user", "content": "Why?"}], ["so", "or so"])
    one, other = item.answer_ids
    return {
        "ann": workspace.feedback.vote(one, 1, user="ann").id,
        "bob": workspace.feedback.edit(other, "because", user="bob").id,
        "cid": workspace.feedback.rank(item.question_id, [[one], [other]], user="cid").id,
        "dan": workspace.feedback.compare(one, other, "left", user="dan").id,
    }


def test_the_last_word_holds_until_it_is_taken_back(workspace: Workspace) -> None:
    judged(workspace)
    workspace.standings.say_all([("ann", "restored"), ("bob", "distrusted"), ("cid", "distrusted")])
    workspace.standings.say("ann", "distrusted")
    workspace.standings.say("cid", "judged")
    assert workspace.standings.all() == {"ann": "distrusted", "bob": "distrusted"}


def test_who_said_a_word_is_on_record(workspace: Workspace) -> None:
    judged(workspace)
    before = tables.now()
    workspace.standings.say_all([("ann", "restored"), ("bob", "restored"), ("dan", "restored")], by="olga")
    workspace.standings.say("bob", "distrusted", by="oleg")
    workspace.standings.say("cid", "restored")
    workspace.standings.say("dan", "judged", by="oleg")
    with workspace._database.write() as connection:  # as it was before that was kept
        connection.execute(tables.standings.insert().values(user="eve", word="restored", at=before))
    said = workspace.standings.said()
    assert {user: (one.word, one.by) for user, one in said.items()} == {
        "ann": ("restored", "olga"),
        "bob": ("distrusted", "oleg"),
        "cid": ("restored", "local"),
        "eve": ("restored", None),
    }
    assert before < said["ann"].at < said["bob"].at <= tables.now()


def test_a_word_about_nobody_is_refused_and_none_is_said(workspace: Workspace) -> None:
    judged(workspace)
    with pytest.raises(FeedbackError, match=r"nobody called anna has judged.*Who has: ann, bob, cid, dan\."):
        workspace.standings.say_all([("ann", "restored"), ("anna", "restored")])
    with pytest.raises(FeedbackError, match="several about ann"):
        workspace.standings.say_all([("ann", "restored"), ("ann", "distrusted")])
    with pytest.raises(FeedbackError, match="a word is one of restored, distrusted, judged, not good"):
        workspace.standings.say("ann", "good")  # type: ignore[arg-type]
    assert workspace.standings.all() == {}


def test_rows_set_aside_get_their_names_back_and_what_is_deleted_is_gone(workspace: Workspace, tmp_path: Path) -> None:
    ids = judged(workspace)
    answer = workspace.feedback.compared()[0].left.message_id
    rows = [
        {"vote_id": ids["ann"], "edit_id": None, "message_id": answer, "reason": "brigade", "share": 1.0},
        {"vote_id": None, "edit_id": ids["bob"], "message_id": answer, "reason": "cap", "share": 1.0},
        {"ranking_id": ids["cid"], "message_id": answer, "reason": "replaced", "share": 0.5},
        {"comparison_id": ids["dan"], "message_id": answer, "reason": "brigade", "share": 1.0},
    ]
    (tmp_path / SET_ASIDE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = workspace.standings.set_aside(tmp_path)
    assert [(one.user, one.kind, one.reason, one.share, one.text) for one in found] == [
        ("ann", "vote", "brigade", 1.0, "so"),
        ("bob", "edit", "cap", 1.0, "so"),
        ("cid", "ranking", "replaced", 0.5, "so"),
        ("dan", "comparison", "brigade", 1.0, "so"),
    ]
    workspace.standings.say("bob", "restored")
    workspace.forget("bob")
    assert workspace.standings.all() == {}
    assert [one.user for one in workspace.standings.set_aside(tmp_path)] == ["ann", "cid", "dan"]
    assert workspace.standings.set_aside(tmp_path / "older") == []


def test_asking_where_judgements_have_got_to(workspace: Workspace) -> None:
    before = workspace.judged_up_to()
    judged(workspace)
    after = workspace.judged_up_to()
    assert before != after == workspace.judged_up_to()
    workspace.feedback.vote(workspace.feedback.votes()[0].message_id, -1, user="ann")
    assert workspace.judged_up_to() != after
