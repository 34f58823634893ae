"""What the page Rank says of agreement, and of how little it says nothing."""

import pytest

from homeroom.serving.agreement import Agreement, Measure, sentences
from homeroom.serving.pages.strings import CHINESE, ENGLISH


def test_too_few_questions_are_counted_and_not_judged() -> None:
    few = Agreement(4, 2, Measure(1.0, 1.0, 1.0, 4), Measure(1.0, 0.5, 1.0, 4))
    assert sentences(few, ENGLISH) == [
        "It is shown once 5 questions were ranked by several people; so far: 4.",
    ]


@pytest.mark.parametrize(
    ("alpha", "low", "meaning"),
    [
        (0.85, 0.7, ENGLISH.rank.alpha_high),
        (0.7, 0.5, ENGLISH.rank.alpha_fair),
        (0.5, 0.1, ENGLISH.rank.alpha_low),
        (0.5, -0.1, ENGLISH.rank.alpha_none),
        (-0.3, -0.6, ENGLISH.rank.alpha_none),
    ],
)
def test_a_coefficient_is_said_in_words_with_its_interval(alpha: float, low: float, meaning: str) -> None:
    measured = Agreement(12, 3, Measure(alpha, low, 0.9, 12), Measure(0.781, 0.6, 0.9, 7))
    own, everybody = sentences(measured, ENGLISH)
    assert own.startswith("You put 78% of the pairs of answers in the order that others put them in (60% to 90%; 7 ")
    assert everybody == (f"Krippendorff's α of 3 people is {alpha:.2f} ({low:.2f} to 0.90; 12 questions): {meaning}.")
    assert "78%" in sentences(measured, CHINESE)[0]
    assert len(sentences(Agreement(12, 3, measured.alpha, None), ENGLISH)) == 1
