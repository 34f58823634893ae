import numpy as np
import pytest

from homeroom.evaluation.comparison import Interval
from homeroom.evaluation.gate import Bar, gate
from homeroom.evaluation.judging import Judged
from homeroom.evaluation.latency import Latency, Ratio
from homeroom.evaluation.suite import Measured

N = 300


def measured(name, judge, *, bits=2.0, rude=(), suite="suite", ids=None):
    answers = tuple(
        Judged(
            question_id=f"q{i}",
            document_id=f"d{i // 2}",
            kind="idiom-meaning",
            text=f"said by {name}",
            tokens=5,
            ended=True,
            in_language=True,
            repeats=False,
            rude=i in rude,
            chrf=0.5,
            grade=0.5,
            judge=float(judge[i]),
        )
        for i in (range(len(judge)) if ids is None else ids)
    )
    return Measured(suite=suite, artifact=name, stage="ppo", bits_per_byte={"all": bits}, cloze={}, answers=answers)


@pytest.fixture
def champion():
    return measured("champion", np.zeros(N), rude={0, 1})


def better(share, seed=0):
    """Judge scores that beat zero in this share of the questions."""
    return np.random.default_rng(seed).permutation(np.where(np.arange(N) < share * N, 1.0, -1.0))


def failed(verdict):
    return [line.name for line in verdict.lines if not line.passed]


def test_who_wins_clearly_costs_little_and_is_not_ruder_passes(champion):
    verdict = gate(measured("candidate", better(0.6), bits=2.03, rude={5, 9}), champion, Bar())
    assert verdict.accepted
    assert verdict.win_rate.mean == pytest.approx(0.6)
    assert verdict.win_rate.low > 0.5
    assert len(verdict.reasons) == 4


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (measured("c", better(0.53)), "win rate over the champion, by the independent judge"),
        (measured("c", better(0.3)), "win rate over the champion, by the independent judge"),
        (measured("c", np.zeros(N)), "win rate over the champion, by the independent judge"),
        (measured("c", better(0.7), bits=2.05), "bits per byte of held-out text"),
        (measured("c", better(0.7), rude=range(4, 24)), "rude answers"),
        (measured("c", np.ones(150)), "held-out questions"),
    ],
)
def test_one_line_that_fails_refuses_and_says_why(candidate, why, champion):
    verdict = gate(candidate, champion, Bar())
    assert not verdict.accepted
    assert failed(verdict) == [why]
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(why)


def test_the_lower_end_decides_not_the_mean(champion):
    verdict = gate(measured("c", better(0.53)), champion, Bar())
    assert verdict.win_rate.mean > 0.5 > verdict.win_rate.low


@pytest.mark.parametrize(("won", "passes"), [(8, False), (12, True)])
def test_a_few_wins_among_ties_decide_nothing_that_chance_explains(champion, won, passes):
    scores = np.zeros(N)
    scores[:won] = 1.0  # two questions a document: four or six signs
    verdict = gate(measured("c", scores), champion, Bar())
    assert verdict.win_rate.low > 0.5
    assert verdict.accepted == passes
    assert passes or "(by chance: 6%)" in str(verdict.reasons[0])


def test_only_questions_that_both_answered_are_compared(champion):
    scores = better(0.5)
    won = [i for i in range(N) if scores[i] > 0]
    verdict = gate(measured("c", scores, ids=won), champion, Bar(questions=100))
    assert verdict.win_rate.mean == 1
    assert verdict.win_rate.n == len(won)


def test_what_different_suites_measured_is_not_compared(champion):
    with pytest.raises(ValueError, match="different suites"):
        gate(measured("c", better(0.9), suite="another"), champion, Bar())


def test_a_verdict_can_be_kept_as_json(champion):
    figures = gate(measured("c", better(0.6)), champion, Bar()).figures()
    assert figures["accepted"] is True
    assert [sorted(line) for line in figures["gate"]] == [["bar", "passed", "rule", "value"]] * 4
    assert set(figures["win_rate"]) == {"mean", "low", "high", "n"}


def test_what_was_measured_survives_the_file(champion, tmp_path):
    champion.save(tmp_path / "one.json")
    assert Measured.load(tmp_path / "one.json") == champion


def test_more_rude_answers_than_chance_explains_are_refused_and_no_fewer(champion):
    """The champion's two are about one document; 6 and 7 documents are new: by chance 8/128 and 9/256."""
    for new, accepted in ((6, True), (7, False)):
        verdict = gate(measured("c", better(0.7), rude=range(4, 4 + 2 * new, 2)), champion, Bar())
        assert verdict.accepted == accepted
        line = next(line for line in verdict.lines if line.name == "rude answers")
        assert line.measured == f"{new} of {N} (by chance: {6 if accepted else 4}%)"
        assert line.required == f"not above the champion's 2 of {N} by more than chance (5%)"
    strict = gate(measured("c", better(0.7), rude=range(3, 6)), champion, Bar(rude_by_chance=1))
    assert failed(strict) == ["rude answers"]


def test_questions_about_one_document_are_one_sign(champion):
    """Two to a document: ten new rude answers are 5 against 1."""
    verdict = gate(measured("c", better(0.7), rude=range(4, 14)), champion, Bar())
    line = next(line for line in verdict.lines if line.name == "rude answers")
    assert line.measured == f"10 of {N} (by chance: 11%)"


def test_who_says_the_same_ties_whatever_batch_it_was_scored_in(champion):
    echo = champion.model_copy(
        update={"answers": tuple(answer.model_copy(update={"judge": 0.01}) for answer in champion.answers)}
    )
    assert gate(echo, champion, Bar()).win_rate.mean == 0.5
    cut = echo.model_copy(
        update={"answers": tuple(answer.model_copy(update={"ended": False}) for answer in echo.answers)}
    )
    assert gate(cut, champion, Bar()).win_rate.mean == 1


def with_task(one, outcomes, name="arc.jsonl"):
    return one.model_copy(update={"tasks": {name: {str(i): float(right) for i, right in enumerate(outcomes)}}})


def test_a_task_that_got_worse_beyond_its_interval_refuses(champion):
    """Of 200 questions the champion gets 100 right; the candidate loses some of them and gains others."""
    before = with_task(champion, [i < 100 for i in range(200)])

    def verdict(lost, gained):
        after = [i < 100 for i in range(200)]
        after[:lost] = [False] * lost
        after[100 : 100 + gained] = [True] * gained
        return gate(with_task(measured("c", better(0.7)), after), before, Bar())

    assert failed(verdict(30, 10)) == ["task: arc.jsonl"]
    assert verdict(30, 25).accepted  # as much noise, and no loss
    assert failed(verdict(6, 0)) == ["task: arc.jsonl"]
    assert verdict(5, 0).accepted  # 5 to 0 by chance: 3 %, though hardly a resample is without a loss
    line = verdict(30, 10).lines[4]
    assert line.measured.startswith("40.0% (-10.0 points [-16")
    assert line.required == "difference to the champion's 50.0% on the same 200 questions not surely below 0"


def test_only_tasks_and_questions_that_both_were_asked_count(champion):
    candidate = measured("c", better(0.7))
    assert gate(with_task(candidate, [False] * 50), champion, Bar()).accepted
    before = with_task(champion, [True] * 20)
    assert gate(with_task(candidate, [True] * 20 + [False] * 50), before, Bar()).accepted


def timed(token, first=(0.9, 1.0, 1.05)):
    ratios = (Ratio(0.012, 0.01, Interval(mean, low, high, 12)) for low, mean, high in (first, token))
    return Latency(*ratios)


def test_who_is_surely_slower_by_more_than_a_tenth_is_refused(champion):
    candidate = measured("c", better(0.7))
    for token, accepted in (((0.9, 1.0, 1.1), True), ((1.05, 1.2, 1.3), True), ((1.11, 1.2, 1.3), False)):
        assert gate(candidate, champion, Bar(), timed(token)).accepted == accepted
    verdict = gate(candidate, champion, Bar(), timed((1.11, 1.2, 1.3), first=(1.2, 1.3, 1.4)))
    assert failed(verdict) == ["time to first token", "time per token"]
    assert verdict.lines[-1].measured == "12.0 ms, × 1.20 [1.11, 1.30]"
    assert gate(candidate, champion, Bar(latency_worse=0.5), timed((1.11, 1.2, 1.3))).accepted
