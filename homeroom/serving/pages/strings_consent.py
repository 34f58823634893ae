"""What the chat page says of learning from a conversation, in English and in simplified Chinese."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ConsentStrings:
    name: str
    on: str
    off: str
    given: str
    withdrawn: str
    not_stored: str


ENGLISH_CONSENT = ConsentStrings(
    name="This conversation may be learned from",
    on="This conversation may be learned from. Press to forbid it.",
    off="Nothing is learned from this conversation. Press to allow it.",
    given="Models may learn from what you say of this conversation's answers.",
    withdrawn="No model learns from this conversation any more. What was learned before stays.",
    not_stored="That could not be stored, so nothing has changed: {error}",
)

CHINESE_CONSENT = ConsentStrings(
    name="本对话可用于学习",
    on="本对话可用于学习。点击即禁止。",
    off="不会从本对话学习。点击即允许。",
    given="模型可以从你对本对话回答的评价中学习。",
    withdrawn="从现在起不再从本对话学习；此前学到的仍会保留。",
    not_stored="未能保存，一切照旧：{error}",
)
