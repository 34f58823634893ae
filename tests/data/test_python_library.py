import ast
import json
import textwrap
from pathlib import Path

import pytest

from homeroom.data.documents import Document
from homeroom.data.python_library import PythonLibrary

MODULE = '''
"""What this module is for."""

import os

\f
# A comment of four lines
# is prose: it tells in words
# what the code below it
# is meant to do.

VALUE = """
# not
# a
# comment
# at all
"""


class Thing(dict):
    """A thing in a class."""

    @property
    def size(self) -> int:
        """How large it is."""
        return len(self)

    async def wait(self, seconds=1.5, *, loudly=False): "One line."


    def known(
        self,
        é=1): "Told on the last line."; return é


def alone(a, /, b):
    """Only a docstring."""
'''


@pytest.fixture
def documents(tmp_path: Path) -> list[Document]:
    (tmp_path / "package" / "test").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "package" / "test" / "skipped.py").write_text('"""Skipped."""', encoding="utf-8")
    (tmp_path / "broken.py").write_text("def (", encoding="utf-8")
    (tmp_path / "table.py").write_text(f"TABLE = {list(range(5000))}", encoding="utf-8")
    return list(PythonLibrary(tmp_path).documents(1_000_000))


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document.kind == kind]


def test_functions_read_like_help(documents: list[Document]) -> None:
    functions = {str(document.fields["name"]): document for document in of_kind(documents, "function")}
    own = {name: functions[name].text for name in functions if name.startswith("package.")}
    assert own == {
        "package.Thing.size": "package.Thing.size(self) -> int\n    How large it is.",
        "package.Thing.wait": "package.Thing.wait(self, seconds=1.5, *, loudly=False)\n    One line.",
        "package.Thing.known": "package.Thing.known(self, é=1)\n    Told on the last line.",
        "package.alone": "package.alone(a, /, b)\n    Only a docstring.",
    }
    assert functions["len"].fields["signature"] == "len(obj, /)"
    assert str(functions["str.split"].fields["doc"]).startswith("Return a list")


def test_prose_and_code_share_no_sentence_and_the_code_still_runs(documents: list[Document]) -> None:
    prose = "\n".join(document.text for document in of_kind(documents, "prose"))
    [code] = of_kind(documents, "code")
    for sentence in ("What this module is for.", "is prose: it tells in words", "A thing in a class."):
        assert sentence in prose
        assert sentence not in code.text
    for sentence in ("How large it is.", "One line.", "Told on the last line.", "Only a docstring."):
        assert sentence not in code.text
    assert "# at all" in code.text
    assert "Skipped" not in prose
    tree = ast.parse(code.text)
    assert [ast.unparse(node) for node in tree.body[-1:]] == ["def alone(a, /, b):\n    ..."]
    assert code.text.startswith("# package\nimport os")


def test_the_limit_on_code_holds_and_pieces_are_short(tmp_path: Path) -> None:
    body = "".join(f"def function_{number}(x):\n    return x + {number}\n\n\n" for number in range(2000))
    (tmp_path / "long.py").write_text(textwrap.dedent(body), encoding="utf-8")
    code = of_kind(list(PythonLibrary(tmp_path).documents(40_000)), "code")
    assert 30_000 < sum(len(document.text) for document in code) <= 41_000
    assert all(len(document.text) < 8_100 for document in code)
    for document in code:
        ast.parse(document.text)


def test_the_library_of_this_interpreter_is_the_same_each_time() -> None:
    json_package = Path(json.__file__).parent
    one, other = ([document.id for document in PythonLibrary(json_package).documents(10_000)] for _ in range(2))
    assert one == other
    assert len(one) > 1_000
