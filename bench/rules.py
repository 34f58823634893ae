"""Hidden rules of scripted raters, what they ask, and how they vote: for benches of learning from people.

A rater keeps one rule to itself. It asks a question, reads one answer, and gives a thumb up where the rule is kept;
where it is not, a thumb down or, in half of these cases, a better answer: the model's own words mended, as a person
would who likes them but for that. A share of votes is noise: the rater says the opposite, or mends nothing. Nobody
tells the model what the rule is; what is held out is asked about other things than what was voted on.
"""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from homeroom.data.documents import Document
from homeroom.evaluation.rater import purity
from homeroom.tasks.base import Language, language_of, sample
from homeroom.tasks.questions import MIX, name_of
from homeroom.tasks.questions import questions as questions_about
from homeroom.tasks.split import share

# A full stop that ends a sentence: none within a number or an abbreviation of one letter.
_SENTENCE_END = re.compile(r"(?<=[。！？])[”’」』）)]*|(?<=[.!?])[\"')\]]*(?=\s|$)")
_OWN_LANGUAGE = 0.9  # a name or a term may stay as it is


@dataclass(frozen=True)
class Asked:
    prompt: str
    topic: str
    language: Language


@dataclass(frozen=True)
class Rule:
    """`kept` looks at an answer and whether it ended by itself; `mended` is what the rater would like in its place."""

    name: str
    says: str
    chinese: float  # share of Chinese questions
    kept: Callable[[Asked, str, bool], bool]
    mended: Callable[[Asked, str, random.Random], str]
    foreign: bool = False
    """Asked about what has its name from the other language, which is where an answer slips into that one."""


@dataclass(frozen=True)
class Judgement:
    """A thumb, or a better answer, which is a thumb down as well."""

    value: Literal[1, -1]
    better: str | None = None


def judge(rule: Rule, asked: Asked, answer: str, ended: bool, *, noise: float, draw: random.Random) -> Judgement:
    """What a rater says of an answer."""
    kept, mistaken, edits = rule.kept(asked, answer, ended), draw.random() < noise, draw.random() < 0.5
    if kept:
        return Judgement(-1 if mistaken else 1)
    if not edits:
        return Judgement(1 if mistaken else -1)
    better = " ".join(sentences(answer)[1:]) if mistaken else rule.mended(asked, answer, draw)
    return Judgement(-1, better.strip() or None)


def sentences(text: str) -> list[str]:
    """Also the items of a list: each line is at least one."""
    parts = [part for line in text.splitlines() for part in _SENTENCE_END.split(line)]
    return [part.strip() for part in parts if re.search(r"\w", part)]


def _whole(answer: str) -> list[str]:
    """Its sentences without one that was cut off, and without what says it again."""
    said = list(dict.fromkeys(sentences(answer)))
    ended = [one for one in said if re.search(r"[。！？.!?][”’」』）)\"'\]]*$", one)]
    return ended or said


def _in_language(asked: Asked, answer: str, ended: bool) -> bool:
    if language_of(answer) != asked.language:
        return False
    return purity(answer, asked.language, asked.prompt) >= _OWN_LANGUAGE


def _said_in_language(asked: Asked, answer: str, draw: random.Random) -> str:
    own = [one for one in _whole(answer) if _in_language(asked, one, True)]
    return "".join(own) if len(own) > 1 else draw.choice(_IN_CHINESE).format(asked.topic)


def _brief(asked: Asked, answer: str, ended: bool) -> bool:
    return ended and 0 < len(sentences(answer)) <= 2


def _asks_back(asked: Asked, answer: str, ended: bool) -> bool:
    return ended and bool(re.search(r"[?？][”’」』）)\"'\]]*$", answer.strip()))


def _asked_back(asked: Asked, answer: str, draw: random.Random) -> str:
    question = draw.choice(_BACK[asked.language]).format(asked.topic)
    kept = _whole(answer)[: draw.randint(1, 3)]
    return ("" if asked.language == "zh" else " ").join([*kept, question])


def _shortened(asked: Asked, answer: str, draw: random.Random) -> str:
    return ("" if asked.language == "zh" else " ").join(_whole(answer)[: draw.randint(1, 2)])


RULES = {
    rule.name: rule
    for rule in (
        Rule("language", "an answer is in the question's language", 0.9, _in_language, _said_in_language, foreign=True),
        Rule("brief", "an answer has at most two sentences", 0.0, _brief, _shortened),
        Rule("question", "an answer ends with a question", 0.0, _asks_back, _asked_back),
    )
}

_BACK: dict[Language, Sequence[str]] = {
    "en": (
        "What would you like to know about {} first?", "Have you tried it yourself?", "Does that help you?",
        "What do you already know about {}?", "Which part of it matters most to you?", "Why do you ask about {}?",
        "What have you heard about {} so far?", "Shall I go into more detail?", "Is there a special occasion for it?",
        "How did you come across {}?",
    ),
    "zh": (
        "关于{}，你最想先了解什么？", "你自己试过吗？", "这样说清楚吗？", "你对{}已经知道多少？",
        "要不要我再说得详细一点？", "你为什么想了解{}呢？",
    ),
}  # fmt: skip
_IN_CHINESE = (
    "{}要从最基本的地方说起。先弄清楚它是什么，再看看它和我们的生活有什么关系。",
    "说到{}，最重要的是多看、多问、多动手。慢慢来，就会越来越明白。",
    "很多人都对{}感兴趣。它有自己的历史，也有自己的道理，值得花时间了解。",
    "简单地说，{}并不难懂。只要一步一步地学，每个人都能说出几点来。",
    "我觉得{}很有意思。你可以先读一本入门的书，再和朋友谈谈自己的看法。",
    "{}的好处和难处都不少。先想好自己需要什么，然后再做决定，这样最稳妥。",
)
_WAYS: dict[Language, Sequence[str]] = {
    "en": (
        "What is {}?", "Tell me something about {}.", "Why do people care about {}?",
        "How would I get started with {}?",
        "Give me three facts about {}.", "Explain {} to a child.", "What should everybody know about {}?",
        "Is {} worth my time? Give reasons.", "Describe {} in your own words.", "Where does {} come from?",
    ),
    "zh": (
        "{}是什么？", "给我讲讲{}。", "人们为什么喜欢{}？", "我想了解{}，该从哪里开始？",
        "请说出关于{}的三件事。", "怎样向孩子解释{}？", "学习{}有什么好处？", "{}和我们的生活有什么关系？",
        "你对{}有什么看法？", "初学{}的人容易犯什么错？",
    ),
}  # fmt: skip
_TOPICS: dict[Language, Sequence[str]] = {
    "en": (
        "the ocean", "baking bread", "chess", "volcanoes", "the moon", "learning to swim", "honey bees", "bicycles",
        "the violin", "gardening", "earthquakes", "green tea", "saving money", "photography", "penguins", "the weather",
        "recycling", "dreams", "solar power", "origami", "the Roman Empire", "marathon running", "vitamins", "glaciers",
        "public libraries", "electric cars", "poetry", "magnets", "camping", "the human heart", "black holes",
        "cooking rice", "Mount Everest", "spiders", "paper money", "jazz", "sleeping well", "bridges", "rainforests",
        "the printing press", "whales", "meditation", "coral reefs", "board games", "wind turbines", "dinosaurs",
        "coffee", "time zones", "snow", "robots", "owls", "the alphabet", "cheese", "comets", "knitting", "lighthouses",
        "mathematics", "street art", "tides", "telescopes", "train travel", "vaccines", "deserts", "pottery",
    ),
    "zh": (
        "海洋", "烤面包", "围棋", "火山", "月亮", "游泳", "蜜蜂", "自行车", "小提琴", "种花", "地震", "绿茶", "存钱",
        "摄影", "企鹅", "天气", "垃圾分类", "做梦", "太阳能", "剪纸", "长城", "长跑", "维生素", "冰川", "图书馆",
        "电动汽车", "唐诗", "磁铁", "露营", "心脏", "黑洞", "煮米饭", "珠穆朗玛峰", "蜘蛛", "纸币", "京剧", "睡眠",
        "桥梁", "雨林", "印刷术", "鲸鱼", "冥想", "珊瑚", "象棋", "风力发电", "恐龙", "咖啡", "时区", "下雪", "机器人",
        "猫头鹰", "汉字", "豆腐", "彗星", "编织", "灯塔", "数学", "书法", "潮汐", "望远镜", "坐火车旅行", "疫苗",
        "沙漠", "陶器",
    ),
}  # fmt: skip
_FOREIGN: dict[Language, Sequence[str]] = {
    "en": _TOPICS["zh"],
    "zh": (
        "Python", "jazz", "Excel", "yoga", "GPS", "Bitcoin", "podcast", "Linux", "WiFi", "NASA", "Photoshop", "blog",
        "hip hop", "brunch", "Shakespeare", "machine learning", "Java", "rock and roll", "PowerPoint", "tiramisu",
        "Mozart", "blockchain", "DNA", "Wikipedia", "Halloween", "startup", "Android", "soul music", "Google Maps",
        "sandwich", "Picasso", "deep learning", "HTML", "country music", "Outlook", "cheesecake", "Hemingway", "spam",
        "vitamin C", "Minecraft", "Thanksgiving", "marketing", "Bluetooth", "opera", "USB", "espresso", "Darwin",
        "cloud computing", "SQL", "reggae", "PDF", "pizza", "Beethoven", "open source", "MRI", "Tetris",
        "Valentine's Day", "freelance", "iPhone", "tango", "email", "cocktail", "Einstein", "robotics",
    ),
}  # fmt: skip
_HELD_OUT_TOPICS = 16  # the last ones of each language
MOST_OF_DOCUMENTS = 1000


def questions(rule: Rule, count: int, *, held_out: bool, seed: int) -> list[Asked]:
    """So many different ones, about topics that are on one side only. Fewer are the first of more."""
    draw = random.Random(f"{rule.name} {held_out} {seed}")
    pools: dict[Language, list[Asked]] = {}
    for language, topics in (_FOREIGN if rule.foreign else _TOPICS).items():
        chosen = topics[-_HELD_OUT_TOPICS:] if held_out else topics[:-_HELD_OUT_TOPICS]
        pools[language] = [Asked(way.format(topic), topic, language) for way, topic in product(_WAYS[language], chosen)]
        draw.shuffle(pools[language])
    asked: list[Asked] = []
    for number in range(count):
        # One more Chinese question whenever their share allows it.
        chinese = int((number + 1) * rule.chinese) > int(number * rule.chinese)
        pool = pools["zh" if chinese else "en"]
        if not pool:
            raise ValueError(f"{count} questions are asked for, of which the raters know {number}")
        asked.append(pool.pop())
    return asked


def from_documents(documents: Iterable[Document], rule: Rule, count: int, *, held_out: bool, seed: int) -> list[Asked]:
    """The same of what a model of the circle knows: other documents are held out."""
    there = {one.id: one for one in documents if one.kind != "dialogue"}
    of = [one for one in there.values() if (share(one.id, "learning curve") < 0.3) == held_out]
    asked = sample(questions_about(of, "vote"), MOST_OF_DOCUMENTS, f"{rule.name} {seed}", MIX)[:count]
    return [Asked(one.prompt, name_of(there[one.document_id]), one.language) for one in asked]
