"""Answers as Markdown: what CommonMark says, and nothing that could do harm."""

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.serving.pages.markdown import ALLOWED_LINKS, blocks
from homeroom.serving.pages.strings import CHINESE, ENGLISH

TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "a", "ul", "ol", "li", "blockquote",
    "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "div", "span", "button",
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href", "title", "target", "rel"}, "ol": {"start"}, "th": {"style"}, "td": {"style"},
    "div": {"class", "tabindex", "role", "aria-label"}, "pre": {"tabindex", "role", "aria-label"},
    "button": {"type", "class", "data-done", "data-failed"},
}  # fmt: skip


class Parsed(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.depth, self.text = 0, ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.depth += tag not in ("br", "hr")

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag not in ("br", "hr")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.elements.append(("!--", {}))


def parsed(text: str) -> Parsed:
    return Parsed("".join(blocks(text, ENGLISH)))


PIECES = st.sampled_from(
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<!--", "-->", "]]>",
        "[a](javascript:alert(1))", "[a](JaVaScRiPt&#58;alert(1))", "[a](data:text/html,x)", "![a](http://x.y/z.png)",
        "<javascript:alert(1)>", "<https://x.y/\"onclick=alert(1)>", "[a]: javascript:x \"t\"\n", "[a][a]", "[a]",
        "[a](<https://x.y/'><b>> \"ti\\\"tle\")", "```<b>\n", "```\n", "``", "`", "| a | <i> |\n|---|---|\n| b |\n",
        "\n", "\n\n", "    ", "- ", "> ", "1. ", "# ", "**", "_", "~~", "&lt;b&gt;", "&#x3c;b>", "\\", "<", ">", "\"",
        "'", "](", "\0", "画蛇添足", "\u202e", "a",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join))
def test_whatever_is_said_only_harmless_markup_comes_of_it(text: str) -> None:
    for block in blocks(text, ENGLISH):
        seen = Parsed(block)
        assert seen.depth == 0, block
        for tag, attributes in seen.elements:
            assert tag in TAGS, block
            assert set(attributes) <= ATTRIBUTES.get(tag, set()), block
            if tag == "a":
                assert (attributes["href"] or "").partition(":")[0].lower() in ALLOWED_LINKS, block
                assert attributes["target"] == "_blank"
                assert "noopener" in (attributes["rel"] or "")
            if tag in ("th", "td"):
                assert attributes.get("style", "text-align:left") in {
                    f"text-align:{w}" for w in ("left", "center", "right")
                }


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JAVASCRIPT:alert(1)", "java\tscript:alert(1)", "vbscript:x", "file:///etc/passwd",
     "data:text/html,<script>", "data:image/png;base64,x", "/sign-out", "//evil.example", "&#106;avascript:x"],
)  # fmt: skip
def test_a_link_that_does_not_lead_out_openly_is_text(url: str) -> None:
    seen = parsed(f"[look]({url}) ![look]({url})")
    assert [tag for tag, _ in seen.elements if tag in ("a", "img")] == []
    assert "look" in seen.text


def test_markup_is_shown_as_text() -> None:
    seen = parsed('<b onclick="x">bold</b> &amp; <script>\nalert(1)</script>\n\n<div>\n\n![a cat](https://x.y/cat.png)')
    assert {tag for tag, _ in seen.elements} <= {"p", "br", "a"}
    assert '<b onclick="x">bold</b> & <script>' in seen.text
    assert "<div>" in seen.text
    assert "a cat" in seen.text


def test_code_comes_with_its_language_and_a_button_in_the_readers_language() -> None:
    [code] = blocks("```python title\nif a < b:\n    print('&')\n```", CHINESE)
    seen = Parsed(code)
    assert "if a < b:\n    print('&')\n" in seen.text
    assert seen.text.startswith("python复制代码")
    told = {"data-done": "已复制", "data-failed": "未能复制，请选中文字"}
    assert ("button", {"type": "button", "class": "code-copy", **told}) in seen.elements


def test_what_is_still_being_written_keeps_the_blocks_before_it() -> None:
    """A stream re-draws its last block alone, and a list does not begin as a heading."""
    text = "One:\n- two\n- **three**\n\n```\ncode\n\nmore\n```\nAfter | it\n\n# End"
    before: list[str] = []
    for end in range(1, len(text) + 1):
        now = blocks(text[:end], ENGLISH)
        assert now[: len(before) - 1] == before[:-1], text[:end]
        before = now
    assert [Parsed(block).elements[0][0] for block in before] == ["p", "ul", "div", "p", "h2"]
    assert [Parsed(b).elements[0][0] for b in blocks("One:\n-", ENGLISH)] == ["p"]


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "[a](" * 5_000, "*a " * 6_000, "> " * 5_000 + "x", "<!--" * 5_000, "`a" * 9_000]
)
def test_hostile_text_does_not_take_the_server_from_the_others(text: str) -> None:
    began = time.process_time()
    blocks(text, ENGLISH)
    assert time.process_time() - began < 2  # 0.2 s on a quiet core
