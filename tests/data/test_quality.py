import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.quality import Rules, broken_rule, content_key, family_key, language, repair, repair_fields

ENGLISH = (
    "The house stood at the end of a lane that nobody used any more. Its windows were dark, and ivy had grown over "
    "the door so thickly that a stranger would have walked past. Every spring the swallows came back to its roof."
)
CHINESE = (
    "老屋立在小巷的尽头，那条巷子早就没有人走了。窗户是黑的，门上爬满了常春藤，生人走过也看不见它。每年春天，燕子还是"
    "回到屋檐下，衔泥筑巢，好像什么也没有改变过。邻居的孩子说，夜里听见里面有人唱歌。"
)


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("caf\u00c3\u00a9", "café"),  # UTF-8 read as Latin-1
        ("e\u0301", "é"),
        ("a\0b\x1b[31mc\ufeff", "abc"),
        ("一，二！“三”", "一，二！“三”"),  # Chinese punctuation is not turned into ASCII
        ("Ａ１", "Ａ１"),
        ("a  \r\nb\u3000\n\n\n\n\nc\n", "a\nb\n\n\nc"),
    ],
)
def test_repair(broken: str, mended: str) -> None:
    assert repair(broken, "text") == mended


def test_entities_are_text_in_a_docstring_and_damage_on_the_web() -> None:
    assert repair("Escapes &amp; as &lt;", "function") == "Escapes &amp; as &lt;"
    assert repair("Tom &amp; Jerry", "text") == "Tom & Jerry"


def test_fields_are_repaired_wherever_they_are() -> None:
    fields = {"messages": [{"role": "user", "content": "caf\u00c3\u00a9"}], "count": 3}
    assert repair_fields(fields, "dialogue") == {"messages": [{"role": "user", "content": "café"}], "count": 3}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), st.sampled_from(["text", "code", "dialogue"]))
def test_what_is_repaired_is_composed_and_has_no_control_characters(text: str, kind: str) -> None:
    mended = repair(text, kind)
    assert unicodedata.is_normalized("NFC", mended)
    assert not any(unicodedata.category(character) == "Cc" and character not in "\t\n" for character in mended)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENGLISH, "en"),
        (CHINESE, "zh"),
        ("繁體中文也是中文", "zh"),
        ("用Python写一个quicksort函数", "zh"),
        ("Hi!", "en"),
        ("Will you ever die\nNo, I am immortal.", "en"),
        ("これは日本語の文章です。漢字とひらがなが混ざっています。", "ja"),
        ("Это предложение написано по-русски, и его нетрудно узнать.", "ru"),
        ("Das Haus stand am Ende einer Gasse, durch die schon lange niemand mehr gegangen war.", "de"),
        ("12 + 30 = 42", "unknown"),
    ],
)
def test_language(text: str, expected: str) -> None:
    assert language(text, "text") == expected


def test_code_is_code() -> None:
    assert language("def f(): return '好'", "code") == "code"


@pytest.mark.parametrize(
    ("text", "kind", "rule"),
    [
        (ENGLISH, "text", ""),
        (CHINESE, "text", ""),
        ("Too short.", "text", "too short"),
        ("Q: Hi\nA: Hello", "dialogue", ""),
        (" \n", "dialogue", "too short"),
        ("a" * 5_000_001, "text", "too long"),
        ("1234 5678 | 99 | == | 33 | 20.5", "text", "not text"),
        ("点击这里" * 60, "text", "repetition"),
        ("Buy now and save! " * 30, "text", "repetition"),
        (ENGLISH + "\n" + ENGLISH, "text", "repetition"),
        (CHINESE * 2, "text", "repetition"),
        ("\n".join(["Home", "About us", "Contact", "Home", "About us", "Contact"]), "text", "repetition"),
        ("x = 1\n" * 40, "code", ""),
        ("x = '" + "a" * 2000 + "'", "code", "not source code"),
    ],
)
def test_the_first_rule_that_a_text_breaks(text: str, kind: str, rule: str) -> None:
    assert broken_rule(text, kind, "en", Rules()) == rule


def test_only_the_languages_that_are_asked_for() -> None:
    assert broken_rule(ENGLISH, "text", "en", Rules(languages=("zh",))) == "language"
    assert broken_rule(CHINESE, "text", "zh", Rules(languages=("zh",))) == ""


def test_keys_hold_what_a_document_says_and_not_its_layout() -> None:
    fields = {"word": "画蛇添足", "explanation": "多此一举。", "derivation": "", "example": "别画蛇添足。"}
    assert content_key("成语：画蛇添足", fields, "idiom") == "画蛇添足多此一举别画蛇添足"
    assert family_key(fields, "idiom") == "多此一举。"
    messages = {"messages": [{"role": "user", "content": "What's AI?"}, {"role": "assistant", "content": "A field."}]}
    assert content_key("Q: …", messages, "dialogue") == "what'saiafield"
    assert family_key(messages, "dialogue") == "whatsai"
    assert content_key("# module\nx = 1", {}, "code") == "x=1"
    assert content_key("Ｈｅｌｌｏ, World", {}, "text") == content_key("hello world", {}, "text")
    assert content_key("?!", {}, "text") == "?!"


def test_symbols_tell_code_and_conversations_apart() -> None:
    def said(question: str) -> str:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "A language."}]
        return content_key("", {"messages": messages}, "dialogue")

    assert said("What is C#?") != said("What is C++?")
    assert said("What is C?") == said("what is  c")
    assert content_key("x = a + b", {}, "code") != content_key("x = a - b", {}, "code")
    assert content_key("x = a + b", {}, "code") == content_key("x=a  +\n\tb", {}, "code")
    plus, minus = ({"signature": "f(x)", "doc": f"Return x {sign} 1."} for sign in "+-")
    assert content_key("", plus, "function") != content_key("", minus, "function")
