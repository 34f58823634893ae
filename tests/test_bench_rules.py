"""The hidden rules of the learning curve: what raters ask, what they hold to be good, and what they write instead."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.learning_curve import Bench, summary
from bench.rules import RULES, Asked, judge, questions, sentences

ENGLISH = Asked("What is tea?", "tea", "en")
CHINESE = Asked("绿茶是什么？", "绿茶", "zh")
KINDS = ((0.0, False), (0.3, False), (0.0, True))  # of a bench: plain, poisoned, inverted
SAID = "Tea is a drink. It is made of leaves! Many people like it, e.g. in Asia. It has been drunk for 5.5 thousand ye"


@pytest.mark.parametrize(
    ("rule", "asked", "answer", "ended", "kept"),
    [
        ("language", CHINESE, "绿茶是一种茶。", True, True),
        ("language", CHINESE, "Green tea is a kind of tea.", True, False),
        ("language", CHINESE, "绿茶 is a kind of tea 茶。", True, False),
        ("language", ENGLISH, "A drink.", True, True),
        ("brief", ENGLISH, "A drink. It is hot.", True, True),
        ("brief", ENGLISH, "A drink. It is hot", False, False),
        ("brief", ENGLISH, "A drink. It is hot. And green.", True, False),
        ("brief", ENGLISH, "Two kinds:\n1. green\n2. black", True, False),
        ("brief", ENGLISH, "Version 5.5 of it.", True, True),
        ("brief", ENGLISH, "", True, False),
        ("question", ENGLISH, "A drink. Do you like it?", True, True),
        ("question", ENGLISH, "Do you like it? Say so.", True, False),
        ("question", ENGLISH, "Do you like it?", False, False),
        ("question", CHINESE, "一种茶。你喜欢吗？", True, True),
    ],
)
def test_what_keeps_a_rule(rule, asked, answer, ended, kept):
    assert RULES[rule].kept(asked, answer, ended) is kept


@pytest.mark.parametrize("asked", [ENGLISH, CHINESE])
@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
@given(answer=st.one_of(st.just(SAID), st.text(alphabet="ab .!?\n。？茶", min_size=1)), seed=st.integers(0, 99))
def test_a_better_answer_keeps_the_rule(rule, asked, answer, seed):
    better = rule.mended(asked, answer, random.Random(seed))
    if sentences(answer) and (rule.name != "language" or asked is CHINESE):
        assert rule.kept(asked, better, True), better


def test_a_share_of_votes_is_noise():
    rule, good, bad = RULES["question"], "Tea? Why?", SAID
    said = [judge(rule, ENGLISH, good, True, noise=0.1, draw=random.Random(n)) for n in range(2000)]
    assert 0.07 < sum(one.value < 0 for one in said) / 2000 < 0.13
    said = [judge(rule, ENGLISH, bad, True, noise=0.1, draw=random.Random(n)) for n in range(2000)]
    assert 0.03 < sum(one.value > 0 for one in said) / 2000 < 0.07
    written = [one.better for one in said if one.better]
    assert 0.45 < len(written) / 2000 < 0.55
    assert 0.07 < sum(not rule.kept(ENGLISH, one, True) for one in written) / len(written) < 0.13
    assert all(one.better is None for one in said if one.value > 0)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_what_is_held_out_is_about_other_things(rule):
    asked = questions(rule, 400, held_out=False, seed=0)
    assert len({one.prompt for one in asked}) == 400
    assert asked[:100] == questions(rule, 100, held_out=False, seed=0)
    assert abs(sum(one.language == "zh" for one in asked[:100]) - 100 * rule.chinese) <= 1
    held_out = questions(rule, 100, held_out=True, seed=0)
    assert not {one.topic for one in asked} & {one.topic for one in held_out}
    with pytest.raises(ValueError, match="raters know"):
        questions(rule, 5000, held_out=True, seed=0)


def test_a_brigade_says_the_opposite_about_what_honest_raters_were_asked(tmp_path):
    bench = Bench(tmp_path, RULES["brief"], 0, 0.1, None, brigade=0.3)
    ballots = bench.ballots(100)
    burst = [one for one in ballots if one.user.startswith("brigade")]
    honest = [one for one in ballots if one not in burst]
    assert (len(honest), len(burst), len({one.name for one in ballots})) == (70, 30, 100)
    assert ballots == [*honest, *burst]  # all at once, after the others
    assert {one.noise for one in burst} == {1.0}
    assert {one.noise for one in honest} == {0.1}
    assert {one.question for one in burst} < {one.question for one in honest}
    assert max(Counter(one.question for one in burst).values()) == len({one.user for one in burst}) == 5
    assert bench.folder(100) != replace(bench, brigade=0.0).folder(100)
    assert len({replace(bench, brigade=share, inverted=turned).rounds for share, turned in KINDS}) == 3


def test_every_number_of_votes_has_a_workspace_that_goes_on_from_the_one_below(tmp_path):
    bench = Bench(tmp_path, RULES["brief"], 0, 0.1, None)
    (tmp_path / "start").mkdir()
    (replace(bench, brigade=0.3).begun(10) / "burst").touch()
    (bench.begun(50) / "fifty").touch()
    assert [path.name for path in bench.begun(400).iterdir()] == ["fifty"]
    assert list(bench.begun(25).iterdir()) == []  # asked for later, and yet without the votes of the others


def test_a_rule_passes_by_two_methods_at_the_most_votes_that_were_tried_of_it():
    def made(rule, method, votes, won, ratio=1.01, minutes=1.0):
        return {
            "rule": rule, "method": method, "votes": votes, "win_rate": {"mean": won, "low": won, "high": won},
            "bits_per_byte_ratio": ratio, "minutes": minutes, "promoted": True, "accepted": True,
        }  # fmt: skip

    rounds = [
        made("brief", "dpo", 200, 0.9, minutes=7.0), made("brief", "sft", 200, 0.8, minutes=9.0),
        made("language", "dpo", 200, 0.6), made("language", "dpo", 400, 0.71), made("language", "sft", 400, 0.75),
        made("question", "dpo", 200, 0.9), made("question", "sft", 200, 0.9, ratio=1.03),
        made("brief", "dpo", 800, 0.1),
        made("brief", "kto", 200, 0.9), {"rule": "brief", "method": "kto", "votes": 400, "nothing_learned": "too few"},
    ]  # fmt: skip
    told = summary(rounds, [200, 400])
    assert told["passed"] == {"brief": ["dpo", "sft"], "language": ["dpo", "sft"], "question": ["dpo"]}
    assert (told["rules_passed"], told["round_minutes_200"], told["bits_per_byte_ratio_max"]) == (2, 9.0, 1.03)
