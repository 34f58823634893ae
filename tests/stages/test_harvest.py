"""What people said becomes lessons with weights; what was set aside is shown, and an operator's word is obeyed."""

import json

import pytest
from typer.testing import CliRunner

from homeroom import cli
from homeroom.data.preferences import load_pairs, load_thumbs
from homeroom.data.trust import TrustSettings
from homeroom.settings import Frozen, HomeroomError
from homeroom.stages import harvest
from homeroom.workspace import Workspace


class Made(Frozen):
    by: str = "a test"


@pytest.fixture
def opened(tmp_path):
    """A champion that came from elsewhere, and what three people said of answers to twenty questions."""
    with Workspace.open(tmp_path / "w") as workspace:
        with workspace.publish("imported", Made()) as draft:
            pass
        workspace.registry.promote(draft.artifact.id, {"reasons": []})
        for number in range(20):
            asked = [{"role": "user", "content": f"What is the number {number * 7919}?"}]
            item = workspace.queue.add_item(asked, ["one", "two", "three"])
            one, two, three = item.answer_ids
            workspace.feedback.vote_all([(one, 1, None), (three, -1, None)], user="ann")
            if number < 10:
                workspace.feedback.vote(three, -1, user="bob")
            if number < 5:
                workspace.feedback.rank(item.question_id, [[one, two], [three]], ideal_answer="uno", user="cid")
                workspace.feedback.compare(two, three, "left", user="bob")
        yield workspace


CONFIG = harvest.Config(trust=TrustSettings(votes_per_person=15))


def homeroom(*arguments):
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_all_that_was_said_is_weighed_and_an_operator_has_the_last_word(opened):
    made = harvest.run(CONFIG, opened)
    metrics = made.metrics
    assert (metrics["answers"], metrics["rankings"], metrics["comparisons"]) == (50, 5, 5)
    assert metrics["set_aside"] == {"cap": 25}  # ann's forty votes are more than fifteen
    assert (metrics["people"], metrics["people_set_aside"]) == (3, 0)
    pairs, thumbs = load_pairs(made.path / "pairs.jsonl"), load_thumbs(made.path / "thumbs.jsonl")
    assert any(0 < one.weight < 1 for one in pairs)  # of rankings
    assert {one.answer.text for one in thumbs if one.answer.written} == {"uno"}  # no answer here has tokens
    read = [json.loads(line) for line in (made.path / "sources.jsonl").read_text().splitlines()]
    for key, count in (("vote_id", 50), ("ranking_id", 5), ("comparison_id", 5)):
        assert len({row[key] for row in read if row.get(key)}) == count
    assert "ann" not in (made.path / "set_aside.jsonl").read_text()
    assert harvest.run(CONFIG, opened).id == made.id

    where = ("-w", opened.path)
    shown = homeroom("feedback", "set-aside", *where)
    assert "ann" in shown
    assert "25" in shown
    assert "cap" in shown
    assert "and 5 more: --all" in shown
    told = homeroom("feedback", "set-aside", "--restore", "ann", "--distrust", "cid", "--distrust", "bob", *where)
    assert "The next harvest obeys" in told
    obeyed = harvest.run(CONFIG, opened)
    assert obeyed.id != made.id
    assert obeyed.metrics["people_set_aside"] == 2
    found = json.loads(homeroom("feedback", "set-aside", "--json", *where))
    assert found["words"] == {"ann": "restored", "cid": "distrusted", "bob": "distrusted"}
    assert set(found["said_by"].values()) == {"the command line"}
    assert "restored (the command line)" in homeroom("feedback", "set-aside", *where)
    assert {(one["user"], one["kind"]) for one in found["set_aside"]} == {
        ("bob", "vote"), ("bob", "comparison"), ("cid", "ranking"),
    }  # fmt: skip
    thumbs = load_thumbs(obeyed.path / "thumbs.jsonl")
    assert (len(thumbs), {one.weight for one in thumbs}) == (40, {1.0})
    assert "uno" not in {one.answer.text for one in thumbs}
    homeroom("feedback", "set-aside", *(part for name in ("ann", "bob", "cid") for part in ("--judge", name)), *where)
    assert harvest.run(CONFIG, opened).id == made.id
    refused = CliRunner().invoke(cli.app, ["feedback", "set-aside", "--restore", "eve", "-w", str(opened.path)])
    assert (refused.exit_code, "nobody called eve" in refused.output) == (1, True)


def test_nothing_of_a_conversation_that_may_not_be_learned_from_is_harvested(opened):
    """Not even that somebody turned round in it again and again."""
    feedback = opened.feedback
    before = harvest.run(CONFIG, opened)
    quiet = [feedback.message(one.question_id).conversation_id for one in feedback.ranked()]
    rows = [vote for vote in feedback.votes() if feedback.message(vote.message_id).conversation_id in quiet]
    assert (len(quiet), len(rows)) == (5, 15)
    anns = [vote.message_id for vote in rows if vote.user == "ann"]
    for turn in range(12):
        feedback.vote_all([(answer, 1 if turn % 2 else -1, None) for answer in anns], user="ann")
    assert harvest.run(CONFIG, opened).metrics["set_aside"]["contradictory"] > 0
    for conversation in quiet:
        feedback.set_consent(conversation, False)
    made = harvest.run(CONFIG, opened)
    assert (made.metrics["answers"], made.metrics["rankings"], made.metrics["comparisons"]) == (35, 0, 0)
    assert made.metrics["set_aside"] == {"cap": 15}
    asked = {feedback.message(vote.message_id).conversation_id for vote in feedback.votes()}
    read = [json.loads(line) for line in (made.path / "sources.jsonl").read_text().splitlines()]
    assert {feedback.message(row["message_id"]).conversation_id for row in read} == asked
    assert not asked & set(quiet)
    lessons = (made.path / "pairs.jsonl").read_text() + (made.path / "thumbs.jsonl").read_text()
    secret = {feedback.conversation(conversation)[0].text for conversation in quiet}
    assert not [text for text in secret if text in lessons]
    assert [text for text in secret if text in (before.path / "thumbs.jsonl").read_text()]


def test_what_is_deleted_or_taken_back_while_it_is_read_is_in_no_harvest(opened, monkeypatch):
    """Whoever had it deleted was told that nothing had been made of it."""
    weigh = harvest.weigh

    def meanwhile(*said):
        opened.forget("cid")
        return weigh(*said)

    monkeypatch.setattr(harvest, "weigh", meanwhile)
    with pytest.raises(HomeroomError, match="deleted or taken back while they were read: harvest again"):
        harvest.run(CONFIG, opened)
    assert "harvest" not in {one.stage for one in opened.artifacts.all()}
    made = harvest.run(CONFIG, opened)
    assert made.metrics["rankings"] == 0
    assert "uno" not in (made.path / "thumbs.jsonl").read_text()


def test_an_operator_may_say_most_of_what_is_said(opened):
    """A small team's owner, beside two friends: a cap on one person would leave out nearly all."""
    for name, role in (("ann", "operate"), ("bob", "annotate")):
        opened.users.create(name, role, "a long passphrase")
    made = harvest.run(CONFIG, opened)
    assert (made.metrics["set_aside"], made.metrics["people_set_aside"]) == ({}, 0)
    opened.standings.say("ann", "distrusted")
    assert harvest.run(CONFIG, opened).metrics["people_set_aside"] == 1
    opened.standings.say("ann", "judged")
    opened.users.set_role("ann", "annotate")
    assert harvest.run(CONFIG, opened).metrics["set_aside"] == {"cap": 25}


def test_who_turns_round_again_and_again_contradicts_and_who_thinks_again_does_not(opened):
    answers = [vote.message_id for vote in opened.feedback.votes() if vote.user == "bob"]
    for turn in range(6):
        for answer in answers[:5]:
            opened.feedback.vote(answer, 1 if turn % 2 else -1, user="dan")
    for answer in answers[:3]:  # three of her forty
        opened.feedback.vote(answer, 1, user="ann")
        opened.feedback.vote(answer, -1, user="ann")
    opened.feedback.vote_all([(answer, 0, None) for answer in answers[:2]], user="dan")
    made = harvest.run(harvest.Config(trust=TrustSettings(share_per_person=1)), opened)
    assert (made.metrics["set_aside"], made.metrics["people_set_aside"]) == ({"contradictory": 3}, 1)
