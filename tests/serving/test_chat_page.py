import pytest

from homeroom.serving.pages.thread import LONGEST_MESSAGE, sent

LONG = "x" * (LONGEST_MESSAGE + 1)


@pytest.mark.parametrize(
    ("arguments", "text", "length"),
    [
        ({"text": "你好", "length": 2}, "你好", 2),
        ({"text": "", "length": 123_456}, "", 123_456),  # the page holds back a text that is too long
        ({"text": LONG, "length": 3}, LONG, len(LONG)),
        ({"text": LONG}, LONG, len(LONG)),
        ({"text": "hi", "length": "x"}, "hi", 2),
        ({"text": "hi", "length": None}, "hi", 2),
        ({"text": ["hi"], "length": -1}, "", 0),
        ("hi", "", 0),
        (None, "", 0),
    ],
)
def test_what_a_browser_says_is_not_believed(arguments: object, text: str, length: int) -> None:
    assert sent(arguments) == (text, length)
