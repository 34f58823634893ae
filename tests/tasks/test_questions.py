from dataclasses import dataclass, field
from typing import get_args

import pytest

from homeroom.tasks.base import Question
from homeroom.tasks.questions import MIX, Purpose, grade, purpose_of, questions


@dataclass(frozen=True)
class Paper:
    id: str
    kind: str = "idiom"
    fields: dict = field(default_factory=lambda: {"word": "画蛇添足", "explanation": "比喻多此一举。"})


PAPERS = [Paper(f"document {number}") for number in range(3000)]
PURPOSES = get_args(Purpose)


def test_every_document_serves_one_purpose_and_in_the_shares_that_were_meant():
    served = {purpose: {q.document_id for q in questions(PAPERS, purpose)} for purpose in PURPOSES}
    assert sum(map(len, served.values())) == len(set.union(*served.values())) == len(PAPERS)
    shares = {purpose: len(documents) / len(PAPERS) for purpose, documents in served.items()}
    expected = {"sft": 0.6, "reward": 0.12, "judge": 0.12, "ppo": 0.08, "vote": 0.08}
    assert shares == pytest.approx(expected, abs=0.03)


def test_a_purpose_belongs_to_the_document_whatever_stands_beside_it():
    assert [purpose_of(paper.id) for paper in PAPERS] == [purpose_of(paper.id) for paper in reversed(PAPERS)][::-1]
    few = questions(PAPERS[:50], "sft")
    assert few == [q for q in questions(PAPERS, "sft") if q.document_id in {paper.id for paper in PAPERS[:50]}]


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
