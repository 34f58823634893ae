import re
from dataclasses import asdict

import pytest

from homeroom.serving.pages.strings import CHINESE, ENGLISH, preferred


def test_both_languages_say_the_same_things() -> None:
    english, chinese = asdict(ENGLISH), asdict(CHINESE)
    for name, text in english.items():
        other = chinese[name]
        assert text, name
        assert other, name
        assert type(other) is type(text)
        assert re.findall(r"{\w+}", str(text)) == re.findall(r"{\w+}", str(other)) or name == "theme", name
    assert len(ENGLISH.examples) == len(CHINESE.examples)
    assert set(ENGLISH.theme) == set(CHINESE.theme) == {"auto", "light", "dark"}


@pytest.mark.parametrize(
    ("cookie", "accept", "expected"),
    [
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "en-GB,en;q=0.9,zh;q=0.8", "en"),
        (None, "fr-FR,zh-TW;q=0.9", "zh"),
        (None, "fr", "en"),
        ("en", "zh-CN", "en"),
        ("zh", "en", "zh"),
        ("<script>", "zh", "zh"),
    ],
)
def test_the_language_is_what_was_chosen_else_what_the_browser_prefers(
    cookie: str | None, accept: str, expected: str
) -> None:
    assert preferred(cookie, accept) == expected
