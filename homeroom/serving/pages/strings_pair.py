"""What the chat page says of two answers, in English and in simplified Chinese: a part of strings.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PairStrings:
    answer: str
    ask: str
    hint: str
    left: str
    right: str
    same: str
    bad: str
    told: str
    told_same: str


ENGLISH_PAIR = PairStrings(
    answer="Answer {side}",
    ask="Which answer is better?",
    hint="Who wrote them is told when you have chosen. You may as well just go on: A stays.",
    left="A is better",
    right="B is better",
    same="Equally good",
    bad="Both bad",
    told="Counted. A was {left}, B was {right}.",
    told_same="Counted. Both were {model}.",
)

CHINESE_PAIR = PairStrings(
    answer="回答 {side}",
    ask="哪个回答更好？",
    hint="选择之后会告诉你是谁写的。也可以直接继续对话，那样会保留 A。",
    left="A 更好",
    right="B 更好",
    same="一样好",
    bad="都不好",
    told="已计入。A 来自 {left}，B 来自 {right}。",
    told_same="已计入。两个都来自 {model}。",
)
