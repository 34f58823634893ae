"""The gate's lines in Chinese: what it really writes is known, and what is not known stays as it is."""

import re

from homeroom.evaluation.gate import Bar, gate
from homeroom.evaluation.judging import Judged
from homeroom.evaluation.suite import Measured
from homeroom.serving.pages.verdict_words import in_chinese


def measured(name: str, rude: int) -> Measured:
    same = {"kind": "idiom", "text": "said", "tokens": 5, "ended": True, "in_language": True, "repeats": False}
    grades = {"chrf": 0.5, "grade": 0.5, "judge": 0.0}
    answers = [
        Judged.model_validate({"question_id": f"q{i}", "document_id": f"d{i}", "rude": i < rude, **same, **grades})
        for i in range(9)
    ]
    return Measured(suite="s", artifact=name, stage="ppo", bits_per_byte={"all": 2.0}, cloze={}, answers=tuple(answers))


def test_every_line_of_the_gate_is_said_in_chinese() -> None:
    for line in gate(measured("a", 3), measured("b", 1), Bar()).lines:
        for text in (line.name, line.required):
            assert re.search("[一-鿿]", in_chinese(text)), text
        assert not re.search("[a-z]", in_chinese(line.measured)), line.measured
    assert in_chinese("it was compared with sft-1, but the champion is ppo-2 now").endswith("现任冠军是 ppo-2")
    assert in_chinese("<b>at least 40</b>") == "<b>at least 40</b>"
