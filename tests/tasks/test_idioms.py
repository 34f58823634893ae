from typing import Any

import pytest

from homeroom.tasks.base import language_of
from homeroom.tasks.idioms import Idioms, meaning_of
from homeroom.tasks.manners import manners


def by_kind(documents: list[Any]) -> dict[str, tuple[str, str]]:
    return {question.kind: (question.prompt, question.reference) for question in Idioms(documents).questions}


def test_an_idiom_is_asked_about_in_both_languages(idiom: Any) -> None:
    asked = by_kind([idiom])
    references = {kind: reference for kind, (_, reference) in asked.items()}
    assert references["idiom-meaning"] in (
        "画蛇添足的意思是：比喻做多余的事，反而坏事。",
        "画蛇添足比喻做多余的事，反而坏事。",
    )
    assert references["idiom-source"] == "画蛇添足出自《战国策·齐策二》。"
    assert references["idiom-example"] == "例如：这一段是画蛇添足，删去才好。"
    assert references["idiom-name"] == "这个成语是画蛇添足。"
    assert references["idiom-character"] in ("画蛇添足的第一个字是“画”。", "画蛇添足的最后一个字是“足”。")
    assert references["idiom-pronunciation"] == "画蛇添足 is pronounced huà shé tiān zú."
    assert references["idiom-initials"] == "The pinyin initials of 画蛇添足 are hstz."
    assert references["idiom-character-english"] in (
        "The first character of 画蛇添足 is 画.",
        "The last character of 画蛇添足 is 足.",
    )
    assert "比喻做多余的事，反而坏事" in asked["idiom-name"][0]


def test_what_is_missing_is_not_asked_about(idiom: Any) -> None:
    idiom.fields.update(explanation="", derivation="", example="没有成语的句子。", pinyin="huà", abbreviation="")
    assert {question.kind for question in Idioms([idiom]).questions} == {"idiom-character", "idiom-character-english"}
    idiom.fields["word"] = ""
    assert Idioms([idiom]).questions == []


def test_an_explanation_that_names_the_idiom_is_not_asked_for(idiom: Any) -> None:
    idiom.fields["explanation"] = "常说的画蛇添足，比喻多此一举。"
    assert not {"idiom-meaning", "idiom-name"} & by_kind([idiom]).keys()


def test_a_broken_quotation_is_no_example(idiom: Any) -> None:
    idiom.fields["example"] = "画蛇添足”是他常说的话。"
    assert "idiom-example" not in by_kind([idiom])


def test_other_kinds_of_documents_are_left_alone(idiom: Any) -> None:
    other = type(idiom)("x", "prose", idiom.fields)
    assert Idioms([other]).questions == []


@pytest.mark.parametrize(
    ("explanation", "meaning"),
    [
        ("蛇爬虫。足脚。比喻多此一举。", "比喻多此一举。"),
        ("比喻多此一举。亦作“为蛇画足”。", "比喻多此一举。"),
        ("比喻多此一举。同“为蛇画足”", "比喻多此一举。"),
        ("见“为蛇画足”。", ""),
        ("后用以比喻多此一举。", "用以比喻多此一举。"),
        ("后悔已来不及了。", "后悔已来不及了。"),
        ("后来的超过先前的。", "后来的超过先前的。"),
        ("后人对前人的称呼。", "后人对前人的称呼。"),
        ("见识短浅。同类相聚。", "见识短浅。同类相聚。"),
        ("足脚。", "足脚。"),
        ("做多余的事", "做多余的事。"),
        ("", ""),
    ],
)
def test_the_meaning_is_what_says_something(explanation: str, meaning: str) -> None:
    assert meaning_of(explanation, "画蛇添足") == meaning


def test_glosses_stay_on_request() -> None:
    assert meaning_of("足脚。比喻多此一举。", "画蛇添足", glosses=True) == "足脚。比喻多此一举。"


def test_real_idioms_make_clean_demonstrations(real_idioms: Any) -> None:
    task = Idioms(real_idioms)
    words = {document.id: document.fields["word"] for document in real_idioms}
    assert len(task.questions) > 6 * len(real_idioms)
    assert len({question.id for question in task.questions}) == len(task.questions)
    for question in task.questions:
        assert words[question.document_id] in question.reference
        assert language_of(question.reference) == language_of(question.prompt) == question.language
        assert manners(question, question.reference, True) == 1
        assert task.grade(question, question.reference, True) == 1
        assert len(question.reference) <= 120


def test_phrasings_vary_and_do_not_depend_on_the_order(real_idioms: Any) -> None:
    questions = Idioms(real_idioms[:200]).questions
    assert sorted(Idioms(real_idioms[199::-1]).questions, key=repr) == sorted(questions, key=repr)
    words = {document.id: str(document.fields["word"]) for document in real_idioms}
    meanings = {q.prompt.replace(words[q.document_id], "…") for q in questions if q.kind == "idiom-meaning"}
    assert len(meanings) == 7


def test_few_length_questions_are_about_four_characters(real_idioms: Any) -> None:
    answers = [q.reference for q in Idioms(real_idioms).questions if q.kind == "idiom-length"]
    assert 0 < sum("四" in answer for answer in answers) < 0.75 * len(answers)
