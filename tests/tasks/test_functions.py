from collections.abc import Callable
from typing import Any

import pytest

from homeroom.tasks.base import language_of
from homeroom.tasks.functions import Functions, predicate, third_person
from homeroom.tasks.manners import manners

Make = Callable[..., Any]


def references(document: Any) -> dict[str, str]:
    return {question.kind: question.reference for question in Functions([document]).questions}


def test_a_function_is_asked_about_in_three_ways(make: Make) -> None:
    document = make("function", name="kitchen.make", signature="make(tea, *, minutes=5)", doc="Make and return a tea.")
    assert references(document) == {
        "function-purpose": "kitchen.make makes and returns a tea.",
        "function-arguments": "kitchen.make takes tea and minutes.",
        "function-module": "kitchen.make is in the module kitchen.",
    }


@pytest.mark.parametrize(
    ("signature", "arguments"),
    [
        ("make(self, a, /, b=1, *c, d: int = 2, **e) -> int", "a, b, *c, d and **e"),
        ("make(cls)", "no arguments"),
        ("make()", "no arguments"),
        ("make(a, selfish)", "a and selfish"),
    ],
)
def test_arguments_are_named_without_the_bound_one(make: Make, signature: str, arguments: str) -> None:
    document = make("function", name="kitchen.Pot.make", signature=signature, doc="")
    assert references(document) == {"function-arguments": f"kitchen.Pot.make takes {arguments}."}


@pytest.mark.parametrize("name", ["kitchen._boil", "kitchen.Pot.__init__", "a." * 20 + "b", "<lambda>", ""])
def test_private_and_odd_names_are_left_out(make: Make, name: str) -> None:
    assert references(make("function", name=name, signature="f()", doc="Return an egg to the pot.")) == {}


def test_what_is_no_signature_is_not_asked_about(make: Make) -> None:
    document = make("function", name="str.count", signature="count(<unrepresentable>", doc="")
    assert references(document) == {}


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("Return the number of eggs.\n\nMore.", "returns the number of eggs."),
        ("Returns the number of eggs, e.g. twelve. And more.", "returns the number of eggs, e.g. twelve."),
        ("Copy ``egg`` into a :class:`Pot`", "copies egg into a Pot."),
        ("Recursively delete a tree", "recursively deletes a tree."),
        ("Apply a function to eggs.", "applies a function to eggs."),
        ("Multiply and return the eggs.", "multiplies and returns the eggs."),
        ("S.count(sub) -> int", None),
        ("Eggs and more of them.", None),
        ("Return it.", None),
        (">>> make(1)", None),
        ("", None),
    ],
)
def test_the_first_sentence_becomes_one_about_the_function(doc: str, expected: str | None) -> None:
    assert predicate(doc) == expected


def test_third_person() -> None:
    words = ["Return", "returns", "Copy", "copies", "Push", "Display", "pass", "passes", "Egg", ""]
    expected = ["returns", "returns", "copies", "copies", "pushes", "displays", "passes", "passes", None, None]
    assert [third_person(word) for word in words] == expected


def test_real_functions_make_clean_demonstrations(real_functions: Any) -> None:
    task = Functions(real_functions)
    assert len(task.questions) > len(real_functions) / 2
    names = {document.id: document.fields["name"] for document in real_functions}
    for question in task.questions:
        assert question.reference.startswith(names[question.document_id])
        assert language_of(question.prompt) == question.language == "en"
        assert manners(question, question.reference, True) == 1
        assert task.grade(question, question.reference, True) == 1
        assert len(question.reference) <= 120
