"""What the page Rank says, in English and in simplified Chinese; a part of strings.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RankStrings:
    title: str
    today: str
    waiting: str
    in_all: str
    undo: str
    skip: str
    send: str
    question: str
    turns: dict[str, str]
    order: str
    order_hint: str
    order_keys: str
    move_up: str
    move_down: str
    same: str
    drag: str
    flags_of: str
    flags: dict[str, str]
    place: str
    place_tied: str
    ideal: str
    ideal_hint: str
    untouched: str
    counted: str
    skipped: str
    undone: str
    nothing_to_undo: str
    nothing_waits: str
    nothing_waits_hint: str
    agreement: str
    agreement_hint: str
    too_little: str
    own: str
    everybody: str
    alpha_high: str
    alpha_fair: str
    alpha_low: str
    alpha_none: str
    shortcuts: tuple[tuple[str, str], ...]


ENGLISH = RankStrings(
    title="Rank answers",
    today="{count} today",
    waiting="{count} waiting",
    in_all="Ranked in all: {ranked}, skipped: {skipped}",
    undo="Undo: take the last ranking back",
    skip="Skip",
    send="Send this order",
    question="What was asked",
    turns={"user": "Person", "assistant": "Assistant", "system": "Instruction"},
    order="Put the best answer first",
    order_hint="Drag an answer by its handle, or use its buttons.",
    order_keys="Alt + ↑ or ↓ moves it as well. Press ? for all keys.",
    move_up="Move up",
    move_down="Move down",
    same="Same as above",
    drag="Drag",
    flags_of="What is wrong with it",
    flags={"toxic": "Toxic", "untrue": "Untrue", "off-topic": "Off-topic", "unhelpful": "Unhelpful"},
    place="Place {place} of {count}",
    place_tied="Place {place} of {count}, as good as the answer above",
    ideal="The ideal answer",
    ideal_hint="If none is good enough, write the answer that you would have liked to read. Models learn from it.",
    untouched="Nothing was moved or marked yet. If this order is yours all the same, send it once more.",
    counted="Counted.",
    skipped="Skipped.",
    undone="Taken back. It counts again when you send it.",
    nothing_to_undo="There is nothing to take back.",
    nothing_waits="Nothing waits to be ranked",
    nothing_waits_hint="Questions come here once they were answered four times in a chat, or by the command below. "
    "This page shows them as soon as there are any.",
    agreement="Agreement",
    agreement_hint="Some questions go to several people. How far they agree says how much an order means, "
    "not who is right.",
    too_little="It is shown once {needed} questions were ranked by several people; so far: {shared}.",
    own="You put {share} of the pairs of answers in the order that others put them in "
    "({low} to {high}; {questions} questions).",
    everybody="Krippendorff's α of {persons} people is {alpha} ({low} to {high}; {questions} questions): {meaning}.",
    alpha_high="people mean the same, and orders can be relied upon",
    alpha_fair="people mostly mean the same, enough for cautious conclusions",
    alpha_low="more than chance, and too little to rely upon one person's order",
    alpha_none="no more than chance would give",
    shortcuts=(
        ("j  k", "Next, previous answer"),
        ("↑  ↓", "The same, on an answer"),
        ("Alt+↑  Alt+↓", "Move the answer up, down"),
        ("1 – 9", "Move it to this place"),
        ("=", "Same as above, or no longer"),
        ("t  u", "Toxic, untrue"),
        ("o  h", "Off-topic, unhelpful"),
        ("i", "Write the ideal answer"),
        ("Ctrl+Enter", "Send this order"),
        ("s  z", "Skip, undo"),
        ("Esc", "Leave the box, or let go of what is dragged"),
        ("?", "Show these keys"),
    ),
)

CHINESE = RankStrings(
    title="为回答排序",
    today="今天 {count} 个",
    waiting="还有 {count} 个",
    in_all="总共已排序：{ranked}，已跳过：{skipped}",
    undo="撤销：收回上一次排序",
    skip="跳过",
    send="提交这个顺序",
    question="提出的问题",
    turns={"user": "用户", "assistant": "助手", "system": "指令"},
    order="把最好的回答排在最前面",
    order_hint="拖动回答左侧的手柄，或使用它的按钮。",
    order_keys="选中回答后按 Alt + ↑ 或 ↓ 也可以。按 ? 查看所有按键。",
    move_up="上移",
    move_down="下移",
    same="与上一个一样好",
    drag="拖动",
    flags_of="有什么问题",
    flags={"toxic": "有害", "untrue": "不属实", "off-topic": "离题", "unhelpful": "没有帮助"},
    place="第 {place} 位，共 {count} 个",
    place_tied="第 {place} 位，共 {count} 个，与上一个回答一样好",
    ideal="理想的回答",
    ideal_hint="如果没有一个足够好，请写下你希望读到的回答。模型会从中学习。",
    untouched="还没有移动或标记任何回答。如果这就是你的顺序，请再提交一次。",
    counted="已计入。",
    skipped="已跳过。",
    undone="已收回。重新提交后才会再次计入。",
    nothing_to_undo="没有可以撤销的排序。",
    nothing_waits="没有等待排序的回答",
    nothing_waits_hint="一个问题在对话中被回答过四次，或用下面的命令加入后，就会出现在这里。一有新的，本页会自动显示。",
    agreement="一致程度",
    agreement_hint="有些问题会交给多个人。大家有多一致，说明排序有多可靠，而不是谁对谁错。",
    too_little="当 {needed} 个问题由多人排过序后，这里才会显示；目前有 {shared} 个。",
    own="你对 {share} 的回答对给出了与他人相同的顺序（{low} 至 {high}；{questions} 个问题）。",
    everybody="{persons} 个人的 Krippendorff α 系数为 {alpha}（{low} 至 {high}；{questions} 个问题）：{meaning}。",
    alpha_high="大家的看法相同，排序可以信赖",
    alpha_fair="大家的看法大体相同，可以得出谨慎的结论",
    alpha_low="比随机一致，但还不足以只凭一个人的排序",
    alpha_none="不比随机更一致",
    shortcuts=(
        ("j  k", "下一个、上一个回答"),
        ("↑  ↓", "选中回答时同上"),
        ("Alt+↑  Alt+↓", "上移、下移这个回答"),
        ("1 – 9", "移到这一位"),
        ("=", "与上一个一样好，或取消"),
        ("t  u", "有害、不属实"),
        ("o  h", "离题、没有帮助"),
        ("i", "写理想的回答"),
        ("Ctrl+Enter", "提交这个顺序"),
        ("s  z", "跳过、撤销"),
        ("Esc", "离开输入框，或放下正在拖动的回答"),
        ("?", "显示这些快捷键"),
    ),
)
