"""What the chat page says where a person has all of their own deleted: a part of strings.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MineStrings:
    title: str
    goes: str
    stays: str
    type: str
    word: str
    wrong_word: str
    went_wrong: str
    confirm: str
    deleted: str
    nothing: str
    tables: dict[str, str]
    made: str
    nothing_made: str
    model: str


ENGLISH_MINE = MineStrings(
    title="Delete my data",
    goes="All that is recorded here of “{user}” goes, for good: conversations with every message in them, votes, "
    "better answers, rankings and comparisons, and what others said of those conversations.",
    stays="An account stays. What models learned before is not unlearned; you will be told what this had gone into.",
    type="Type “{word}” to confirm",
    word="delete",
    wrong_word="That is not “{word}”. Nothing was deleted.",
    went_wrong="Something went wrong. What was deleted, and what it went into, the log of the server knows.",
    confirm="Delete for good",
    deleted="Deleted:",
    nothing="There was nothing of you here.",
    tables={
        "conversations": "conversations",
        "messages": "messages",
        "votes": "votes",
        "edits": "better answers",
        "rankings": "rankings",
        "comparisons": "comparisons",
        "items": "questions to be ranked",
    },
    made="This was made of it and is still there. Whether it is kept is for whoever runs this server to say.",
    nothing_made="Nothing had been made of it yet.",
    model="model",
)

CHINESE_MINE = MineStrings(
    title="删除我的数据",
    goes="这里以“{user}”记录的一切将被永久删除：对话及其中的全部消息、评价、更好的回答、排序与比较，以及他人对这些对话的评价。",
    stays="账号会保留。模型此前学到的不会被抹去；删除之后会告诉你这些数据曾用于哪里。",
    type="输入“{word}”以确认",
    word="删除",
    wrong_word="输入的不是“{word}”，没有删除任何内容。",
    went_wrong="出错了。是否已删除、曾用于何处，请查看服务器日志。",
    confirm="永久删除",
    deleted="已删除：",
    nothing="这里没有你的任何数据。",
    tables={
        "conversations": "对话",
        "messages": "消息",
        "votes": "评价",
        "edits": "更好的回答",
        "rankings": "排序",
        "comparisons": "比较",
        "items": "待排序的问题",
    },
    made="以下内容由这些数据得来，目前仍在。是否保留由管理此服务器的人决定。",
    nothing_made="还没有任何东西由它得来。",
    model="模型",
)
