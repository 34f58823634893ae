import json
import shutil
import time

import pytest

from homeroom.serving.client import Client
from homeroom.settings import HomeroomError
from homeroom.stages import evaluate, harvest, vote
from homeroom.stages.lookup import champion
from homeroom.tasks.questions import questions
from homeroom.workspace import Workspace

CONFIG = vote.Config(questions=12, max_tokens=8, requests=4)


@pytest.fixture(scope="module")
def voted_on(promoted, prepared):
    return prepared(promoted, lambda workspace: vote.run(CONFIG, workspace))


@pytest.fixture
def workspace(request, tmp_path):
    """Its champion is the sft model; for a test that asks for `voted` there are votes in it."""
    template = request.getfixturevalue("voted_on" if "voted" in request.fixturenames else "promoted")
    shutil.copytree(template, tmp_path / "workspace")
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def voted(workspace):
    return workspace.latest("vote")


def test_every_vote_went_through_the_server_into_the_database(workspace, voted):
    judged = workspace.feedback.votes()
    assert len(judged) == voted.metrics["answers"] == 24
    assert {one.user for one in judged} == {vote.USER}
    assert {one.model_id for one in judged} == {champion(workspace).id}
    assert sum(one.value > 0 for one in judged) == voted.metrics["up"]
    assert voted.metrics["down"] == 24 - voted.metrics["up"]
    assert all(one.finish_reason in ("stop", "length") for one in judged)
    train = evaluate.read_documents(workspace.latest("clean").path / "documents.parquet", split="train")
    assert {one.question for one in judged} <= {question.prompt for question in questions(train, "vote")}
    assert len({one.question for one in judged}) == 12


def test_votes_follow_the_rule(workspace, voted):
    """The model always answers in English: a Chinese question gets two thumbs down, an English one none."""
    for one in workspace.feedback.votes():
        assert (one.value > 0) == (one.question.isascii() or not vote.rater.in_language(one.question, "zh"))
    assert voted.metrics["by_reason"].keys() == {"other language"}


def test_choosing_the_questions_counts_as_the_stages_time(workspace, monkeypatch):
    """It takes seconds on the starter data, and `circle_seconds` is the sum of what the artifacts say."""
    under_way = []

    def choose(*arguments, **named):
        under_way.append((workspace.runs.recent(1)[0].stage, workspace.runs.recent(1)[0].state))
        return questions(*arguments, **named)

    monkeypatch.setattr(vote, "questions", choose)
    vote.run(CONFIG, workspace)
    assert under_way == [("vote", "running")]


def test_a_rerun_asks_and_votes_nothing_again(workspace, voted):
    counts = workspace.feedback.counts()
    assert vote.run(CONFIG, workspace) == voted
    assert workspace.feedback.counts() == counts


def test_what_a_killed_run_had_asked_is_found_again(workspace, voted):
    """As after a kill just before publication: the database has it all, the artifact does not exist."""
    counts, votes = workspace.feedback.counts(), {one.message_id: one.value for one in workspace.feedback.votes()}
    workspace.artifacts.set_aside(voted.id)
    again = vote.run(CONFIG, workspace)
    assert again.id == voted.id
    assert workspace.feedback.counts() == counts
    assert {one.message_id: one.value for one in workspace.feedback.votes()} == votes
    shutil.rmtree(workspace.path / "set-aside")


def test_another_number_of_answers_asks_anew_in_the_same_round(workspace, voted):
    again = vote.run(CONFIG.model_copy(update={"answers_per_question": 3}), workspace)
    assert again.id != voted.id
    assert again.metrics["answers"] == 36
    assert workspace.feedback.counts()["votes"] == 24 + 36


@pytest.mark.parametrize("change", [{"temperature": 0.7}, {"max_tokens": 5}, {"seed": 8}])
def test_other_sampling_asks_anew_in_the_same_round(change, workspace, voted):
    before = {one.message_id for one in workspace.feedback.votes()}
    again = vote.run(CONFIG.model_copy(update=change), workspace)
    new = [one for one in workspace.feedback.votes() if one.message_id not in before]
    assert len(new) == again.metrics["answers"] == 24
    sampled = {key: one.sampling[key] for one in new for key in change.keys() - {"seed"}}
    assert sampled == {key: value for key, value in change.items() if key != "seed"}


def test_another_round_asks_anew(workspace, voted):
    vote.run(CONFIG.model_copy(update={"round": 2}), workspace)
    assert workspace.feedback.counts()["votes"] == 48


def test_the_same_votes_are_harvested_once_and_new_ones_anew(workspace, voted):
    first = harvest.run(harvest.Config(), workspace)
    assert harvest.run(harvest.Config(), workspace) == first
    assert first.metrics["answers"] == 24
    message = workspace.feedback.votes()[0]
    workspace.feedback.edit(message.message_id, "Leave well alone.", user="local")
    second = harvest.run(harvest.Config(), workspace)
    assert second.id != first.id
    assert second.metrics["better_answers"] == 1
    assert second.metrics["pairs"] == first.metrics["pairs"] + 1


def test_a_promotion_meanwhile_ends_the_round_instead_of_mixing_models(workspace, monkeypatch):
    before, asked = champion(workspace), Client.ask

    def promoted_after_the_first(client, *arguments, **named):
        said = asked(client, *arguments, **named)
        if workspace.registry.champion() == before.id:
            workspace.registry.promote(workspace.latest("ppo").id, {"reasons": []})
            deadline = time.monotonic() + 10
            while served(client) == before.id and time.monotonic() < deadline:
                time.sleep(0.01)
        return said

    monkeypatch.setattr("homeroom.serving.app.CHAMPION_SECONDS", 0.02)
    monkeypatch.setattr(Client, "ask", promoted_after_the_first)
    with pytest.raises(HomeroomError, match=f"{before.id}' .* is not served now"):
        vote.run(CONFIG.model_copy(update={"requests": 1}), workspace)
    with pytest.raises(HomeroomError, match="nothing was made by vote"):
        workspace.latest("vote")
    assert {one.model_id for one in workspace.feedback.votes()} <= {before.id}


def served(client):
    return json.load(client._opener.open(f"{client._url}/healthz"))["model"]


def test_an_answer_that_was_cut_short_is_not_voted_on(workspace):
    """As after a request that nobody waited for any more."""
    conversation = workspace.feedback.open_conversation("c", vote.USER)
    asked = workspace.feedback.add_message(conversation.id, "user", "How are you?")
    for seed, text, reason in ((7, "I am", "cancelled"), (9, "I am very", "length"), (8, "I am fine.", "stop")):
        workspace.feedback.add_message(
            conversation.id,
            "assistant",
            text,
            parent_id=asked.id,
            model_id="m",
            sampling={"seed": seed},
            finish_reason=reason,
        )
    stored = {seed: (one.text, one.ended) for seed, one in vote.stored(workspace, "c").items()}
    assert stored == {8: ("I am fine.", True), 9: ("I am very", False)}


@pytest.mark.parametrize(
    ("seeds", "runs"),
    [
        ([], []),
        ([5, 6, 7], [(5, 3)]),
        ([5, 7, 8, 11], [(5, 1), (7, 2), (11, 1)]),
        (range(35), [(0, 16), (16, 16), (32, 3)]),
    ],
)
def test_answers_are_asked_for_together_as_far_as_a_request_goes(seeds, runs):
    assert list(vote._runs(seeds)) == runs


def test_of_a_killed_request_only_what_is_missing_is_asked_again(workspace, voted):
    """Its answers are stored as they end, in any order."""
    config = CONFIG.model_copy(update={"answers_per_question": 3, "questions": 2, "seed": 5})
    asked, ask = [], Client.ask

    def broken(client, *arguments, **named):
        return ask(client, *arguments, **named | {"seed": named["seed"] + 1, "count": 1}) * 3  # the middle one alone

    def counting(client, *arguments, **named):
        asked.append(named["count"])
        return ask(client, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "ask", broken)
        patch.setattr(Client, "vote", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            vote.run(config.model_copy(update={"requests": 1}), workspace)
        patch.undo()
        patch.setattr(Client, "ask", counting)
        made = vote.run(config, workspace)
    assert sorted(asked) == [1, 1, 3] or sorted(asked) == [1, 1, 1, 1]
    assert made.metrics["answers"] == 6
