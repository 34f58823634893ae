"""Which judgements an artifact read, and what a judgement, an answer or a conversation went into."""

import json
from typing import Any

from homeroom.settings import Frozen
from homeroom.workspace import Artifact, Workspace


class Config(Frozen):
    name: str


def make(workspace: Workspace, stage: str, *inputs: Artifact, name: str = "x", rows: list[dict[str, Any]]) -> Artifact:
    with workspace.publish(stage, Config(name=name), inputs) as draft:
        if rows:
            (draft.path / "sources.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if stage == "improve":
            (draft.path / "model.safetensors").write_bytes(b"0")
    return draft.artifact


def test_what_was_learned_from_is_listed_and_followed_in_both_directions(workspace: Workspace) -> None:
    said = workspace.feedback
    conversation = said.open_conversation(user="小明").id
    question = said.add_message(conversation, "user", "How?").id
    one, two = (said.add_message(conversation, "assistant", text, parent_id=question).id for text in ("So.", "No."))
    up, better = said.vote(one, 1, user="ann").id, said.edit(two, "Like this.", user="小明").id
    ranking = said.rank(question, [[one], [two]], ideal_answer="Thus.", user="bob").id
    comparison = said.compare(one, two, "left", user="bob").id
    unread = said.vote(two, -1, user="eve").id
    rows: list[dict[str, Any]] = [
        {"message_id": one, "vote_id": up, "edit_id": None},
        {"message_id": two, "vote_id": None, "edit_id": better},
        {"ranking_id": ranking},
        {"comparison_id": comparison},
        {"message_id": "m", "vote_id": "gone", "edit_id": None},
    ]
    harvest = make(workspace, "harvest", rows=rows)
    model = make(workspace, "improve", harvest, rows=[])
    make(workspace, "harvest", name="other", rows=[{"message_id": "else", "vote_id": "other", "edit_id": None}])

    total, found = workspace.learned_from(harvest)
    told = [(f.kind, f.id, f.gone, f.user, f.question, f.answer, f.value, f.written) for f in found]
    assert (total, told) == (
        5,
        [
            ("vote", up, False, "ann", "How?", "So.", 1, ""),
            ("edit", better, False, "小明", "How?", "No.", None, "Like this."),
            ("ranking", ranking, False, "bob", "How?", "", None, "Thus."),
            ("comparison", comparison, False, "bob", "How?", "", None, ""),
            ("vote", "gone", True, "", "", "", None, ""),
        ],
    )
    assert {f.conversation_id for f in found} == {conversation, None}
    assert (workspace.learned_from(harvest, 2)[0], len(workspace.learned_from(harvest, 2)[1])) == (5, 2)
    assert workspace.learned_from(model) == (0, [])

    for name in (conversation, question, one, two, up, better, ranking, comparison):
        into = workspace.went_into(name)
        if name == question:  # itself it is no judgement, and nothing lists it
            assert into is not None
            assert set(into.artifacts) == {harvest.id, model.id}
            continue
        assert into is not None, name
        assert (into.artifacts, into.models) == ([harvest.id, model.id], [model.id]), name
    into = workspace.went_into(unread)
    assert into is not None
    assert (into.artifacts, into.models) == ([], [])
    assert workspace.went_into("nothing") is None


def test_a_list_that_a_kill_tore_is_read_as_far_as_it_goes(workspace: Workspace) -> None:
    harvest = make(workspace, "harvest", rows=[{"message_id": "m", "vote_id": "v", "edit_id": None}])
    with (harvest.path / "sources.jsonl").open("a") as file:
        file.write('{"message_id": "x", "vo')
    assert workspace.learned_from(harvest)[0] == 1
