"""From thumbs to a better champion, with nothing put in by hand: the rater votes over HTTP on what a model really said.

The model gives half of its answers in loops, which the rater's rule dislikes; the judge and the gate know no rule.
"""

import pytest

from homeroom.data.preferences import load_pairs
from homeroom.evaluation.gate import Bar
from homeroom.stages import evaluate, harvest, improve, promote, vote
from homeroom.tasks.manners import repeats

CONFIG = improve.Config(learning_rate=5e-4, epochs=3, gate=Bar(questions=40, bits_per_byte_worse=0.05, latency_worse=9))


@pytest.fixture(scope="module")
def template(tmp_path_factory, raised):
    once = {"zh": "这很好。", "en": "It is good."}
    again = {"zh": "这很好，这很好，这很好。", "en": "It is good, it is good, it is good."}
    return raised(tmp_path_factory.mktemp("loops"), lambda q: once[q.language], lambda q: again[q.language])


def test_a_raters_votes_make_a_champion_and_their_inversion_is_refused(workspace, evaluating):
    evaluate.run(evaluating, workspace)
    promote.run(promote.Config(), workspace)
    before = workspace.registry.champion()
    voted = vote.run(vote.Config(questions=90, answers_per_question=3, max_tokens=24, requests=30), workspace)
    judged = workspace.feedback.votes()
    assert len(judged) == voted.metrics["answers"] > 200
    assert {one.user for one in judged} == {vote.USER}
    looped = [one for one in judged if repeats(one.answer)]
    assert 0.3 < len(looped) / len(judged) < 0.7  # the model does give both answers
    assert sum(one.value > 0 for one in looped) < 0.1 * len(looped)  # up only above one in the wrong language

    harvested = harvest.run(harvest.Config(), workspace)
    sampled = {(one.history[-1]["content"], one.answer): one.token_ids for one in reversed(judged)}
    pairs = load_pairs(harvested.path / "pairs.jsonl")
    for said, question in ((side, p.messages[-1]["content"]) for p in pairs for side in (p.chosen, p.rejected)):
        assert said.token_ids == sampled[question, said.text]

    improved = improve.run(CONFIG, workspace)
    metrics = improved.metrics
    assert metrics["promoted"], metrics["reasons"]
    assert workspace.registry.champion() not in (None, before)
    assert metrics["win_rate"]["low"] > 0.5
    assert metrics["inverted"]["refused"]
    assert metrics["inverted"]["win_rate"]["high"] < 0.5
    assert metrics["evaluation"]["repeats"]["high"] < 0.3  # the fault that was voted down is gone

    forgotten = workspace.forget(vote.USER)
    assert forgotten.rows["votes"] == len(judged)
    assert {voted.id, harvested.id, improved.id} <= set(forgotten.artifacts)
    assert improved.id in forgotten.models
    assert before not in forgotten.artifacts
