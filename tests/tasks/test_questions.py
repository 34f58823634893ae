from dataclasses import dataclass, field
from itertools import combinations
from typing import get_args

import pytest

from homeroom.tasks.base import Question
from homeroom.tasks.questions import MIX, Purpose, grade, questions
from homeroom.tasks.wording import plain


@dataclass(frozen=True)
class Paper:
    id: str
    kind: str = "idiom"
    fields: dict = field(default_factory=dict)


def idiom(name: str, word: str, explanation: str) -> Paper:
    return Paper(name, "idiom", {"word": word, "explanation": explanation})


def dialogue(name: str, *said: str) -> Paper:
    roles = ("user", "assistant")
    return Paper(name, "dialogue", {"messages": [{"role": roles[i % 2], "content": c} for i, c in enumerate(said)]})


def numbered(number: int) -> str:
    return "".join("甲乙丙丁戊己庚辛壬癸"[int(digit)] for digit in f"{number:04}")


PAPERS = [idiom(f"document {n}", numbered(n), f"比喻{numbered(n)[::-1]}一举。") for n in range(3000)]
PURPOSES = get_args(Purpose)


def test_every_document_serves_one_purpose_and_in_the_shares_that_were_meant():
    served = {purpose: {q.document_id for q in questions(PAPERS, purpose)} for purpose in PURPOSES}
    assert sum(map(len, served.values())) == len(set.union(*served.values())) == len(PAPERS)
    shares = {purpose: len(documents) / len(PAPERS) for purpose, documents in served.items()}
    expected = {"sft": 0.6, "reward": 0.12, "judge": 0.12, "ppo": 0.08, "vote": 0.08}
    assert shares == pytest.approx(expected, abs=0.03)


def test_a_purpose_belongs_to_the_subject_whatever_stands_beside_it():
    few = questions(PAPERS[:50], "sft")
    assert few == [q for q in questions(PAPERS, "sft") if q.document_id in {paper.id for paper in PAPERS[:50]}]


@pytest.mark.parametrize(
    "alike",
    [
        [idiom(f"synonym {n}", numbered(n), "比喻多此一举。") for n in range(200)],
        [idiom(f"second meaning {n}", "画蛇添足", f"比喻{numbered(n)}一举。") for n in range(200)],
        [Paper(f"function {n}", "function", {"name": "json.dumps", "doc": f"Return {n} items of a list.",
                                             "signature": f"dumps(a{n})"}) for n in range(200)],
        [dialogue(f"dialogue {n}", "How are you?" if n % 2 else "how are you", f"I am {numbered(n)} fine.")
         for n in range(200)],
        [dialogue(f"second turn {n}", f"Is it {n} today?", "Yes, it is.", "And how are you?", "I am quite well.")
         for n in range(200)],
        [dialogue(f"script {n}", "你覺得這個乾淨嗎？" if n % 2 else "你觉得这个干净吗？", f"{numbered(n)}很干净。")
         for n in range(200)],
    ],
    ids=["one meaning", "one word", "one function", "one opening", "one follow-up", "one question in two scripts"],
)  # fmt: skip
def test_what_is_asked_alike_serves_one_purpose(alike):
    asked = {purpose: {plain(q.prompt) for q in questions(alike, purpose)} for purpose in PURPOSES}
    assert sum(map(len, asked.values())) > 0
    assert not any(asked[one] & asked[other] for one, other in combinations(PURPOSES, 2))


def test_without_a_purpose_all_are_asked_and_only_kinds_that_can_be():
    everything = questions(PAPERS[:50])
    by_purpose = [q.id for purpose in PURPOSES for q in questions(PAPERS[:50], purpose)]
    assert sorted(q.id for q in everything) == sorted(by_purpose)
    assert {q.kind for q in everything} <= set(MIX)
    assert not questions([Paper("a", kind="prose"), Paper("b", kind="code")])


def test_each_kind_is_graded_by_its_own_task():
    """Every kind that is asked has one; talk, which has many right answers, mostly by manners."""
    asked = {kind: Question("q", "Hello", "Hi.", "en", kind, "d") for kind in MIX}
    assert {grade(question, "Hi.", True) for question in asked.values()} == {1}
    assert {kind: grade(question, "Good morning.", True) for kind, question in asked.items()} == {
        kind: 0.8 if kind == "dialogue" else 0.5 for kind in MIX
    }
