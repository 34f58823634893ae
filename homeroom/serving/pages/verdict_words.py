"""What the gate and the stages write into verdicts, in simplified Chinese. What is not known here stays as it is."""

import re

_WORDS: tuple[tuple[str, str], ...] = (
    # Rules.
    ("held-out questions", "保留问题数"),
    ("win rate over the champion, by the independent judge", "对冠军的胜率（独立评判）"),
    ("bits per byte of held-out text", "保留文本的每字节比特"),
    ("rude answers", "粗鲁的回答"),
    # Required and measured.
    (r"at least (\S+)", r"至少 \1"),
    (r"95 % interval above (\S+)", r"95 % 区间高于 \1"),
    (r"at most (\S+) \((\S+) above the champion's (\S+)\)", r"不超过 \1（比冠军的 \3 高 \2）"),
    (
        r"not above the champion's (\S+) of (\S+) by more than chance \((\S+)\)",
        r"不多于冠军的 \1/\2，除非出于偶然（\3）",
    ),
    (r"(\d+) of (\d+)", r"\1/\2"),
    (r"(\d+) of (\d+), which decided it", r"\2 题中的 \1 题已见分晓"),
    (r"(\d+) of (\d+) \(by chance: (\S+)\)", r"\1/\2（偶然的可能：\3）"),
    (r"(\S+% \[\S+, \S+\]) \(by chance: (\S+)\)", r"\1（偶然的可能：\2）"),
    (r"task: (.*)", r"任务：\1"),
    (
        r"difference to the champion's (\S+) on the same (\d+) questions not surely below 0",
        r"与冠军的 \1 相比（同样的 \2 道题），差值不确定低于 0",
    ),
    (r"(\S+%) \((\S+) points \[(\S+, \S+)\]\)", r"\1（\2 个百分点 [\3]）"),
    ("time to first token", "首个词元的时间"),
    ("time per token", "每个词元的时间"),
    (r"the champion's × (\S+) or less within the 95 % interval", r"95 % 区间内不超过冠军的 × \1"),
    (r"(\S+) ms, × (.*)", r"\1 毫秒，× \2"),
    # Reasons.
    ("the first champion has nobody to beat", "首任冠军没有对手"),
    ("the votes were inverted, as a control", "投票被反转，作为对照"),
    ("the lessons were inverted, as a control", "学习内容被反转，作为对照"),
    (
        "the gate passed the same votes inverted, so it cannot tell what they teach",
        "反转后的同样投票也通过了关卡，因此无法判断投票教了什么",
    ),
    ("a person imported it", "由人导入"),
    (r"the judge is no better than a coin: (.*)", r"评判不比抛硬币更准：\1"),  # of rounds that were before
    (r"the judge does not qualify: no better than a coin: (.*)", r"评判不合格：不比抛硬币更准：\1"),
    (r"the judge does not qualify: (.*)", r"评判不合格：\1"),
    (r"it was compared with (\S+), but the champion is (\S+) now", r"它曾与 \1 比较，而现任冠军是 \2"),
)
_PATTERNS = [(re.compile(pattern, re.DOTALL), chinese) for pattern, chinese in _WORDS]


def in_chinese(text: str) -> str:
    for pattern, chinese in _PATTERNS:
        if found := pattern.fullmatch(text):
            return found.expand(chinese)
    return text
