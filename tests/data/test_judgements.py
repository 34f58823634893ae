import json
from dataclasses import dataclass, field, replace

import pytest

from homeroom.data.judgements import weigh
from homeroom.data.preferences import harvest, load_pairs, load_thumbs, plain, save_lessons


@dataclass(frozen=True)
class Given:
    text: str
    model_id: str = "m"
    finish_reason: str = "stop"
    token_ids: tuple[int, ...] = (7,)


@dataclass(frozen=True)
class Voted:
    question: str
    answer: str
    value: int
    user: str = "ann"
    at: str = "2026-01-05T00:00:00+00:00"
    better_answer: str | None = None
    finish_reason: str | None = "stop"
    token_ids: tuple[int, ...] | None = (7,)
    model_id: str = "m"
    edit_id: str | None = None
    written = False

    @property
    def history(self):
        return [{"role": "user", "content": self.question}]

    @property
    def message_id(self):
        return self.answer

    @property
    def vote_id(self):
        return f"{self.user} on {self.answer}"


@dataclass(frozen=True)
class Ranked:
    answers: list[Given]
    tiers: list[list[int]]
    user: str = "ann"
    flags: list[list[str]] = field(default_factory=list)
    ideal_answer: str | None = None
    question: str = "What is tea?"
    at: str = "2026-01-05T00:00:00+00:00"

    @property
    def history(self):
        return [{"role": "user", "content": self.question}]

    @property
    def id(self):
        return f"ranking of {self.user}"

    question_id = "q"


@dataclass(frozen=True)
class Compared:
    left: Given
    right: Given
    choice: str
    user: str = "ann"
    question: str = "What is tea?"
    at: str = "2026-01-05T00:00:00+00:00"

    @property
    def history(self):
        return [{"role": "user", "content": self.question}]

    @property
    def id(self):
        return f"comparison of {self.user}"

    question_id = "q"


A, B, C, D = (Given(letter) for letter in "ABCD")


def lessons(weighed, **options):
    return harvest(weighed.votes, [], 0.2, lambda _: 0.9, weights=weighed.weights, choices=weighed.choices, **options)


def texts(pairs):
    return {(one.chosen.text, one.rejected.text): one.weight for one in pairs}


def test_a_ranking_is_a_pair_of_each_two_of_which_all_share_one_weight():
    found = lessons(weigh([], [Ranked([A, B, C, D], [[0], [1, 2], [3]])]), pairs_per_question=1)
    sixth = pytest.approx(1 / 6, abs=1e-5)
    assert texts(found.pairs) == dict.fromkeys(
        [("A", "B"), ("A", "C"), ("A", "D"), ("B", "D"), ("C", "D")], sixth
    )  # B and C are tied
    assert found.pairs[0].chosen.token_ids == [7]
    assert found.questions == {"train": 1, "heldout": 0}


def test_a_toxic_flag_is_a_thumb_down_and_an_ideal_answer_was_written():
    flags = [["unhelpful"], ["toxic", "untrue"]]
    found = lessons(weigh([], [Ranked([A, B], [[0], [1]], flags=flags, ideal_answer="Leaves.")]))
    assert {(one.answer.text, one.liked) for one in found.thumbs} == {("B", False), ("Leaves.", True)}
    (written,) = (one for one in found.thumbs if one.liked)
    assert (written.answer.token_ids, written.answer.written) == (None, True)
    assert texts(found.pairs) == {("A", "B"): 1.0, ("Leaves.", "B"): 1.0}


def test_what_people_wrote_is_known_from_what_was_imported_without_tokens(tmp_path):
    imported = Voted("What is rain?", "Water.", 1, token_ids=None)
    corrected = Voted("What is tea?", "Sand.", -1, better_answer="Leaves.", edit_id="e")
    found = lessons(weigh([imported, corrected]))
    save_lessons(found.thumbs, tmp_path / "thumbs.jsonl")
    for thumbs in (found.thumbs, load_thumbs(tmp_path / "thumbs.jsonl")):
        assert {(one.answer.text, one.answer.written) for one in thumbs} == {
            ("Water.", False), ("Sand.", False), ("Leaves.", True),
        }  # fmt: skip
    save_lessons(found.pairs, tmp_path / "pairs.jsonl")
    assert [(one.chosen.written, one.rejected.written) for one in load_pairs(tmp_path / "pairs.jsonl")] == [
        (True, False)
    ]


def test_a_harvest_of_before_it_was_kept_takes_what_has_no_tokens_for_written(tmp_path):
    row = {"messages": [{"role": "user", "content": "?"}], "liked": True, "split": "train"}
    said = [{"text": "a", "ended": True, "token_ids": None}, {"text": "b", "ended": True, "token_ids": [7]}]
    (tmp_path / "thumbs.jsonl").write_text("".join(json.dumps(row | {"answer": one}) + "\n" for one in said))
    assert [one.answer.written for one in load_thumbs(tmp_path / "thumbs.jsonl")] == [True, False]


def test_a_comparison_is_a_pair_whichever_side_it_was_on_and_a_tie_is_none():
    assert texts(lessons(weigh([], [], [Compared(A, B, "left")])).pairs) == {("A", "B"): 1.0}
    assert texts(lessons(weigh([], [], [Compared(B, A, "right")])).pairs) == {("A", "B"): 1.0}
    assert lessons(weigh([], [], [Compared(A, B, "tie")])).pairs == []
    both = [Compared(A, B, "left"), Compared(B, A, "left", "bob")]
    assert lessons(weigh([], [], both)).pairs == []  # they cancel out
    agreed = [*both, Compared(A, B, "left", "cid"), Compared(B, A, "right", "dan")]
    assert texts(lessons(weigh([], [], agreed)).pairs) == {("A", "B"): 1.0}


def test_what_was_said_of_two_answers_goes_before_thumbs_and_beside_them():
    votes = [Voted("What is tea?", "A", -1), Voted("What is tea?", "B", 1), Voted("What is tea?", "C", -1)]
    found = lessons(weigh(votes, [], [Compared(A, B, "left")]))
    assert texts(found.pairs) == {("A", "B"): 1.0, ("B", "C"): 1.0}
    assert found.lone == 0


def test_nearly_the_same_question_is_on_one_side_for_rankings_and_votes():
    one = "Please tell me what the idiom 画蛇添足 means!"
    other = "please tell me what the idiom 画蛇添足 mean"
    weighed = weigh(
        [Voted(one, "A", 1), Voted(one, "B", -1)],
        [Ranked([A, B], [[0], [1]], question=other)],
        [Compared(C, D, "left", question="Something else?")],
    )
    made = harvest(
        weighed.votes, [], 0.2, lambda text: 0.0 if text == plain(other) else 0.9, choices=weighed.choices
    ).pairs
    sides = {(one.messages[0]["content"], one.split) for one in made}
    assert sides == {(one, "heldout"), (other, "heldout"), ("Something else?", "train")}
    asked = harvest(weighed.votes, ["Something else"], 0.2, lambda _: 0.9, choices=weighed.choices)
    assert asked.excluded == 1


def honest_and_a_brigade():
    """Twelve people agree on sixty answers, four newcomers say the opposite of them within minutes."""
    day = [f"2026-01-{number:02d}T08:00:00+00:00" for number in range(1, 29)]
    votes = [
        Voted(
            f"question {n // 2}?", f"{'good' if n % 2 else 'bad'} {n}", 1 if n % 2 else -1, f"p{p}", day[(n + p) % 28]
        )
        for n in range(60)
        for p in range(12)
        if (n + p) % 4 == 0
    ]
    votes += [
        Voted(f"question {n // 2}?", f"{'good' if n % 2 else 'bad'} {n}", -1 if n % 2 else 1, f"bot{b}",
              f"2026-01-09T12:{n:02d}:00+00:00")
        for n in range(60)
        for b in range(4)
        if n // 2 % 2
    ]  # fmt: skip
    return votes


def test_a_brigade_weighs_nothing_its_rows_are_named_and_an_operators_word_goes_over_it(tmp_path):
    votes = honest_and_a_brigade()
    weighed = weigh(votes)
    bots = [one.user.startswith("bot") for one in votes]
    assert [weight == 0 for weight in weighed.weights] == bots
    assert {row["vote_id"] for row in weighed.aside} == {one.vote_id for one in votes if one.user.startswith("bot")}
    assert {row["reason"] for row in weighed.aside} == {"brigade"}
    assert "bot" not in json.dumps(weighed.figures())
    assert weighed.figures()["people_set_aside"] == 4
    found = lessons(weighed)
    assert all(one.liked == one.answer.text.startswith("good") for one in found.thumbs)
    # Without a weight the lie wins wherever four say it and three the truth.
    plain = harvest(votes, [], 0.2, lambda _: 0.9)
    assert any(one.liked != one.answer.text.startswith("good") for one in plain.thumbs)
    assert found.lone < plain.lone + sum(bots)

    save_lessons(found.pairs, tmp_path / "pairs")
    save_lessons(found.thumbs, tmp_path / "thumbs")
    assert (load_pairs(tmp_path / "pairs"), load_thumbs(tmp_path / "thumbs")) == (found.pairs, found.thumbs)

    restored = weigh(votes, restored={"bot1"})
    assert {one.user for one, weight in zip(votes, restored.weights, strict=True) if not weight} == {
        "bot0",
        "bot2",
        "bot3",
    }
    distrusted = weigh(votes, distrusted={"p0", "bot2"})
    told = {row["vote_id"]: row["reason"] for row in distrusted.aside}
    assert {told[one.vote_id] for one in votes if one.user in ("p0", "bot2")} == {"distrusted"}
    assert {one.person: one.found for one in distrusted.trust.persons}["p0"] == ("distrusted",)
    assert len({weighed.digest(), restored.digest(), distrusted.digest()}) == 3
    later = [replace(one, at=one.at.replace("2026-01", "2026-03")) for one in votes]
    assert weigh(later).digest() == weighed.digest()  # when it was said makes no difference by itself


def test_a_ranking_by_somebody_distrusted_is_set_aside_whole():
    ranking = Ranked([A, B, C], [[0], [1], [2]], flags=[[], [], ["toxic"]], ideal_answer="Leaves.", user="eve")
    weighed = weigh([], [ranking, Ranked([A, B, C], [[2], [1], [0]])], distrusted={"eve"})
    assert weighed.aside == [{"ranking_id": "ranking of eve", "message_id": "q", "reason": "distrusted", "share": 1.0}]
    found = lessons(weighed)
    assert found.thumbs == []
    assert texts(found.pairs).keys() == {("C", "A"), ("C", "B"), ("B", "A")}


def test_a_part_of_a_ranking_may_count():
    """A comparison after it goes over the one pair that it is about."""
    ranked = Ranked([A, B, C], [[0], [1], [2]])
    weighed = weigh([], [ranked], [Compared(B, A, "left", at="2026-01-06T00:00:00+00:00")])
    assert weighed.aside == [
        {
            "ranking_id": "ranking of ann",
            "message_id": "q",
            "reason": "replaced",
            "share": pytest.approx(1 / 3, abs=1e-5),
        }
    ]
    assert texts(lessons(weighed).pairs)[("B", "A")] == 1.0
