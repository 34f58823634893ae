from homeroom.data.documents import Document, dialogue
from homeroom.evaluation.heldout import unseen_questions, up_to
from homeroom.tasks.questions import questions


def idiom(word: str, explanation: str) -> Document:
    fields = {"word": word, "pinyin": "a b c d", "explanation": explanation, "derivation": "", "example": ""}
    return Document("x", "idiom", f"{word}：{explanation}", fields, "zh")


def said(question: str, answer: str) -> Document:
    return dialogue("x", [{"role": "user", "content": question}, {"role": "assistant", "content": answer}])


def test_what_training_could_ask_in_the_same_words_is_no_heldout_question():
    """Also in the other script, with other punctuation, and of an idiom with the same meaning."""
    heldout = [idiom("画蛇添足", "比喻多此一举。"), said("你覺得這個乾淨嗎？", "很干净。"), said("Is it late?", "No.")]
    twins = [idiom(f"{first}{last}成拙", "比喻多此一举。") for first in "东西南北风云" for last in "山水日月星火"]
    train = [*twins, said("你觉得这个干净吗", "还可以。"), idiom("守株待兔", "比喻侥幸。")]  # twins: in every wording
    asked = {question.prompt for question in unseen_questions(heldout, train)}
    possible = {question.prompt for question in questions(heldout)}
    assert "Is it late?" in asked < possible
    assert "你覺得這個乾淨嗎？" in possible - asked
    assert any("多此一举" in prompt for prompt in possible)
    assert not any("多此一举" in prompt for prompt in asked)
    assert any("画蛇添足" in prompt for prompt in asked)


def test_a_question_is_asked_once():
    asked = unseen_questions([said("Is it late?", "No."), said("is it late", "Yes.")], [])
    assert [question.prompt for question in asked] == ["Is it late?"]


def test_a_sample_of_text_is_stable_and_of_the_size_asked_for():
    documents = [Document("x", "text", f"{number:04}" * 25) for number in range(100)]  # 100 bytes each
    chosen = up_to(0.001, documents)
    assert len(chosen) == 10
    assert up_to(0.001, documents[::-1]) == chosen
    assert up_to(0.002, documents)[:10] == chosen
    assert len(up_to(1e-9, documents)) == 1
