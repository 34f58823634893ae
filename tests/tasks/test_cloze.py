from collections import Counter
from typing import Any

import pytest

from homeroom.settings import HomeroomError
from homeroom.tasks.cloze import Direction, cloze_items

DIRECTIONS: tuple[Direction, ...] = ("word", "channel", "explanation")


def halves(documents: Any) -> tuple[Any, Any]:
    return documents[:1_000], documents[1_000:]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_four_different_choices_and_the_right_one_among_them(real_idioms: Any, direction: Direction) -> None:
    items = cloze_items(real_idioms, direction)
    fields = {document.id: document.fields for document in real_idioms}
    assert len(items) > 0.8 * len(real_idioms)
    for item in items:
        assert len(set(item.choices)) == 4
        right = item.choices[item.answer]
        if direction == "explanation":
            assert str(fields[item.document_id]["word"]) in item.context
            assert right.rstrip("。") in str(fields[item.document_id]["explanation"])
        else:
            assert right == fields[item.document_id]["word"]
            assert len({len(choice) for choice in item.choices}) == 1
            assert all(choice not in item.context + item.after for choice in item.choices)
    places = Counter(item.answer for item in items)
    assert all(0.2 < places[place] / len(items) < 0.3 for place in range(4))


def test_items_depend_on_the_seed_and_not_on_the_order(real_idioms: Any) -> None:
    items = cloze_items(real_idioms, seed=1, count=50)
    assert len(items) == 50
    assert cloze_items(real_idioms[::-1], seed=1, count=50) == items
    assert cloze_items(real_idioms, seed=1, count=20) == items[:20]
    assert cloze_items(real_idioms, seed=2, count=50) != items


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_examples_come_from_the_other_documents_and_change_nothing_else(real_idioms: Any, direction: Direction) -> None:
    asked, shown = halves(real_idioms)
    bare = cloze_items(asked, direction, count=100)
    words = {str(document.fields["word"]) for document in asked}
    for shots in (1, 4):
        for item, alone in zip(
            cloze_items(asked, direction, examples=shown, shots=shots, count=100), bare, strict=True
        ):
            assert (item.choices, item.answer, item.after) == (alone.choices, alone.answer, alone.after)
            assert item.context.endswith(alone.context)
            examples = item.context.removesuffix(alone.context)
            assert examples.count("\n") == (2 if direction == "word" else 1) * shots
            assert not any(f"“{word}”" in examples or f"成语：{word}\n" in examples for word in words)
            assert len(item.context) < 200


def test_no_choice_is_named_in_the_explanation_of_another(make: Any) -> None:
    words = ["画蛇添足", "刻舟求剑", "守株待兔", "掩耳盗铃", "井底之蛙", "杯弓蛇影"]
    meanings = ["不同于刻舟求剑", "死守教条", "想不劳而获", "自己骗自己", "见识短浅", "疑神疑鬼"]
    idioms = [make("idiom", word=word, explanation=meaning) for word, meaning in zip(words, meanings, strict=True)]
    seen = set()
    for seed in range(20):
        for item in cloze_items(idioms, seed=seed):
            assert not {"画蛇添足", "刻舟求剑"} <= set(item.choices)
            seen.update(item.choices)
    assert seen == set(words)


def test_too_few_idioms_make_no_items(real_idioms: Any) -> None:
    assert cloze_items(real_idioms[:3]) == []
    assert cloze_items([]) == []
    with pytest.raises(HomeroomError, match="2 examples are wanted, but only 0 idioms"):
        cloze_items(real_idioms, shots=2)
    assert cloze_items([], shots=2) == cloze_items(real_idioms[:3], shots=2) == []


def test_the_same_word_twice_is_never_a_choice_against_itself(idiom: Any, real_idioms: Any) -> None:
    twins = [type(idiom)(f"twin {number}", "idiom", idiom.fields) for number in range(30)]
    items = cloze_items([*twins, *real_idioms[:20]])
    assert sum(item.choices[item.answer] == "画蛇添足" for item in items) == 1
    assert all(item.choices.count("画蛇添足") <= 1 for item in items)
