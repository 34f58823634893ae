from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.preferences import (
    NEARLY_SAME,
    Pair,
    Said,
    digest,
    harvest,
    load_pairs,
    near_duplicates,
    plain,
    save_lessons,
)
from homeroom.tasks.split import share


@dataclass(frozen=True)
class Judged:
    question: str
    answer: str
    value: int
    better_answer: str | None = None
    finish_reason: str | None = "stop"
    token_ids: tuple[int, ...] | None = None
    written = False

    @property
    def history(self):
        return [{"role": "user", "content": self.question}]


def share_of(heldout):
    """Whether a question is held out, by its plain text."""
    return lambda question: 0.0 if question in map(plain, heldout) else 0.9


def reap(votes, evaluation=(), heldout=(), **options):
    return harvest(votes, evaluation, 0.2, share_of(heldout), **options)


def test_up_voted_stands_above_down_voted_and_a_better_answer_above_what_it_corrects():
    votes = [
        Judged("What is tea?", "A drink.", 1),
        Judged("What is tea?", "A a a a", -1, better_answer="Leaves in hot water."),
        Judged("What is rain?", "Water.", 1),
        Judged("Who are you?", "No.", -1, better_answer="Homeroom."),
    ]
    reaped = reap(votes)
    assert [(pair.chosen.text, pair.rejected.text) for pair in reaped.pairs] == [
        ("Leaves in hot water.", "A a a a"),
        ("A drink.", "A a a a"),
        ("Homeroom.", "No."),
    ]
    assert reaped.lone == 1  # the thumb for "Water." compares nothing
    assert reaped.questions == {"train": 2, "heldout": 0}


def test_answers_to_different_questions_never_meet():
    assert reap([Judged("What is tea?", "A drink.", 1), Judged("What is rain?", "Wet.", -1)]).pairs == []


def test_a_follow_up_is_another_question_than_the_same_words_alone():
    alone = Judged("And why?", "Because.", 1)

    class Later(Judged):
        @property
        def history(self):
            first = [{"role": "user", "content": "Is it wet?"}, {"role": "assistant", "content": "Yes."}]
            return [*first, {"role": "user", "content": self.question}]

    assert reap([alone, Later("And why?", "No.", -1)]).pairs == []
    assert len(reap([Later("And why?", "Rain.", 1), Later("And why?", "No.", -1)]).pairs[0].messages) == 3


def test_votes_on_one_answer_are_added_up():
    votes = [Judged("q1?", "a", 1), Judged("q1?", "b", -1), Judged("q1?", "b", 1), Judged("q1?", "c", -1)]
    assert [(pair.chosen.text, pair.rejected.text) for pair in reap(votes).pairs] == [("a", "c")]


def test_a_truncated_answer_is_marked():
    (pair,) = reap([Judged("q?", "whole", 1), Judged("q?", "cut o", -1, finish_reason="length")]).pairs
    assert pair.chosen.ended
    assert not pair.rejected.ended


def test_one_question_does_not_fill_the_harvest():
    votes = [Judged("q?", f"good {i}", 1) for i in range(5)] + [Judged("q?", f"bad {i}", -1) for i in range(5)]
    pairs = reap(votes, pairs_per_question=5).pairs
    assert len({pair.chosen for pair in pairs}) == len({pair.rejected for pair in pairs}) == 5


def test_the_order_of_votes_decides_no_pair_and_no_identity():
    """A server answers many at once: they are stored as they come."""
    asked = [f"What is {thing}?" for thing in ("tea", "rain", "snow")]
    votes = [Judged(question, f"{value} {i}", value) for question in asked for i in range(6) for value in (1, -1)]
    votes += [Judged("what is tea", "1 3", -1), Judged("What is snow?", "-1 2", -1, better_answer="Cold.")]
    assert reap(votes[::-1]) == reap(votes)
    assert digest(votes[::-1]) == digest(votes)
    assert digest([replace(votes[0], better_answer="x"), *votes[1:]]) != digest(votes) != digest([*votes, votes[0]])


def test_what_a_full_question_leaves_out_is_in_no_pair():
    votes = [Judged("q?", f"good {i}", 1) for i in range(6)] + [Judged("q?", "bad", -1)]
    reaped = reap(votes, pairs_per_question=4)
    assert (len(reaped.pairs), reaped.lone) == (4, 2)


def test_many_answers_to_one_question_are_paired_at_once():
    """All pairs are many; the first few are wanted."""
    votes = [Judged("q?", f"{value} {i}", value) for i in range(2_000) for value in (1, -1)]
    assert [(p.chosen.text, p.rejected.text) for p in reap(votes).pairs][:1] == [("1 0", "-1 0")]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is C?", "What is C++?", False),
        ("What is 2+3?", "What is 2*3?", False),
        ("Is it -5?", "Is it 5?", False),
        ("😀", "😡", False),
        ("What is tea?", "what is  tea", True),
        ("这是什么？", "這是什麼?", True),
    ],
)
def test_which_answers_are_compared(one, other, same):
    reaped = reap([Judged(one, "a", 1), Judged(other, "b", -1)])
    assert len(reaped.pairs) == same


def groups(clusters):
    members = defaultdict(set)
    for index, cluster in enumerate(clusters):
        members[cluster].add(index)
    return sorted(map(sorted, members.values()))


@given(
    st.lists(st.text("abcdefgh", max_size=30), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 60), st.text("abx", max_size=4))),
)
def test_near_duplicates_are_those_that_comparing_all_with_all_finds(texts, changes):
    """Changed copies of random texts, so that many pairs lie about the threshold."""
    for which, at, more in changes:
        if texts:
            text = texts[which % len(texts)]
            texts.append(text[:at] + more + text[at:])
    shingles = [{text[i : i + 3] for i in range(max(1, len(text) - 2))} for text in texts]
    clusters = list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if len(shingles[i] & shingles[j]) / len(shingles[i] | shingles[j]) >= NEARLY_SAME:
            clusters = [clusters[i] if cluster == clusters[j] else cluster for cluster in clusters]
    assert groups(near_duplicates(texts)) == groups(clusters)


def test_near_duplicates_are_on_one_side_of_the_split():
    asked = [
        "Please tell me what the idiom 画蛇添足 means!",
        "please tell me what the idiom 画蛇添足 mean",
        "What is the weather today?",
    ]
    votes = [vote for question in asked for vote in (Judged(question, "a", 1), Judged(question, "b", -1))]
    splits = [pair.split for pair in reap(votes, heldout=[asked[1]]).pairs]
    assert sorted(splits) == ["heldout", "heldout", "train"]


@dataclass(frozen=True)
class Later(Judged):
    """The same, but after something else was talked about."""

    first: str = "Good morning!"

    @property
    def history(self):
        begun = [{"role": "user", "content": self.first}, {"role": "assistant", "content": "Yes?"}]
        return [*begun, *super().history]


def test_a_question_asked_alone_and_after_a_greeting_is_on_one_side():
    cast = [
        make(question, answer, value)
        for question in ("What is the weather like in spring?", "And why?")
        for make in (Judged, Later, lambda *said: Later(*said, first="Who are you?"))
        for answer, value in (("a", 1), ("b", -1))
    ]

    def split(votes, first):
        reaped = harvest(votes, (), 0.2, lambda question: 0.0 if first in question else 0.9)
        return [(pair.messages[-1]["content"], pair.split) for pair in reaped.pairs]

    assert sorted(split(cast, "goodmorning"))[3:] == [("What is the weather like in spring?", "heldout")] * 3
    # What nobody asks alone hangs on what was said before.
    follow = [one for one in cast if one.question == "And why?" and isinstance(one, Later)]
    assert sorted(split(follow, "whoareyou")) == [("And why?", "heldout"), ("And why?", "train")]


def test_evaluation_questions_never_train():
    votes = [
        Judged("画蛇添足是什么意思", "多余", 1),
        Judged("画蛇添足是什么意思", "x", -1),
        Judged("守株待兔是什么意思？", "侥幸", 1),
        Judged("守株待兔是什么意思？", "y", -1),
    ]
    reaped = reap(votes, evaluation=["画蛇添足是什么意思？"])
    assert [pair.chosen.text for pair in reaped.pairs] == ["侥幸"]
    assert reaped.excluded == 2


@pytest.mark.parametrize(
    "follow_up", ["画蛇添足是什么意思", "What is tea?", "「畫蛇添足」怎麼用", "tell me json.dumps (please)"]
)
def test_a_conversation_that_touches_the_evaluation_is_left_out(follow_up):
    @dataclass(frozen=True)
    class Later(Judged):
        @property
        def history(self):
            first = [{"role": "user", "content": "Hello there!"}, {"role": "assistant", "content": "Hello."}]
            return [*first, {"role": "user", "content": self.question}]

    votes = [Later(follow_up, "a", 1), Later(follow_up, "b", -1)]
    assert len(reap(votes).pairs) == 1
    reaped = reap(votes, ["画蛇添足是什么意思？", "What is tea?"], evaluated_names=["画蛇添足", "json.dumps"])
    assert (reaped.pairs, reaped.excluded) == ([], 2)


def test_a_name_is_not_found_inside_of_another():
    votes = [Judged("Why is Ben absent() from x.abs?", "a", 1), Judged("Why is Ben absent() from x.abs?", "b", -1)]
    assert len(reap(votes, evaluated_names=["abs", ""]).pairs) == 1
    assert reap(votes, evaluated_names=["absent"]).pairs == []


@pytest.mark.parametrize(
    ("question", "leaks"),
    [
        ("Is that all? What comes next?", False),
        ("Will you open the door?", False),
        ("What does `all` do?", True),
        ("Is next() slow?", True),
        ("How do I use open in Python?", True),
        ("open 函数怎么用", True),
        ("What does str.join do?", True),
    ],
)
def test_a_name_that_is_also_a_word_leaks_where_code_is_meant(question, leaks):
    reaped = reap(
        [Judged(question, "a", 1), Judged(question, "b", -1)],
        evaluated_names=["all", "next", "open", "str", "str.join"],
    )
    assert bool(reaped.excluded) is leaks


def test_a_better_answer_beside_a_thumb_up_is_learned_from():
    (pair,) = reap([Judged("What is tea?", "A drink.", 1, better_answer="Leaves in hot water.")]).pairs
    assert (pair.chosen.text, pair.rejected.text) == ("Leaves in hot water.", "A drink.")


def test_the_order_of_votes_decides_no_split():
    asked = ["Please tell me what the idiom 画蛇添足 means!", "please tell me what the idiom 画蛇添足 mean"]
    votes = [vote for question in asked for vote in (Judged(question, "a", 1), Judged(question, "b", -1))]
    for heldout in asked:
        splits = [{pair.split for pair in reap(some, heldout=[heldout]).pairs} for some in (votes, votes[::-1])]
        assert splits[0] == splits[1]


@given(
    asked=st.lists(st.text(alphabet="abcdefgh ?", min_size=1, max_size=30), min_size=1, max_size=25),
    evaluation=st.lists(st.text(alphabet="abcdefgh ?", min_size=1, max_size=30), max_size=5),
    heldout=st.floats(0, 1),
)
def test_no_question_trains_and_tests(asked, evaluation, heldout):
    votes = [vote for question in asked for vote in (Judged(question, "a", 1), Judged(question, "b", -1))]
    reaped = harvest(votes, evaluation, heldout, lambda text: share(text, "test"))
    sides = {split: [plain(p.messages[-1]["content"]) for p in reaped.pairs if p.split == split]
             for split in ("train", "heldout")}  # fmt: skip
    assert not set(sides["train"]) & set(sides["heldout"])
    assert not set(sides["train"] + sides["heldout"]) & set(map(plain, evaluation))
    both = near_duplicates(sides["train"] + sides["heldout"])
    assert not set(both[: len(sides["train"])]) & set(both[len(sides["train"]) :])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What does json.dumps do in Python, please?", "what does  json.dumps do in Python please", True),
        ("Please tell me what the idiom 画蛇添足 means!", "Please tell me what the idiom 画蛇添足 mean", True),
        ("成语“画蛇添足”是什么意思？", "成语“守株待兔”是什么意思？", False),
        ("How is the idiom 画蛇添足 pronounced?", "How is the idiom 守株待兔 pronounced?", False),
        ("Hi", "No", False),
    ],
)
def test_which_questions_nearly_say_the_same(one, other, same):
    first, second = near_duplicates([plain(one), plain(other)])
    assert (first == second) is same


def test_pairs_survive_the_file(tmp_path):
    pair = Pair(({"role": "user", "content": "问\n?"},), Said("是", True), Said("不", False, [7, 8]), "heldout")
    save_lessons([pair, replace(pair, split="train")], tmp_path / "pairs.jsonl")
    assert load_pairs(tmp_path / "pairs.jsonl") == [pair, replace(pair, split="train")]
    assert [one.rejected.token_ids for one in load_pairs(tmp_path / "pairs.jsonl")] == [[7, 8]] * 2


def test_an_answer_keeps_the_tokens_that_were_sampled_and_a_correction_has_none():
    votes = [Judged("q?", "bad", -1, better_answer="good", token_ids=(5, 6)), Judged("q?", "fine", 1, token_ids=(7,))]
    pairs = reap(votes).pairs
    assert [(pair.chosen.token_ids, pair.rejected.token_ids) for pair in pairs] == [(None, [5, 6]), ([7], [5, 6])]


def test_one_text_sampled_in_two_ways_is_one_answer():
    votes = [Judged("q?", "a", 1, token_ids=(5,)), Judged("q?", "a", -1, token_ids=(6, 7)), Judged("q?", "b", -1)]
    assert reap(votes).pairs == []
