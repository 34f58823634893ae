"""Questions in English about Python functions, answered from their docstrings and signatures.

Only documents of kind `function` are read, and only public functions whose docstring opens with a verb: its first
sentence then becomes a sentence about the function ("json.dumps serializes …").
"""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Sequence

from homeroom.tasks.base import Document, Question
from homeroom.tasks.manners import demonstration, grade_by_reference
from homeroom.tasks.split import pick

_VERBS_LIST = """
accept acknowledge acquire activate add adjust append apply ask assert associate attach bind block break build
calculate call cancel center change check choose clean clear close combine compare compile complete compute
concatenate configure connect consume construct convert copy count create deactivate decide decode decrease delete
delegate deliver deny describe destroy detect determine disable discard display do dump duplicate emit enable encode
end ensure enter enumerate escape establish evaluate examine execute exit expand extend extract factor fail fetch
fill filter find finish flush force format forget free freeze generate get give guess handle hide identify implement
import increase increment indicate inform initialize insert inspect install instantiate invalidate invert invoke
issue iterate join keep kill launch let list listen load locate lock log look lower make map mark match merge modify
monitor move multiply negate normalize notify obtain open override pack parse pass perform place pop prepare present
preserve print process produce prompt protect provide push put query quote raise randomize read rebuild receive
record recover redirect reduce refresh register reject release reload remove rename render repeat replace report
represent request reset resolve restore restrict retrieve return reverse rewrite rotate round run save schedule
search seek select send serialize serve set setup shift show shuffle shut shutdown signal skip sleep sort specify
split start stop store strip submit subtract suppress suspend swap switch synchronize take tell terminate test trace
transfer transform translate truncate try turn undo unbind unlock unmap unpack unquote unregister unset update
upload use validate verify visit wait wake warn wrap write yield
"""
_VERBS = frozenset(_VERBS_LIST.split())
_ROLE = re.compile(r":[a-z:]+:`([^`]*)`|`{1,2}([^`]*)`{1,2}|\*{1,2}([^*\s]+)\*{1,2}")
_SENTENCE_END = re.compile(r"\.(?=\s+[A-Z(]|\s*$)")
_PURPOSE = (
    "What does the Python function {} do?", "What does {} do?", "What is {} for in Python?", "Explain {}.",
    "What happens when I call {}?", "Can you tell me what {} does?",
)  # fmt: skip
_ARGUMENTS = ("What arguments does {} take?", "Which parameters does {} have?", "What do I pass to {}?")
_MODULE = ("Which module is {} in?", "What do I import to use {}?", "Where in Python is {}?")


class Functions:
    """The questions about all functions given, in their order."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.questions: Sequence[Question] = [
            question for document in documents if document.kind == "function" for question in _ask(document)
        ]

    @staticmethod
    def grade(question: Question, answer: str, ended: bool) -> float:
        return grade_by_reference(question, answer, ended)


def _ask(document: Document) -> Iterator[Question]:
    name, signature, doc = (str(document.fields.get(key, "")) for key in ("name", "signature", "doc"))
    parts = name.split(".")
    if len(name) > 40 or any(part.startswith("_") or not part.isidentifier() for part in parts):
        return
    asked: list[tuple[str, tuple[str, ...], str]] = []
    if told := predicate(doc):
        asked.append(("function-purpose", _PURPOSE, f"{name} {told}"))
    if (arguments := _arguments(signature)) is not None:
        asked.append(("function-arguments", _ARGUMENTS, f"{name} takes {_listed(arguments)}."))
    if len(parts) == 2 and not hasattr(builtins, parts[0]):
        asked.append(("function-module", _MODULE, f"{name} is in the module {parts[0]}."))
    for kind, phrasings, reference in asked:
        prompt = pick(phrasings, document.id, kind).format(name)
        if found := demonstration(f"{document.id}/{kind}", kind, document.id, "en", prompt, reference):
            yield found


def predicate(doc: str) -> str | None:
    """The first sentence of a docstring in the third person: "Create and return a lock." → "creates and returns …".

    None where the docstring opens otherwise: with a signature, a noun, an example.
    """
    paragraph = " ".join(doc.split("\n\n")[0].split())
    text = _ROLE.sub(lambda found: found[1] or found[2] or found[3] or "", paragraph)
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0].rstrip(" .:;,")
    words = sentence.split(" ")
    if len(words) < 3 or not sentence.isascii() or re.search(r">>>|->|--|[{}\\|]|https?:", sentence):
        return None
    # "Recursively delete …", but "Apply …".
    position = 1 if words[0].endswith("ly") and third_person(words[0]) is None else 0
    if not (verb := third_person(words[position])):
        return None
    words[position] = verb
    words[0] = words[0].lower()
    if words[position + 1] in ("and", "or") and len(words) > position + 2:
        words[position + 2] = third_person(words[position + 2]) or words[position + 2]
    return " ".join(words) + "."


def third_person(word: str) -> str | None:
    """ "Return" and "returns" → "returns"; None for what is no verb we know."""
    verb = word.lower()
    for ending, base in (("ies", "y"), ("es", ""), ("s", "")):
        if verb.endswith(ending) and verb.removesuffix(ending) + base in _VERBS:
            return verb
    if verb not in _VERBS:
        return None
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        return verb + "es"
    return verb[:-1] + "ies" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "s"


def _arguments(signature: str) -> list[str] | None:
    """The names of the arguments without the bound one; None for what is no Python signature."""
    try:
        node = ast.parse(f"def {signature}: ...").body[0]
    except (SyntaxError, ValueError):
        return None
    if not isinstance(node, ast.FunctionDef):
        return None
    positional = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    names = positional[1:] if positional[:1] in (["self"], ["cls"]) else positional
    names += [f"*{node.args.vararg.arg}"] if node.args.vararg else []
    names += [argument.arg for argument in node.args.kwonlyargs]
    return names + ([f"**{node.args.kwarg.arg}"] if node.args.kwarg else [])


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no arguments"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
