"""CPython's standard library, as it is installed with the interpreter that runs, as documents.

Docstrings of functions become `function` documents, other docstrings, long comments and the language reference that
`help()` shows become `prose`, what remains of the source becomes `code`. No sentence is in two documents, or held-out
docstrings would be learned from inside of code. Which documents are good enough is for cleaning.py.
"""

import ast
import hashlib
import importlib
import inspect
import platform
import re
import sysconfig
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

from homeroom.data.documents import Document

SOURCE = "cpython"
_SKIPPED = {
    "__pycache__", "config", "dist-packages", "encodings", "ensurepip", "idlelib", "lib-dynload", "lib2to3",
    "pydoc_data", "site-packages", "test", "tests", "turtledemo",
}  # fmt: skip
# Their functions are written in C, so that only the running interpreter knows their docstrings.
_COMPILED = (
    "array", "atexit", "binascii", "bisect", "builtins", "bz2", "cmath", "codecs", "collections",
    "contextvars", "copyreg", "csv", "datetime", "decimal", "errno", "fcntl", "functools", "gc", "hashlib",
    "heapq", "io", "itertools", "json", "lzma", "marshal", "math", "mmap", "operator", "os", "pickle", "pwd",
    "random", "re", "resource", "select", "signal", "socket", "sqlite3", "ssl", "statistics", "string",
    "struct", "sys", "termios", "threading", "time", "types", "unicodedata", "weakref", "zlib",
)  # fmt: skip
_PIECE = 4_000  # characters of code or prose in a document: small enough for the held-out share to be a fair sample
_LONG_COMMENT = 4  # lines
_COMMENT_RUN = re.compile(rf"(?:^[ \t]*#.*\n){{{_LONG_COMMENT}}}", re.MULTILINE)
_STARTS = re.compile(r"(?: {4})?(?:async def|def|class|@|if __name__)\b")
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class PythonLibrary:
    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(sysconfig.get_paths()["stdlib"])

    @staticmethod
    def version() -> str:
        return f"{platform.python_implementation()} {platform.python_version()} {sysconfig.get_platform()}"

    def documents(self, code_bytes: int) -> Iterator[Document]:
        """All prose and functions, and at most so many bytes of code, taken evenly from all over the library."""
        named: set[str] = set()
        code: list[tuple[str, str]] = []
        for path in sorted(self.root.rglob("*.py")):
            relative = path.relative_to(self.root)
            if any(part in _SKIPPED or part.startswith(("config-", "_sysconfigdata")) for part in relative.parts):
                continue
            try:
                source = path.read_text(encoding="utf-8")
                tree = ast.parse(source)
            except (OSError, SyntaxError, UnicodeDecodeError):
                continue
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            definitions = list(_definitions(tree, name))
            # Generated or typed-in tables: much source and hardly anything defined in it.
            if len(source) > 10_000 * (len(definitions) + 1):
                continue
            yield from _docstrings(tree, name, definitions)
            named |= {qualified for qualified, _ in definitions}
            comments, rest = _separate(tree, source, [node for _, node in definitions])
            yield from _prose(name, comments)
            code += [(name, piece) for piece in _pieces(rest.splitlines())]
        yield from _compiled(named)
        yield from _language_reference()
        yield from _code(code, code_bytes)


def _definitions(node: ast.AST, name: str) -> Iterator[tuple[str, Definition]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _DEFINITION):
            yield f"{name}.{child.name}", child
            yield from _definitions(child, f"{name}.{child.name}")
        elif isinstance(child, ast.stmt):
            yield from _definitions(child, name)


def _docstrings(tree: ast.Module, name: str, definitions: Sequence[tuple[str, Definition]]) -> Iterator[Document]:
    if doc := ast.get_docstring(tree):
        yield from _prose(name, [f"The module {name}: {doc}"])
    for qualified, node in definitions:
        doc = ast.get_docstring(node)
        if doc and isinstance(node, ast.ClassDef):
            bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
            yield from _prose(name, [f"class {qualified}{bases}\n{_indented(doc)}"])
        elif doc and not isinstance(node, ast.ClassDef):
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            yield function_document(qualified, f"{node.name}({ast.unparse(node.args)}){returns}", doc)


def function_document(name: str, signature: str, doc: str) -> Document:
    """As `help()` shows a function, with its full name."""
    shown = name.rpartition(".")[0] + "." + signature if signature else name
    fields = {"name": name, "signature": signature, "doc": doc}
    return Document(SOURCE, "function", f"{shown}\n{_indented(doc)}", {**fields}, language="en")


def _indented(doc: str) -> str:
    return "\n".join("    " + line if line else "" for line in doc.splitlines())


def _separate(tree: ast.Module, source: str, nodes: Sequence[Definition]) -> tuple[list[str], str]:
    """Long comments, and the source without them and without docstrings."""
    lines = source.split("\n")  # as the parser counts them: a form feed ends none
    quoted = _lines_of_strings(tree) if _COMMENT_RUN.search(source) else set()
    dropped: set[int] = set()
    for node in (tree, *nodes):
        first = node.body[0] if node.body and ast.get_docstring(node, clean=False) is not None else None
        if first is None or first.end_lineno is None:
            continue
        # Columns count bytes.
        before = lines[first.lineno - 1].encode()[: first.col_offset].decode()
        after = lines[first.end_lineno - 1].encode()[first.end_col_offset :].decode()
        if before.strip() or after.strip() or (len(node.body) == 1 and not isinstance(node, ast.Module)):
            lines[first.lineno - 1] = f"{before}...{after}"
        else:
            dropped.add(first.lineno)
        dropped.update(range(first.lineno + 1, first.end_lineno + 1))
    comments: list[str] = []
    run: list[int] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.lstrip().startswith("#") and number not in quoted:
            run.append(number)
            continue
        if len(run) >= _LONG_COMMENT:
            words = (lines[index - 1].strip().lstrip("#").removeprefix(" ") for index in run)
            comments.append("\n".join(text if re.search(r"\w", text) else "" for text in words).strip())
            dropped.update(run)
        run = []
    return comments, "\n".join(line for number, line in enumerate(lines, start=1) if number not in dropped)


def _lines_of_strings(tree: ast.Module) -> set[int]:
    """Lines inside of strings: a `#` there starts no comment."""
    lines: set[int] = set()
    for part in ast.walk(tree):
        if isinstance(part, (ast.Constant, ast.JoinedStr)) and part.end_lineno and part.end_lineno > part.lineno:
            lines.update(range(part.lineno, part.end_lineno + 1))
    return lines


def _pieces(lines: Sequence[str]) -> Iterator[str]:
    """Cut where a definition begins, once a piece is long enough."""
    piece: list[str] = []
    size, previous = 0, ""
    for line in lines:
        starts = _STARTS.match(line) is not None and not previous.lstrip().startswith("@")
        if (starts and size >= _PIECE * 3 // 4) or size >= 2 * _PIECE:
            yield "\n".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line) + 1
        previous = line
    yield "\n".join(piece)


def _code(pieces: Sequence[tuple[str, str]], limit: int) -> Iterator[Document]:
    # In the order of a hash: the alphabet's beginning is not the library.
    order = sorted(range(len(pieces)), key=lambda index: hashlib.sha256(repr(pieces[index]).encode()).digest())
    size, chosen = 0, set()
    for index in order:
        size += len(pieces[index][1].encode())
        if size > limit:
            break
        chosen.add(index)
    for index in sorted(chosen):
        name, text = pieces[index]
        if text.strip():
            yield Document(SOURCE, "code", f"# {name}\n{re.sub(chr(10) + '{4,}', chr(10) * 3, text).strip(chr(10))}\n")


def _prose(name: str, texts: Sequence[str]) -> Iterator[Document]:
    piece: list[str] = []
    for paragraph in "\n\n".join(texts).split("\n\n"):
        if sum(map(len, piece)) + len(paragraph) > _PIECE and piece:
            yield Document(SOURCE, "prose", "\n\n".join(piece), language="en")
            piece = []
        if paragraph.strip():
            piece.append(paragraph)
    if piece:
        yield Document(SOURCE, "prose", "\n\n".join(piece), language="en")


def _compiled(named: set[str]) -> Iterator[Document]:
    for module_name in _COMPILED:
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            continue  # an interpreter built without it, or another operating system
        for name, thing in sorted(vars(module).items()):
            qualified = f"{module_name}.{name}".removeprefix("builtins.")
            if name.startswith("_") or f"{module_name}.{name}" in named:
                continue
            if isinstance(thing, type) and thing.__doc__ and thing.__module__ == module_name:
                yield from _prose(module_name, [f"class {qualified}\n{_indented(inspect.cleandoc(thing.__doc__))}"])
                methods = (types.MethodDescriptorType, types.ClassMethodDescriptorType)
                for method_name, method in sorted(vars(thing).items()):
                    if isinstance(method, methods) and method.__doc__ and not method_name.startswith("_"):
                        yield _compiled_function(f"{qualified}.{method_name}", method)
            elif isinstance(thing, types.BuiltinFunctionType) and thing.__doc__:
                yield _compiled_function(qualified, thing)


def _compiled_function(name: str, function: object) -> Document:
    signature = re.sub(r"\$(module|self|type)(, /)?(, )?", "", getattr(function, "__text_signature__", None) or "")
    leaf = name.rpartition(".")[2]
    doc = inspect.cleandoc(getattr(function, "__doc__", ""))
    return function_document(name, leaf + signature if signature else "", doc)


def _language_reference() -> Iterator[Document]:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return
    seen: set[str] = set()
    # Longest first: short topics repeat parts of long ones, and each paragraph is to be read once.
    for _, text in sorted(topics.items(), key=lambda topic: (-len(topic[1]), topic[0])):
        fresh = [paragraph for paragraph in text.split("\n\n") if paragraph.strip() not in seen]
        seen.update(paragraph.strip() for paragraph in fresh)
        yield from _prose("pydoc", fresh)
