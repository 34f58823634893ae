"""Questions about Chinese idioms, in Chinese (meaning, source, use) and in English (pronunciation, spelling).

Answers repeat the idiom that was asked about: a small model learns to copy long before it knows meanings. Some kinds
(`idiom-length`, `idiom-character`) can be answered from the question alone, so that progress shows on unseen idioms.
Reads only documents of kind `idiom`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from homeroom.tasks.base import Document, Language, Question
from homeroom.tasks.manners import demonstration, grade_by_reference
from homeroom.tasks.split import pick, share

_SENTENCE = re.compile(r"[^。！？；]*[。！？；]?[”’）]*")
# 亦作“…”, 同“…”: other idioms, which say nothing about the meaning.
_CROSS_REFERENCE = re.compile(r"^(?:亦|也|又)?(?:作|说|称|写作|为|同|见|参见|即)“.*$|^见《.*$")
_READS_ON = re.compile(r"^(?:常?用?来?比喻|形容|泛?指|原指|本指|旧指|旧时指|表示|犹言|谓)")
# 后用以比喻… went on from a sentence that was lost; 后悔 and 后来 are words.
_WENT_ON = re.compile("^后(?=[用指以比因泛常多为作统遂反亦也有])")
_SOURCE = re.compile(r"^(?:语出|语本|典出|出自|出|见于|见)?((?:[^“”：，。；《》]{0,16})《[^《》“”]{1,16}》)")
_NUMERALS = {
    3: ("三", "three"), 4: ("四", "four"), 5: ("五", "five"), 6: ("六", "six"), 7: ("七", "seven"), 8: ("八", "eight"),
    9: ("九", "nine"), 10: ("十", "ten"), 11: ("十一", "eleven"), 12: ("十二", "twelve"),
}  # fmt: skip

_MEANING = (
    "{}是什么意思？",
    "“{}”是什么意思？",
    "请解释{}。",
    "成语{}是什么意思？",
    "{}怎么理解？",
    "什么叫{}？",
    "{}的意思是什么？",
)
_SOURCE_ASKED = (
    "{}出自哪里？",
    "{}的出处是什么？",
    "成语{}出自哪里？",
    "“{}”出自什么作品？",
    "{}这个成语是从哪里来的？",
)
_EXAMPLE = ("用{}造一个句子。", "请给{}举个例句。", "{}怎么用？", "“{}”可以怎么用？", "请用成语{}写一句话。")
_NAME = ("哪个成语的意思是“{}”？", "有什么成语表示“{}”？", "意思是“{}”的成语是什么？")
_LENGTH = ("{}有几个字？", "成语{}一共几个字？", "“{}”是几个字的成语？")
_CHARACTER = ("{}的{}个字是什么？", "成语{}的{}个字是哪个字？", "“{}”的{}个字是什么？")
_PRONUNCIATION = (
    "How is the idiom {} pronounced?", "How do you pronounce {}?", "What is the pinyin of {}?",
    "How do I say {} in Mandarin?", "Please tell me how to pronounce {}.",
)  # fmt: skip
_INITIALS = ("What are the pinyin initials of {}?", "Give me the initials of the idiom {}.", "How is {} abbreviated?")
_LENGTH_ENGLISH = ("How many characters does {} have?", "How long is the idiom {}?", "How many characters are in {}?")
_CHARACTER_ENGLISH = (
    "What is the {1} character of {0}?", "Which character comes {1} in {0}?", "Tell me the {1} character of {0}.",
)  # fmt: skip


class Idioms:
    """The questions about all idioms given, in their order."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.questions: Sequence[Question] = [
            question for document in documents if document.kind == "idiom" for question in _ask(document)
        ]

    @staticmethod
    def grade(question: Question, answer: str, ended: bool) -> float:
        return grade_by_reference(question, answer, ended)


def meaning_of(explanation: str, word: str, glosses: bool = False) -> str:
    """The explanation without references to other idioms and, where more remains, without glosses of its characters.

    "画画画。蛇爬虫。比喻多此一举。亦作“为蛇画足”。" → "比喻多此一举。"
    """
    sentences = [found for found in _SENTENCE.findall(explanation) if found and not _CROSS_REFERENCE.match(found)]
    while len(sentences) > 1 and not glosses and _is_gloss(sentences[0], word):
        sentences = sentences[1:]
    text = _WENT_ON.sub("", "".join(sentences)).rstrip("；，")
    return text if not text or text[-1] in "。！？”" else text + "。"


def _is_gloss(sentence: str, word: str) -> bool:
    """`阿名词的前缀。` opens with a piece of the idiom that it glosses."""
    return sentence[0] in word and not sentence.startswith(word) and not _READS_ON.match(sentence)


def _ask(document: Document) -> Iterator[Question]:
    fields = {name: value for name, value in document.fields.items() if isinstance(value, str)}
    word = fields.get("word", "")
    if not word:
        return
    for language, ask in _ASKERS.items():
        for kind, prompt, reference in ask(document.id, word, fields):
            if found := demonstration(f"{document.id}/{kind}", kind, document.id, language, prompt, reference):
                yield found


def _ask_in_chinese(name: str, word: str, fields: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    meaning = meaning_of(fields.get("explanation", ""), word)
    if len(meaning) >= 4 and word not in meaning:
        told = "{}{}" if _READS_ON.match(meaning) and pick((True, False), name, "told") else "{}的意思是：{}"
        yield "idiom-meaning", pick(_MEANING, name, "meaning").format(word), told.format(word, meaning)
        if len(meaning) <= 26:
            yield "idiom-name", pick(_NAME, name, "name").format(meaning.rstrip("。")), f"这个成语是{word}。"
    if found := _SOURCE.match(fields.get("derivation", "")):
        yield "idiom-source", pick(_SOURCE_ASKED, name, "source").format(word), f"{word}出自{found[1]}。"
    example = fields.get("example", "")
    whole = example[-1:] in ("。", "！", "？", "”") and example.count("“") == example.count("”")
    if whole and word in example and 2 * len(word) <= len(example) <= 70:
        yield "idiom-example", pick(_EXAMPLE, name, "example").format(word), f"例如：{example}"
    if len(word) in _NUMERALS and "，" not in word:
        if _worth_counting(name, word):
            answer = f"{word}有{_NUMERALS[len(word)][0]}个字。"
            yield "idiom-length", pick(_LENGTH, name, "length").format(word), answer
        which, place = pick((("第一", 0), ("最后一", -1)), name, "place")
        prompt = pick(_CHARACTER, name, "character").format(word, which)
        yield "idiom-character", prompt, f"{word}的{which}个字是“{word[place]}”。"


def _worth_counting(name: str, word: str) -> bool:
    """Nearly all idioms have four characters; asked about all of them, a model would learn to say four."""
    return len(word) != 4 or share(name, "length") < 0.04


def _ask_in_english(name: str, word: str, fields: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    pinyin, initials = fields.get("pinyin", ""), fields.get("abbreviation", "")
    if len(pinyin.split()) == len(word):
        prompt = pick(_PRONUNCIATION, name, "pronunciation").format(word)
        yield "idiom-pronunciation", prompt, f"{word} is pronounced {pinyin}."
    if len(initials) == len(word) and initials.isascii() and initials.isalpha():
        answer = f"The pinyin initials of {word} are {initials}."
        yield "idiom-initials", pick(_INITIALS, name, "initials").format(word), answer
    if len(word) in _NUMERALS and "，" not in word:
        if _worth_counting(name, word):
            answer = f"The idiom {word} has {_NUMERALS[len(word)][1]} characters."
            yield "idiom-length-english", pick(_LENGTH_ENGLISH, name, "length in English").format(word), answer
        which, place = pick((("first", 0), ("last", -1)), name, "place in English")
        prompt = pick(_CHARACTER_ENGLISH, name, "character in English").format(word, which)
        yield "idiom-character-english", prompt, f"The {which} character of {word} is {word[place]}."


_ASKERS: Mapping[Language, Callable[[str, str, dict[str, str]], Iterator[tuple[str, str, str]]]] = {
    "zh": _ask_in_chinese,
    "en": _ask_in_english,
}
