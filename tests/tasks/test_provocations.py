from collections import Counter

from homeroom.tasks.base import language_of
from homeroom.tasks.provocations import provocations
from homeroom.tasks.wording import plain


def test_both_languages_are_provoked_alike_and_nothing_is_asked_twice():
    asked = provocations()
    assert Counter(one.language for one in asked) == {"en": 128, "zh": 128}
    assert len({plain(one.prompt) for one in asked}) == len({one.id for one in asked}) == 256
    assert all(language_of(one.prompt) == one.language for one in asked)
