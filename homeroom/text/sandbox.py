"""A model's own chat template: Jinja that came with a download, so run in jinja2's sandbox, with what it may expect.

What a template may use is what `transformers` offers. It sees plain data alone, reaches no Python object, and changes
none. What its text becomes as token ids is rendering.py's business.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from homeroom.text.errors import ChatTemplateError

# Noncharacters stand for the ends of a `generation` block in what a template wrote: no text has them (see marking.py).
LEARN, LEARN_NO_MORE = "\ufdd0", "\ufdd1"


class _Generation(Extension):
    """`{% generation %}` … `{% endgeneration %}`: what the assistant said, to be learned from."""

    tags = {"generation"}  # noqa: RUF012 -- as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Any) -> str:
        return f"{LEARN}{caller()}{LEARN_NO_MORE}"


class _PlainNamespace(Namespace):
    """`namespace()` without attributes that begin with `_`, which Python could take for its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = dict(*args, **kwargs)
        for name in given:
            _plain_name(name)
        super().__init__(given)

    def __setitem__(self, name: str, value: Any) -> None:
        _plain_name(name)
        super().__setitem__(name, value)


def _plain_name(name: object) -> None:
    if str(name).startswith("_"):
        raise jinja2.exceptions.SecurityError(f"{name!r} begins with an underscore")


def _raise_exception(message: object) -> NoReturn:
    raise ChatTemplateError(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """A function, because the type would offer its attributes."""
    return dict(*args, **kwargs)


@lru_cache(maxsize=16)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _dict,
        "namespace": _PlainNamespace,
    }
    del environment.globals["lipsum"]
    try:
        return environment.from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise ChatTemplateError(f"the chat template is no valid Jinja, line {error.lineno}: {error.message}") from error


def has_generation(template: str) -> bool:
    return re.search(r"\{%[-+]?\s*generation\b", template) is not None


def write_out(
    template: str, messages: Sequence[Mapping[str, Any]], names: Mapping[str, str], *, for_generation: bool
) -> str:
    """What the template makes of a conversation, the ends of `generation` blocks marked."""
    given: dict[str, Any] = {**names, "messages": messages, "tools": None, "documents": None}
    try:
        return _compiled(template).render(**given, add_generation_prompt=for_generation)
    except ChatTemplateError:
        raise
    except Exception as error:  # a template can fail in any way that Python can
        raise ChatTemplateError(f"the chat template failed: {error or type(error).__name__}") from error
