"""The gate's lines in Chinese: what it really writes is known, and what is not known stays as it is."""

import re
from collections.abc import Sequence

from homeroom.evaluation.comparison import Interval
from homeroom.evaluation.gate import Bar, gate
from homeroom.evaluation.judging import Judged
from homeroom.evaluation.latency import Latency, Ratio
from homeroom.evaluation.suite import Measured
from homeroom.serving.pages.verdict_words import in_chinese


def measured(name: str, rude: int, task: Sequence[float] = ()) -> Measured:
    same = {"kind": "idiom", "text": "said", "tokens": 5, "ended": True, "in_language": True, "repeats": False}
    grades = {"chrf": 0.5, "grade": 0.5, "judge": 0.0}
    answers = [
        Judged.model_validate({"question_id": f"q{i}", "document_id": f"d{i}", "rude": i < rude, **same, **grades})
        for i in range(9)
    ]
    return Measured(
        suite="s", artifact=name, stage="ppo", bits_per_byte={"all": 2.0}, cloze={}, answers=tuple(answers),
        tasks={"任务.jsonl": {str(number): right for number, right in enumerate(task)}},
    )  # fmt: skip


def test_every_line_of_the_gate_is_said_in_chinese() -> None:
    ratio = Ratio(0.0093, 0.0091, Interval(1.02, 0.97, 1.08, 6))
    tried, held = measured("a", 3, task=[0.0, 1.0, 1.0]), measured("b", 1, task=[1.0, 1.0, 0.0])
    for line in gate(tried, held, Bar(), Latency(ratio, ratio)).lines:
        for text in (line.name, line.required):
            assert re.search("[一-鿿]", in_chinese(text)), text
        assert not re.search("[a-z]", in_chinese(line.measured)), line.measured
    assert in_chinese("it was compared with sft-1, but the champion is ppo-2 now").endswith("现任冠军是 ppo-2")
    assert in_chinese("51.0% [50.2%, 52.0%] (by chance: 12%)") == "51.0% [50.2%, 52.0%]（偶然的可能：12%）"
    early = measured("a", 3).model_copy(update={"planned": 12})
    assert in_chinese(gate(early, held, Bar()).lines[0].measured) == "12 题中的 9 题已见分晓"
    assert in_chinese("<b>at least 40</b>") == "<b>at least 40</b>"
