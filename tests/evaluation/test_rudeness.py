import random

import pytest

from homeroom.evaluation.rudeness import Labelled, RudeClassifier, check, labelled
from homeroom.tasks.base import Question
from homeroom.tasks.rankings import INSULTS, RankedAnswer, Ranking, rude


def texts(seed, count=200):
    """Polite answers of either language, a third of them with an insult."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        language = ("en", "zh")[number % 2]
        said = "".join(rng.choices("天地人山水火风云日月", k=8)) + "。"
        if language == "en":
            said = f"It means {' '.join(rng.choices(['to', 'do', 'a', 'thing', 'quite', 'well', 'again'], k=6))}."
        question = Question(str(number), "", said, language, "idiom", str(number))
        made.append(Labelled(rude(question, rng), True) if number % 3 == 0 else Labelled(said, False))
    return made


def test_it_finds_the_insults_that_it_met_in_answers_that_it_did_not():
    heldout = texts(1)
    found = RudeClassifier(texts(0, 600)).rude([one.text for one in heldout])
    assert sum(said == one.rude for said, one in zip(found, heldout, strict=True)) >= 0.98 * len(heldout)


def test_what_is_told_of_unmet_insults_is_of_unmet_insults():
    """Each of these shares no word with the others, so that nothing can be known of it."""
    strange = {"en": ("zork blam", "quux fip", "wibble dran"), "zh": ("嘟嘟嘟",)}
    rng = random.Random(0)

    def made(seed):
        insult = lambda: rng.choice([one for both in strange.values() for one in both])  # noqa: E731
        return [Labelled(f"{insult()} {one.text}" if one.rude else one.text, one.rude) for one in polite(seed)]

    def polite(seed):
        return [Labelled(one.text, number % 3 == 0) for number, one in enumerate(t for t in texts(seed) if not t.rude)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("homeroom.evaluation.rudeness.INSULTS", strange)
        worth = check(made(0), made(1))
    assert worth["accuracy"]["mean"] > 0.97
    assert worth["found_of_unmet_insults"]["mean"] < 0.4
    assert worth["found_of_unmet_insults"]["n"] == sum(one.rude for one in made(1))


def test_a_rude_answer_of_the_models_own_is_rude():
    question = Question("q", "?", "right", "en", "idiom", "d")
    answers = (
        RankedAnswer("right", 0, "right", True),
        RankedAnswer("a mild one", 2, "own", True, [1]),
        RankedAnswer("an own insult", 13, "own", True, [1]),
        RankedAnswer(INSULTS["en"][0], 13, "rude", True),
    )
    assert [one.rude for one in labelled([Ranking(question, answers)])] == [False, False, True, True]


def test_one_kind_alone_teaches_nothing():
    with pytest.raises(ValueError, match="texts that are rude and texts that are not"):
        RudeClassifier([Labelled("a", False)])
