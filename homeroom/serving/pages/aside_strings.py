"""What the page Lessons says of judgements that were set aside, in English and in simplified Chinese."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AsideStrings:
    title: str
    hint: str
    restore: str
    distrust: str
    take_back: str
    words: Mapping[str, str]
    reasons: Mapping[str, str]


ENGLISH_ASIDE = AsideStrings(
    title="Set aside",
    hint="What the last harvest did not learn from, by person. Restored, all that a person says counts whole; "
    "distrusted, none of it. The next harvest obeys.",
    restore="Restore",
    distrust="Distrust",
    take_back="Take back",
    words={"restored": "restored", "distrusted": "distrusted"},
    reasons={
        "brigade": "in a brigade",
        "contradictory": "that contradict themselves",
        "cap": "more than one person may teach",
        "disagreement": "that say no more than chance",
        "replaced": "replaced by a later one",
        "distrusted": "distrusted",
    },
)

CHINESE_ASIDE = AsideStrings(
    title="已搁置",
    hint="上一次收集没有从中学习的意见，按人列出。恢复后，此人的意见全部计入；不信任则全部不计。下一次收集照此执行。",
    restore="恢复",
    distrust="不信任",
    take_back="收回",
    words={"restored": "已恢复", "distrusted": "不信任"},
    reasons={
        "brigade": "条属于结伙刷票",
        "contradictory": "条自相矛盾",
        "cap": "条超过一人可教的份额",
        "disagreement": "条不比随机更有信息",
        "replaced": "条已被后来的取代",
        "distrusted": "条来自不被信任的人",
    },
)
