"""Markdown of a model's answers as HTML that can do no harm, block by block, so that a stream re-draws only its end.

markdown-it-py and not markdown2: it follows CommonMark, takes linear time where markdown2 takes seconds for hostile
text (dev/LOG.md), and writes no markup but its own. What is written here for it escapes all that people or models say.
"""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from homeroom.serving.pages.strings import Strings

ALLOWED_LINKS = ("http", "https", "mailto")
LINK = {"target": "_blank", "rel": "noopener noreferrer nofollow"}
SMALLEST_HEADING = 6


def blocks(text: str, strings: Strings) -> list[str]:
    """The HTML of each paragraph, list, table, block of code …, in order."""
    env: dict[str, Any] = {"strings": strings}
    made: list[str] = []
    block: list[Token] = []
    for token in _MARKDOWN.parse(text, env):
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            made.append(_MARKDOWN.renderer.render(block, _MARKDOWN.options, env).rstrip())
            block = []
    return made


def _fence(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    """Code with its language and a button that copies it. chat.js does the copying."""
    token, strings = tokens[index], env["strings"]
    language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
    # What scrolls sideways must be within reach of the keyboard.
    return (
        f'<div class="code"><div class="code-head"><span>{escape(language)}</span>'
        f'<button type="button" class="code-copy" data-done="{escape(strings.copied)}"'
        f' data-failed="{escape(strings.not_copied)}">{escape(strings.copy_code)}</button></div>'
        f'<pre tabindex="0" role="region" aria-label="{escape(strings.code)}"><code>'
        f"{escape(token.content)}</code></pre></div>"
    )


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    for name, value in LINK.items():
        tokens[index].attrSet(name, value)
    return renderer.renderToken(tokens, index, options, env)


def _heading(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    """An answer's headings stand below the page's own."""
    level = min(int(tokens[index].tag[1]) + 1, SMALLEST_HEADING)
    return f"<h{level}>" if tokens[index].nesting == 1 else f"</h{level}>\n"


def _table_open(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    return f'<div class="table" tabindex="0" role="region" aria-label="{escape(env["strings"].table)}"><table>\n'


def _table_close(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    return "</table></div>\n"


def _is_allowed(url: str) -> bool:
    """Only what leads out of here openly; a path would lead into this server."""
    try:
        return urlsplit(url).scheme.lower() in ALLOWED_LINKS
    except ValueError:
        return False


def _made() -> MarkdownIt:
    markdown = MarkdownIt("js-default", {"html": False, "breaks": True})
    # An image would be fetched from somewhere as soon as it is seen. A line of dashes makes a heading of the line
    # above: while "- a list" is being written, the text before it would jump.
    markdown.disable(["image", "lheading"])
    markdown.validateLink = _is_allowed  # type: ignore[method-assign]
    for name, rule in {
        "fence": _fence,
        "code_block": _fence,
        "link_open": _link_open,
        "heading_open": _heading,
        "heading_close": _heading,
        "table_open": _table_open,
        "table_close": _table_close,
    }.items():
        markdown.add_render_rule(name, rule)
    return markdown


_MARKDOWN = _made()
