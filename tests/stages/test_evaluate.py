import pytest
import torch

from homeroom.data.documents import DocumentWriter
from homeroom.evaluation.suite import Suite
from homeroom.models import precision
from homeroom.settings import HomeroomError
from homeroom.stages import evaluate, measuring, promote
from homeroom.tasks.questions import questions
from homeroom.workspace.errors import Damaged


def test_every_model_is_measured_in_the_same_way(workspace, evaluating):
    made = evaluate.run(evaluating, workspace)
    rows = made.metrics["models"]
    assert [row["stage"] for row in rows] == ["pretrain", "sft", "ppo"]
    assert all(set(row) == set(rows[0]) for row in rows)
    base, sft, ppo = rows
    assert sft["ends"]["mean"] == 1
    assert base["ends"]["mean"] < 0.2
    assert set(base["cloze"]) == {"0", "1"}
    assert set(base["bits_per_byte"]) == {"all", "zh"}
    assert 0 < made.metrics["xz_primed_bits_per_byte"] < made.metrics["xz_bits_per_byte"]
    # The ppo artifact here holds the sft model: asked the same with the same seeds, it says the same.
    assert {key: value for key, value in ppo.items() if key not in ("stage", "artifact")} == {
        key: value for key, value in sft.items() if key not in ("stage", "artifact")
    }
    judged = [one for one in made.metrics["comparisons"] if one["judge"] == "judge"]
    assert [(one["model"], one["baseline"]) for one in judged] == [("sft", "pretrain"), ("ppo", "sft")]
    assert judged[1]["win_rate"]["mean"] == 0.5
    shown = made.metrics["answers"]
    assert len(shown) == 2
    assert set(shown[0]["answers"]) == {"pretrain", "sft", "ppo"}


def test_the_pretrained_model_which_ends_no_answer_is_asked_fewer(workspace, evaluating):
    made = evaluate.run(evaluating.model_copy(update={"base_questions": 1}), workspace)
    assert [row["ends"]["n"] for row in made.metrics["models"]] == [1, 60, 60]
    over = {one["model"]: one["win_rate"]["n"] for one in made.metrics["comparisons"]}
    assert over == {"sft": 1, "ppo": 60}
    assert len(made.metrics["answers"]) == 1  # shown is what all of them were asked


def test_evaluation_questions_are_held_out_and_none_is_asked_twice(workspace, evaluating):
    made = evaluate.run(evaluating, workspace)
    asked = measuring.evaluation_questions(made)
    heldout = evaluate.read_documents(workspace.latest("clean").path / "documents.parquet", split="heldout")
    allowed = {question.id for question in questions(heldout)}
    assert len(asked) == len({question.prompt for question in asked}) == 60
    assert {question.id for question in asked} <= allowed


def test_settings_are_tuned_on_the_validation_split(workspace, evaluating, idiom):
    documents = list(evaluate.read_documents(workspace.latest("clean").path / "documents.parquet"))
    validation = [idiom(number, "validation") for number in range(300, 360)]
    with (
        workspace.publish("clean", evaluating) as draft,
        DocumentWriter(draft.path / "documents.parquet") as file,
    ):
        for document in [*documents, *validation]:
            file.write(document)
    tuning = evaluating.model_copy(update={"split": "validation"})
    made = evaluate.run(tuning, workspace)
    allowed = {document.id for document in validation}
    assert {question.document_id for question in measuring.evaluation_questions(made)} <= allowed
    suite = measuring.suite_of(made, workspace)
    assert set(suite.texts) <= {document.text for document in validation}
    assert {item.document_id for items in suite.cloze.values() for item in items} <= allowed
    assert evaluate.run(evaluating, workspace) != made


def test_a_killed_evaluation_does_not_measure_again_what_it_had(workspace, evaluating, monkeypatch):
    measured = []
    real = Suite.measure

    def measure(suite, model, tokenizer, artifact, stage, advance, answering, early, known):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(stage)
        return real(suite, model, tokenizer, artifact, stage, advance, answering, early, known)

    monkeypatch.setattr(Suite, "measure", measure)
    monkeypatch.setattr(precision, "measure_peak", lambda _: precision.Peak(1.0, 9.0))
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(evaluating, workspace)
    # A busier machine, on which "auto" comes out otherwise: what is compared is measured in one number format.
    monkeypatch.setattr(precision, "measure_peak", lambda _: precision.Peak(1.0, 1.0))
    formats = []
    monkeypatch.setattr(
        Suite, "measure", lambda *all: measured.append(all[4]) or formats.append(all[0].dtype) or real(*all)
    )
    made = evaluate.run(evaluating, workspace)
    assert measured == ["pretrain", "sft", "ppo"]
    assert formats == [torch.bfloat16]
    assert made.metrics["precision"] == "bfloat16"
    assert evaluate.run(evaluating, workspace) == made
    assert len(measured) == 3


def test_nothing_held_out_is_said_with_the_setting_also_on_a_rerun(workspace, evaluating):
    none = evaluating.model_copy(update={"split": "validation"})
    for _ in range(2):
        with pytest.raises(HomeroomError, match=r"none of the 0 documents .* validation .* raise \[clean\].validation"):
            evaluate.run(none, workspace)


def test_a_model_that_was_changed_is_not_measured(workspace, evaluating):
    path = workspace.latest("sft").path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(Damaged, match="is not as it was published"):
        evaluate.run(evaluating, workspace)


def test_a_misspelt_stage_is_found_before_anything_is_trained():
    with pytest.raises(ValueError, match=r"'pretrain', 'sft', 'ppo', 'improve', 'imported' or 'teach'"):
        evaluate.Config(stages=("pretrain", "stf"))
    with pytest.raises(ValueError, match="'imported' or 'teach'"):
        promote.Config(candidates=("pppo",))


def test_what_goes_wrong_beside_the_measuring_is_not_lost(workspace, evaluating):
    without_documents = workspace.latest("sft")
    packed = evaluate._Xz(evaluating, without_documents, ["some text"])
    with pytest.raises(FileNotFoundError):
        packed.figures()
