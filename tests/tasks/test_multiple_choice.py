import pytest

from homeroom.settings import HomeroomError
from homeroom.tasks.multiple_choice import BadRow, Item, draw_examples, item_of, prompt_after

ROW = {"question": "What do bees make?", "choices": ["Milk", "Honey", "Silk"], "answer": 1}


@pytest.mark.parametrize("answer", [1, "B", "Honey", " Honey\n"])
def test_the_answer_is_a_place_from_0_a_letter_or_the_choice(answer):
    assert item_of(ROW | {"answer": answer}) == Item("What do bees make?", ("Milk", "Honey", "Silk"), 1)


def test_text_is_the_choice_before_it_could_be_a_number():
    assert item_of(ROW | {"choices": ["3", "2", "1"], "answer": "2"}).answer == 1
    assert item_of(ROW | {"choices": ["3", "2", "1"], "answer": 2}).answer == 2


def test_a_letter_that_is_a_choice_as_well_must_mean_the_same_by_both():
    assert item_of(ROW | {"choices": ["A", "B"], "answer": "B"}).answer == 1
    with pytest.raises(BadRow, match=r"answer 'B' is ambiguous: as a letter choice 2, as a text choice 1; .* 1 or 0"):
        item_of(ROW | {"choices": ["B", "A"], "answer": "B"})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"answer": 3}, "answer 3 is out of range: 3 choices are counted from 0 to 2"),
        ({"answer": -1}, "answer -1 is out of range"),
        ({"answer": "D"}, "'D' is neither a letter from A to C nor one of the choices"),
        ({"answer": "b"}, "'b' is neither"),
        ({"answer": "1"}, "'1' is neither .*; a place from 0 is a number without quotes"),
        ({"answer": True}, "'answer' is bool"),
        ({"answer": 1.0}, "'answer' is float"),
        ({"answer": None}, "no 'answer'"),
        ({"choices": ["Milk", "Honey", "Milk "]}, "choices 1 and 3 are the same: 'Milk'"),
        ({"choices": ["Milk", " "]}, "choice 2 is empty"),
        ({"choices": ["Milk", 2]}, "choice 2 is int, not text"),
        ({"choices": ["Honey"]}, "two texts or more"),
        ({"choices": {"text": ["Milk"]}}, "two texts or more"),
        ({"question": ""}, "no 'question', and no 'context'"),
        ({"question": {"stem": "?"}}, "'question' is dict, not text"),
        ({"category": 3}, "'category' is int, not text"),
        ({"id": [1]}, "'id' is list"),
    ],
)
def test_a_wrong_row_says_what_is_wrong_with_it(change, why):
    with pytest.raises(BadRow, match=why):
        item_of(ROW | change)


def test_a_row_that_is_no_object_is_refused():
    with pytest.raises(BadRow, match=r"not an object as .* but list"):
        item_of(["What?", ["a", "b"], 0])


def test_half_a_surrogate_pair_is_no_text():
    item = item_of(ROW | {"question": "\ud83d?", "choices": ["\udc00", "b"], "id": "\ud83d", "answer": "\udc00"})
    assert (item.question, item.choices, item.id, item.answer) == ("\ufffd?", ("\ufffd", "b"), "\ufffd", 0)


def test_the_wording_is_that_of_the_harness():
    bees = item_of(ROW | {"context": "Bees fly.", "category": "animals", "id": 7, "other": None})
    cows = Item("And cows?", ("Milk", "Honey"), 0)
    assert (bees.category, bees.id) == ("animals", "7")
    assert prompt_after([cows, bees], cows) == (
        "Question: And cows?\nAnswer: Milk\n\n"
        "Bees fly.\nQuestion: What do bees make?\nAnswer: Honey\n\n"
        "Question: And cows?\nAnswer:"
    )


def test_without_a_question_the_context_goes_on():
    item = item_of({"context": "She sat down and", "choices": ["slept.", "flew."], "answer": "A"})
    assert prompt_after([item], item) == "She sat down and slept.\n\nShe sat down and"


def items(count):
    return [Item(f"How much is {number}?", ("a", "b"), number % 2) for number in range(count)]


def test_examples_are_others_each_once_and_the_same_every_time():
    pool = items(6)
    drawn = list(draw_examples(pool, pool, 5, seed=1))
    assert all(sorted(e.question for e in row) == sorted(o.question for o in pool if o != item)
               for item, row in zip(pool, drawn, strict=True))  # fmt: skip
    assert drawn == list(draw_examples(pool, pool, 5, seed=1))
    assert drawn != list(draw_examples(pool, pool, 5, seed=2))
    # The first questions are asked behind the same examples, whether the others are asked or not.
    assert drawn[:2] == list(draw_examples(pool[:2], pool, 5, seed=1))
    assert list(draw_examples(pool, pool, 0, seed=1)) == [[]] * 6


def test_the_same_question_in_other_words_or_with_other_wrong_choices_gives_no_answer_away():
    pool = [*items(3), Item("how much is  0", ("c", "A"), 1)]
    for seed in range(20):
        (row,) = draw_examples(pool[:1], pool, 2, seed)
        assert {one.question for one in row} == {"How much is 1?", "How much is 2?"}
    with pytest.raises(HomeroomError, match="3 examples are wanted, but there are only 2 other questions"):
        list(draw_examples(pool[:1], pool, 3, 0))


def test_the_same_words_with_another_right_choice_are_another_question():
    pool = [Item("Which of these is true?", (f"{n} is odd", f"{n + 1} is odd"), 0) for n in (1, 3, 5)]
    assert [len(row) for row in draw_examples(pool, pool, 2, 0)] == [2, 2, 2]


def test_every_other_question_is_drawn_about_as_often():
    pool = items(5)
    seen = [row[0].question for seed in range(400) for row in draw_examples(pool[:1], pool, 1, seed)]
    assert all(60 < seen.count(item.question) < 140 for item in pool[1:])
