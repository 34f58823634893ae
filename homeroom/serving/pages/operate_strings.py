"""What the pages Lessons, Data and Runs say, in English and in simplified Chinese; a part of strings.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OperateStrings:
    pages: str
    chat: str
    lessons: str
    lessons_hint: str
    data: str
    data_hint: str
    runs: str
    data_and_runs: str
    runs_hint: str
    # The champion, and deciding by hand.
    champion: str
    no_champion: str
    since: str
    answers: str
    loading: str
    roll_back: str
    roll_back_title: str
    roll_back_says: str
    nothing_before: str
    promote: str
    promote_title: str
    promote_says: str
    promote_refused: str
    reason: str
    reason_hint: str
    cancel: str
    decided_by_hand: str
    # Rounds.
    rounds: str
    no_rounds: str
    stages: dict[str, str]
    outcomes: dict[str, str]
    kinds: dict[str, str]
    made: str
    made_of: str
    made_into: str
    what_for: str
    verdict: str
    undecided: str
    rule: str
    required: str
    measured: str
    outcome: str
    passed: str
    failed: str
    votes: str
    no_votes: str
    counts: dict[str, str]  # by the names of a harvest's figures; others are shown as they are
    questions: dict[str, str]
    judge: str
    judge_said: str
    reward_said: str
    qualified: str
    not_qualified: str
    method: str
    curves: str
    frontier: str
    frontier_hint: str
    as_table: str
    samples: str
    question: str
    before: str
    after: str
    at_step: str
    learned_from: str
    learned_from_hint: str
    and_more: str
    judgements: dict[str, str]
    said_up: str
    said_down: str
    who: str
    when: str
    answer: str
    written: str
    gone: str
    trace: str
    trace_hint: str
    trace_label: str
    trace_button: str
    trace_nothing: str
    trace_unread: str
    trace_found: str
    # Data and runs.
    lineage: str
    lineage_hint: str
    artifacts: str
    no_artifacts: str
    artifact: str
    stage: str
    size: str
    took: str
    memory: str
    settings: str
    metrics: str
    files: str
    key: str
    value: str
    none: str
    not_there: str
    running_now: str
    nothing_runs: str
    left: str
    left_hint: str
    all_runs: str
    no_runs: str
    state: str
    states: dict[str, str]
    started: str
    error: str
    entries: str


ENGLISH = OperateStrings(
    pages="Pages",
    chat="Chat",
    lessons="Lessons",
    lessons_hint="What was learned from people, what the gate said of it, and the way back.",
    data="Data",
    data_hint="Everything that was made here, and what it was made of.",
    runs="Runs",
    data_and_runs="Data and runs",
    runs_hint="What is being made right now, and what was. All of it is read from the disk: a reload loses nothing.",
    champion="Champion",
    no_champion="No model was promoted yet.",
    since="Champion since {when}",
    answers="This server answers with it.",
    loading="This server still answers with {model} and is loading the champion…",
    roll_back="Roll back",
    roll_back_title="Roll back to {previous}?",
    roll_back_says="{previous} will answer instead of {champion} within seconds. Answers that are being written end as "
    "they began, and no request fails. Conversations and votes stay, and {champion} can be promoted again here.",
    nothing_before="There was no champion before this one to go back to.",
    promote="Promote",
    promote_title="Promote {model}?",
    promote_says="{model} will answer instead of {champion} within seconds. Answers that are being written end as they "
    "began, and no request fails. The record will say that a person decided this, and not the gate. “Roll back” undoes "
    "it.",
    promote_refused="The gate refused this model. What it failed is in its verdict.",
    reason="Why (for the record)",
    reason_hint="May be left empty.",
    cancel="Cancel",
    decided_by_hand="by hand, {by}",
    rounds="Rounds of learning",
    no_rounds="Nothing was learned yet. Vote on answers, then run `homeroom improve`.",
    stages={
        "improve": "Learning from votes",
        "teach": "Teaching an imported model",
        "promote": "Promotion by evaluation",
        "ppo": "Reinforcement learning",
    },
    outcomes={
        "champion": "champion",
        "promoted": "promoted",
        "refused": "refused",
        "rolled_back": "rolled back",
        "on_trial": "on trial",
        "none": "undecided",
    },
    kinds={"promoted": "promoted", "refused": "refused", "rolled_back": "rolled back to", "on_trial": "on trial"},
    made="Made",
    made_of="Made of",
    made_into="Made into",
    what_for="Model",
    verdict="What was decided",
    undecided="Nothing was decided of it yet.",
    rule="Rule of the gate",
    required="Required",
    measured="Measured",
    outcome="Outcome",
    passed="passed",
    failed="failed",
    votes="Votes",
    no_votes="This round read no votes of people.",
    counts={
        "answers": "judged answers",
        "up": "thumbs up",
        "down": "thumbs down",
        "better_answers": "better answers written",
        "pairs": "pairs",
        "thumbs": "thumbs to learn from",
        "lone": "in no pair",
        "excluded": "left out, since the evaluation asks the same",
        "set_aside": "set aside",
        "rankings": "rankings",
        "comparisons": "blind comparisons",
    },
    questions={"train": "questions to learn from", "judge": "questions for the judge", "heldout": "questions held out"},
    judge="The judge",
    judge_said="{accuracy} of pairs of unseen questions in the right order",
    reward_said="Reward model: {accuracy} of pairs of unseen questions in the right order",
    qualified="qualified",
    not_qualified="not qualified",
    method="How it learned",
    curves="Training curves",
    frontier="Reward for how much KL",
    frontier_hint="One point an iteration: what the reward gained (upwards) for moving away from the model that it "
    "began as (to the right, nats per answer).",
    as_table="As a table",
    samples="Before and after",
    question="Question",
    before="Before",
    after="After",
    at_step="step {step}",
    learned_from="What it learned from",
    learned_from_hint="{total} judgements were read for this round; the first {shown} are listed.",
    and_more="and {count} more",
    judgements={"vote": "vote", "edit": "better answer", "ranking": "ranking", "comparison": "blind comparison"},
    said_up="good",
    said_down="bad",
    who="Who",
    when="When",
    answer="Answer",
    written="Written instead",
    gone="deleted since",
    trace="Where did a vote go?",
    trace_hint="The id of a vote, an answer or a conversation, as in its address, finds what was made of it.",
    trace_label="Id of a vote, an answer or a conversation",
    trace_button="Find",
    trace_nothing="There is no vote, answer or conversation “{name}”.",
    trace_unread="Nothing was made of {name} yet.",
    trace_found="Of {name} were made:",
    lineage="Lineage",
    lineage_hint="An arc leads from each to what it was made of; the orange one is champion. A name opens its settings "
    "and metrics.",
    artifacts="Artifacts",
    no_artifacts="Nothing was made yet.",
    artifact="Artifact",
    stage="Kind",
    size="Size",
    took="Took",
    memory="Peak memory",
    settings="Settings",
    metrics="Metrics",
    files="Files",
    key="Key",
    value="Value",
    none="none",
    not_there="There is no artifact “{name}” in this workspace.",
    running_now="Running now",
    nothing_runs="Nothing is running.",
    left="Left unfinished",
    left_hint="Stopped or killed half-way. The same command goes on where it stood; `homeroom verify --tidy` removes "
    "them.",
    all_runs="Runs",
    no_runs="Nothing was run yet.",
    state="State",
    states={"running": "running", "finished": "finished", "failed": "failed", "killed": "killed"},
    started="Started",
    error="Error",
    entries="{count} entries",
)

CHINESE = OperateStrings(
    pages="页面",
    chat="对话",
    lessons="学习记录",
    lessons_hint="从用户那里学到了什么、门槛如何判定，以及如何退回。",
    data="数据",
    data_hint="这里产生的一切，以及它们由什么得来。",
    runs="运行",
    data_and_runs="数据与运行",
    runs_hint="正在进行与已经完成的工作。全部从磁盘读取，刷新页面不会丢失任何内容。",
    champion="冠军模型",
    no_champion="还没有模型得到晋升。",
    since="自 {when} 起为冠军",
    answers="本服务器正由它回答。",
    loading="本服务器仍由 {model} 回答，正在载入冠军模型……",
    roll_back="回退",
    roll_back_title="回退到 {previous}？",
    roll_back_says="数秒之内，{previous} 将取代 {champion} 回答。正在书写的回答会照原样写完，不会有请求失败。"
    "对话与评价都会保留。{champion} 也会保留，可在此重新晋升。",
    nothing_before="在它之前没有别的冠军可以退回。",
    promote="晋升",
    promote_title="晋升 {model}？",
    promote_says="数秒之内，{model} 将取代 {champion} 回答。正在书写的回答会照原样写完，不会有请求失败。"
    "记录会写明这是由人而非门槛决定的。“回退”可以撤销。",
    promote_refused="门槛拒绝了这个模型，未通过的项目见其判定。",
    reason="理由（供记录）",
    reason_hint="可以留空。",
    cancel="取消",
    decided_by_hand="手动决定：{by}",
    rounds="学习轮次",
    no_rounds="还没有学到任何东西。请先评价回答，再运行 `homeroom improve`。",
    stages={
        "improve": "从投票中学习",
        "teach": "教导导入的模型",
        "promote": "按评估晋升",
        "ppo": "强化学习",
    },
    outcomes={
        "champion": "冠军",
        "promoted": "已晋升",
        "refused": "被拒绝",
        "rolled_back": "已回退",
        "on_trial": "试用中",
        "none": "未决",
    },
    kinds={"promoted": "晋升", "refused": "拒绝", "rolled_back": "回退到", "on_trial": "试用"},
    made="生成于",
    made_of="来源",
    made_into="用于",
    what_for="模型",
    verdict="决定",
    undecided="尚未对它作出决定。",
    rule="门槛规则",
    required="要求",
    measured="测得",
    outcome="结果",
    passed="通过",
    failed="未通过",
    votes="投票",
    no_votes="这一轮没有读取用户的投票。",
    counts={
        "answers": "已评判的回答",
        "up": "好评",
        "down": "差评",
        "better_answers": "用户写的更好回答",
        "pairs": "配对",
        "thumbs": "可学习的单个评价",
        "lone": "未成对",
        "excluded": "因评估会问同样的问题而略去",
        "set_aside": "搁置",
        "rankings": "排序",
        "comparisons": "盲测比较",
    },
    questions={"train": "用于学习的问题", "judge": "留给评判的问题", "heldout": "保留的问题"},
    judge="评判模型",
    judge_said="未见问题的配对中 {accuracy} 排序正确",
    reward_said="奖励模型：未见问题的配对中 {accuracy} 排序正确",
    qualified="合格",
    not_qualified="不合格",
    method="学习方式",
    curves="训练曲线",
    frontier="以多少 KL 换来奖励",
    frontier_hint="每次迭代一个点：离开初始模型的距离（向右，奈特/回答）换来的奖励（向上）。",
    as_table="以表格显示",
    samples="之前与之后",
    question="问题",
    before="之前",
    after="之后",
    at_step="第 {step} 步",
    learned_from="从什么学到的",
    learned_from_hint="这一轮共读取 {total} 条评判，下面列出前 {shown} 条。",
    and_more="另有 {count} 条",
    judgements={"vote": "投票", "edit": "更好的回答", "ranking": "排序", "comparison": "盲测比较"},
    said_up="好",
    said_down="不好",
    who="用户",
    when="时间",
    answer="回答",
    written="改写为",
    gone="此后已删除",
    trace="一票去了哪里？",
    trace_hint="输入投票、回答或对话（如其网址中的）编号，查看由它得来的一切。",
    trace_label="投票、回答或对话的编号",
    trace_button="查找",
    trace_nothing="没有编号为“{name}”的投票、回答或对话。",
    trace_unread="还没有任何东西由 {name} 得来。",
    trace_found="由 {name} 得来：",
    lineage="谱系",
    lineage_hint="弧线由各产物连向其来源，橙色为冠军。点击名称查看其设置与指标。",
    artifacts="产物",
    no_artifacts="还没有任何产物。",
    artifact="产物",
    stage="种类",
    size="大小",
    took="用时",
    memory="内存峰值",
    settings="设置",
    metrics="指标",
    files="文件",
    key="键",
    value="值",
    none="无",
    not_there="此工作区中没有产物“{name}”。",
    running_now="正在运行",
    nothing_runs="当前没有运行。",
    left="未完成",
    left_hint="中途停止或被终止。再次运行同一命令会从原处继续；`homeroom verify --tidy` 会将其删除。",
    all_runs="运行记录",
    no_runs="还没有运行过。",
    state="状态",
    states={"running": "运行中", "finished": "已完成", "failed": "失败", "killed": "被终止"},
    started="开始",
    error="错误",
    entries="{count} 项",
)
