"""Learning from votes on a real model: a judge that knows good from bad, a gate, and the control."""

from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

from homeroom import cli
from homeroom.data.documents import read_documents
from homeroom.data.preferences import Pair, Said, save_lessons
from homeroom.evaluation import suite
from homeroom.evaluation.gate import Bar
from homeroom.evaluation.latency import compare_latency
from homeroom.evaluation.suite import Measured
from homeroom.models.checkpoint import load_model
from homeroom.models.compiled import CompiledGPT
from homeroom.settings import NothingToLearn
from homeroom.stages import compress, evaluate, harvest, improve
from homeroom.stages.measuring import evaluation_questions, measure, measured_by, suite_of
from homeroom.tasks.questions import questions
from homeroom.training.teaching import TeachingSettings

GOOD, BAD = "It is good.", "It is bad."
CONFIG = improve.Config(learning_rate=5e-4, epochs=3, gate=Bar(questions=40, bits_per_byte_worse=0.02, latency_worse=9))


def killed(*_):
    raise KeyboardInterrupt


def vote(workspace, count):
    """A person who likes what is good."""
    documents = read_documents(workspace.latest("clean").path / "documents.parquet", split="train")
    for number, question in enumerate(questions(documents)[:count]):
        conversation = workspace.feedback.open_conversation(f"c{number}")
        asked = workspace.feedback.add_message(conversation.id, "user", question.prompt, id=f"q{number}")
        for text, value in ((GOOD, 1), (BAD, -1)):
            said = workspace.feedback.add_message(
                conversation.id, "assistant", text, id=f"{text} {number}", parent_id=asked.id, finish_reason="stop"
            )
            workspace.feedback.vote(said.id, value, id=f"v {text} {number}")


@pytest.fixture(scope="module")
def template(promoted, prepared):
    def voted_on(workspace):
        vote(workspace, 100)
        harvest.run(harvest.Config(), workspace)

    return prepared(promoted, voted_on)


def test_votes_make_a_better_champion_and_the_same_votes_inverted_are_refused(workspace):
    before = workspace.registry.champion()
    made = improve.run(CONFIG, workspace)
    metrics = made.metrics
    assert metrics["promoted"], metrics["reasons"]
    assert workspace.registry.champion() == made.id != before
    assert metrics["win_rate"]["low"] > 0.5
    assert metrics["heldout_accuracy"] > 0.9
    assert metrics["inverted"]["refused"]
    assert metrics["inverted"]["win_rate"]["high"] < 0.5
    assert metrics["inverted"]["heldout_accuracy"] > 0.9  # it learned what it was told: the opposite
    assert not list(made.path.glob("scratch*"))
    assert load_model(made.path).config == load_model(workspace.artifacts.get(before).path).config
    assert metrics["evaluation"]["stage"] == "improve"
    assert metrics["answers"][0]["before"] != metrics["answers"][0]["after"]

    history = workspace.registry.history()
    assert improve.run(CONFIG, workspace) == made  # although the champion is another one now
    assert workspace.registry.history() == history
    workspace.registry.rollback()
    assert workspace.registry.champion() == before


def test_a_clear_winner_is_promoted_before_all_is_asked_and_is_asked_the_rest_as_champion(
    workspace, tmp_path, monkeypatch
):
    made_again = tmp_path / "again"
    made_again.mkdir()
    config = CONFIG.model_copy(update={"control": False, "gate": CONFIG.gate.model_copy(update={"questions": 10})})
    made = improve.run(config, workspace)
    evaluation = workspace.latest("evaluate")
    asked = len(evaluation_questions(evaluation))
    answered = made.metrics["win_rate"]["n"]
    assert made.metrics["promoted"]
    assert 10 <= answered < asked
    assert made.metrics["gate"][0]["value"] == f"{answered} of {asked}, which decided it"
    assert not Measured.load(made.path / f"{made.id}.json").whole
    before = Measured.load(made.path / f"{made.id}.json")
    monkeypatch.setattr(suite, "score_texts", killed)  # what is known of it is not measured again
    after = measured_by(evaluation, made, workspace, tmp_path)
    assert (after.whole, len(after.answers)) == (True, asked)
    assert after.answers[:answered] == before.answers
    assert after.bits_per_byte == before.bits_per_byte
    monkeypatch.undo()
    assert [one.text for one in after.answers] == [
        one.text for one in measure(suite_of(evaluation, workspace), {"improve": made}, made_again)[0].answers
    ]


def test_who_follows_a_compressed_champion_is_timed_and_served_compressed(workspace, monkeypatch):
    timed = []
    monkeypatch.setattr(compress, "compare_latency", lambda *both, **_: timed.append(both) or compare_latency(*both))
    compress.run(compress.Config(), workspace, workspace.champion())
    made = improve.run(CONFIG.model_copy(update={"control": False}), workspace)
    assert made.metrics["promoted"]
    assert workspace.artifacts.made_of(made.id, "compress") is not None
    [both] = timed
    assert all(isinstance(model, CompiledGPT) for model in both)


def test_a_control_is_never_promoted(workspace):
    before = workspace.registry.champion()
    made = improve.run(CONFIG.model_copy(update={"inverted": True}), workspace)
    assert workspace.registry.champion() == before
    decision = workspace.registry.history()[-1]
    assert (decision.kind, decision.artifact_id) == ("refused", made.id)
    assert decision.verdict["reasons"][0] == "the votes were inverted, as a control"
    assert "inverted" not in made.metrics

    # Not even where the gate has no objection.
    easy = CONFIG.model_copy(
        update={"inverted": True, "gate": Bar(questions=1, win_rate=0, bits_per_byte_worse=9, latency_worse=9)}
    )
    easier = improve.run(easy.model_copy(update={"learning_rate": 1e-9}), workspace)
    assert easier.metrics["accepted"]
    assert not easier.metrics["promoted"]
    assert workspace.registry.champion() == before


def test_a_gate_that_passes_the_votes_inverted_promotes_nobody(workspace):
    before = workspace.registry.champion()
    blind = Bar(questions=1, win_rate=0, bits_per_byte_worse=9, rude_by_chance=0, latency_worse=9)
    made = improve.run(CONFIG.model_copy(update={"gate": blind}), workspace)
    assert (made.metrics["accepted"], made.metrics["inverted"]["refused"]) == (True, False)
    assert "cannot tell what they teach" in made.metrics["reasons"][0]
    assert workspace.registry.champion() == before


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(workspace, monkeypatch):
    config = CONFIG.model_copy(update={"control": False})
    whole = (improve.run(config, workspace).path / "model.safetensors").read_bytes()
    workspace.artifacts.set_aside(workspace.latest("improve").id)
    workspace.registry.rollback()
    real = improve.gate
    monkeypatch.setattr(improve, "gate", killed)
    with pytest.raises(KeyboardInterrupt):
        improve.run(config, workspace)
    monkeypatch.setattr(improve, "gate", real)
    assert (improve.run(config, workspace).path / "model.safetensors").read_bytes() == whole


def test_a_killed_run_measures_nothing_again(workspace, evaluating, measured, monkeypatch):
    """Not even a champion that the evaluation does not know."""
    evaluate.run(evaluating.model_copy(update={"stages": ("sft", "ppo")}), workspace)
    harvest.run(harvest.Config(), workspace)
    workspace.registry.promote(workspace.latest("pretrain").id, {"reasons": []})
    measured.clear()
    real = improve.gate
    for outcome in (KeyboardInterrupt, None):
        monkeypatch.setattr(improve, "gate", killed if outcome else real)
        with pytest.raises(outcome) if outcome else nullcontext():
            improve.run(CONFIG.model_copy(update={"control": False}), workspace)
        assert measured == ["pretrain", "improve"]


def test_the_command_learns_from_the_votes_cast_so_far(workspace, tmp_path):
    harvested = workspace.latest("harvest")
    message = workspace.feedback.votes()[0].message_id
    workspace.feedback.vote(message, -1, user="another")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("improve.minimum_pairs = 100_000\nimprove.alone.minimum_lessons = 100_000")
    result = CliRunner().invoke(cli.app, ["improve", "-w", str(workspace.path), "-r", str(recipe)])
    assert result.exit_code == 1
    newest = workspace.latest("harvest")
    assert newest != harvested
    assert newest.metrics["answers"] == harvested.metrics["answers"] + 1
    assert f"{newest.id} holds" in result.stderr


def test_too_few_pairs_teach_nothing(workspace):
    few = {"minimum_pairs": 1000, "alone": TeachingSettings(minimum_lessons=1000)}
    with pytest.raises(NothingToLearn, match=r"minimum_pairs.*thumbs and .*minimum_lessons.*Vote on more answers"):
        improve.run(CONFIG.model_copy(update=few), workspace)


def test_lone_thumbs_teach_where_there_are_too_few_pairs(workspace):
    alone = TeachingSettings(learning_rate=3e-3, epochs=4, minimum_lessons=15)
    made = improve.run(CONFIG.model_copy(update={"minimum_pairs": 1000, "alone": alone}), workspace)
    assert (made.metrics["method"], made.metrics["promoted"]) == ("kto", True), made.metrics["reasons"]
    assert made.metrics["why"].startswith("kto: there are 0 pairs")
    assert made.metrics["win_rate"]["low"] > 0.5
    assert made.metrics["inverted"]["win_rate"]["high"] < 0.5


def test_pairs_that_fit_no_context_teach_nothing(workspace):
    """Votes on conversations that have outgrown the champion's context."""
    with workspace.publish("harvest", harvest.Config(heldout=0.5), [workspace.latest("evaluate")]) as draft:
        asked = {"role": "user", "content": "Why? " * 200}
        one = Pair((asked,), Said(GOOD, True), Said(BAD, True), "train")
        save_lessons([one] * 40, draft.path / "pairs.jsonl")
    with pytest.raises(NothingToLearn, match=r"holds 40 training pairs, of which 0 fit .* context of 160 tokens"):
        improve.run(CONFIG, workspace)


def test_a_resumed_run_multiplies_as_the_evaluation_did(workspace, monkeypatch):
    evaluation = workspace.artifacts.get(workspace.latest("harvest").inputs[0])
    automatic = CONFIG.model_copy(update={"precision": "auto"})
    assert improve._settled(automatic, evaluation).precision == evaluation.metrics["precision"]
    evaluation.metrics["precision"] = "bfloat16"
    assert improve._settled(automatic, evaluation).precision == "bfloat16"
    del evaluation.metrics["precision"]  # as those of older versions
    assert improve._settled(automatic, evaluation).precision == "float32"
    assert improve._settled(CONFIG.model_copy(update={"precision": "float32"}), evaluation).precision == "float32"
