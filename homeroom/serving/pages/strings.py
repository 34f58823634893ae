"""What the pages say, in English and in simplified Chinese. A text that one language lacks is a type error."""

from dataclasses import dataclass
from typing import Literal

from homeroom.serving.pages import operate_strings, rank_strings
from homeroom.serving.pages.strings_consent import CHINESE_CONSENT, ENGLISH_CONSENT, ConsentStrings
from homeroom.serving.pages.strings_mine import CHINESE_MINE, ENGLISH_MINE, MineStrings
from homeroom.serving.pages.strings_pair import CHINESE_PAIR, ENGLISH_PAIR, PairStrings
from homeroom.workspace import ModelName

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Strings:
    html_lang: str
    other_language: str  # in that language, so that who needs it can read it
    new_chat: str
    conversations: str
    menu: str
    close_menu: str
    theme: dict[str, str]
    answered_by: str
    choose_model: str
    the_champion: str
    loading_model: str
    model_chosen: str
    champion_again: str
    greeting: str
    introduction: str
    examples: tuple[str, ...]
    examples_imported: tuple[str, ...]
    examples_label: str
    thread: str
    composer: str
    send: str
    stop: str
    caution: str
    keys: str
    you: str
    assistant: str
    thinking: str
    stopped: str
    cut_short: str
    failed: str
    forgotten: str
    copy: str
    copied: str
    not_copied: str
    regenerate: str
    good: str
    bad: str
    counted: str
    better: str
    better_label: str
    better_hint: str
    save: str
    cancel: str
    better_saved: str
    not_saved: str
    too_long: str
    too_many_tokens: str
    model_changed: str
    stopping: str
    introduction_imported: str
    search: str
    nothing_found: str
    copy_code: str
    code: str
    table: str
    edit_question: str
    edited_question: str
    ask_again: str
    question_versions: str
    answer_versions: str
    previous: str
    following: str
    consent: ConsentStrings
    sampling: str
    sampling_changed: str
    sampling_hint: str
    temperature: str
    temperature_hint: str
    top_p: str
    top_p_hint: str
    longest: str
    longest_hint: str
    seed: str
    seed_hint: str
    reset: str
    not_valid: str
    done: str
    help: str
    letters: str
    shortcuts: tuple[tuple[str, str], ...]  # keys, apart by two spaces, and what they do
    pair: PairStrings
    mine: MineStrings
    sign_in: str
    sign_in_introduction: str
    sign_in_name: str
    sign_in_password: str
    sign_in_wrong_password: str
    sign_in_wait: str
    sign_in_again: str
    sign_in_with_key: str
    sign_in_key: str
    sign_in_wrong: str
    sign_out: str
    role_needed: str
    role_held: str
    other_account: str
    to_chat: str
    rank: rank_strings.RankStrings
    operate: operate_strings.OperateStrings


ENGLISH = Strings(
    html_lang="en",
    other_language="简体中文",
    new_chat="New chat",
    conversations="Conversations",
    menu="Open menu",
    close_menu="Close menu",
    theme={
        "auto": "Colours: as the system. Switch to light",
        "light": "Colours: light. Switch to dark",
        "dark": "Colours: dark. Switch to the system's",
    },
    answered_by="Answered by model {model}",
    choose_model="Which model answers you",
    the_champion="{model} (champion)",
    loading_model="Loading the model…",
    model_chosen="{model} answers you now, here alone.",
    champion_again="{model} answers you again, as everybody.",
    greeting="What would you like to know?",
    introduction="This assistant was raised from raw text on this machine. Your votes teach the next one.",
    examples=(
        "What does the Python function json.dumps do?",
        "How is the idiom 画蛇添足 pronounced?",
        "画蛇添足是什么意思？",
        "Hello, how are you?",
    ),
    examples_imported=(
        "What is photosynthesis?",
        "Give me three tips for a good night's sleep.",
        "Write a short thank-you note to a teacher.",
        "Hello, who are you?",
    ),
    examples_label="Example questions",
    thread="Conversation",
    composer="Message Homeroom",
    send="Send",
    stop="Stop",
    caution="Small models make mistakes.",
    keys="Enter sends, Shift + Enter starts a new line.",
    you="You said",
    assistant="Homeroom said",
    thinking="Thinking",
    stopped="You stopped this answer.",
    cut_short="The answer reached its longest length.",
    failed="This answer failed: {reason}",
    forgotten="This conversation is longer than the model can read; the first messages were left out.",
    copy="Copy",
    copied="Copied",
    not_copied="Not copied: select the text",
    regenerate="Answer again",
    good="Good answer",
    bad="Bad answer",
    counted="Counted",
    better="Write a better answer",
    better_label="What would have been a better answer?",
    better_hint="The next model learns from it.",
    save="Save",
    cancel="Cancel",
    better_saved="Your better answer",
    not_saved="Not saved: {reason}",
    too_long="This message has {length} characters; at most {limit} can be sent.",
    too_many_tokens="it has {tokens} tokens and this model reads {limit} in all: please shorten the message",
    model_changed="A new model answers from now on.",
    stopping="the server is stopping; ask again when it is back",
    introduction_imported="This assistant is {name}. It runs on this machine, and your votes teach the next one.",
    search="Search conversations",
    nothing_found="Nothing found.",
    copy_code="Copy code",
    code="Code",
    table="Table",
    edit_question="Edit and ask again",
    edited_question="Your question",
    ask_again="Ask",
    question_versions="Versions of the question",
    answer_versions="Versions of the answer",
    previous="Previous version",
    following="Next version",
    consent=ENGLISH_CONSENT,
    sampling="How answers are sampled",
    sampling_changed="How answers are sampled (changed for this conversation)",
    sampling_hint="For this conversation, kept in this browser. What is left empty is as the server has it.",
    temperature="Temperature",
    temperature_hint="0 always takes the likeliest word; higher is more varied.",
    top_p="Top-p",
    top_p_hint="Only the likeliest words that together have this share.",
    longest="Longest answer",
    longest_hint="In tokens; a token is about three quarters of a word.",
    seed="Seed",
    seed_hint="The same number gives the same answer again.",
    reset="Reset to the model's advice",
    not_valid="This must be between {least} and {most}.",
    done="Done",
    help="Keyboard shortcuts",
    letters="Use the keys of one letter",
    shortcuts=(
        ("/", "Write a message"),
        ("Enter", "Send"),
        ("Shift+Enter", "Start a new line"),
        ("↑", "In the empty box: edit the last question"),
        ("Esc", "Stop the answer, or close what is open"),
        ("j  k", "Next, previous turn"),
        ("Alt+↓  Alt+↑", "The same, also while writing"),
        ("g  b", "Good, bad: vote on the answer"),
        ("←  →", "In the empty box, of two answers: A, B is better"),
        ("↓  Del", "In the empty box: equally good, both bad"),
        ("?", "Show these keys"),
    ),
    pair=ENGLISH_PAIR,
    mine=ENGLISH_MINE,
    sign_in="Sign in",
    sign_in_introduction="This assistant is open to those who have an account or a key. Whoever runs it gives them.",
    sign_in_name="Name",
    sign_in_password="Password",
    sign_in_wrong_password="Name and password do not go together, or the account was closed.",
    sign_in_wait="Too many attempts. Try again in {seconds} s.",
    sign_in_again="This form was not this browser's own, or cookies are switched off. Please try again.",
    sign_in_with_key="Sign in with a key",
    sign_in_key="Your key",
    sign_in_wrong="This key is not valid. It was mistyped, has expired, or was revoked.",
    sign_out="Sign out",
    role_needed="This page needs the role “{needed}”.",
    role_held="You are signed in as {name}, with the role “{held}”.",
    other_account="Sign in with another account",
    to_chat="Back to the chat",
    rank=rank_strings.ENGLISH,
    operate=operate_strings.ENGLISH,
)

CHINESE = Strings(
    html_lang="zh-CN",
    other_language="English",
    new_chat="新对话",
    conversations="对话记录",
    menu="打开菜单",
    close_menu="关闭菜单",
    theme={
        "auto": "外观：跟随系统。切换为浅色",
        "light": "外观：浅色。切换为深色",
        "dark": "外观：深色。切换为跟随系统",
    },
    answered_by="由模型 {model} 回答",
    choose_model="由哪个模型回答你",
    the_champion="{model}(冠军)",
    loading_model="正在加载模型…",
    model_chosen="现在由 {model} 回答你，仅限此页。",
    champion_again="现在重新由 {model} 回答你，与所有人一样。",
    greeting="想了解点什么？",
    introduction="这个助手是在本机上由原始文本训练而成的。你的评价会教会下一个模型。",
    examples=(
        "画蛇添足是什么意思？",
        "成语“守株待兔”出自哪里？",
        "What does the Python function json.dumps do?",
        "你好！",
    ),
    examples_imported=(
        "光合作用是什么？",
        "给我三条睡好觉的建议。",
        "给老师写一段简短的感谢信。",
        "你好，你是谁？",
    ),
    examples_label="示例问题",
    thread="对话",
    composer="给 Homeroom 发消息",
    send="发送",
    stop="停止",
    caution="小模型也会出错。",
    keys="按 Enter 发送，Shift + Enter 换行。",
    you="你说",
    assistant="Homeroom 说",
    thinking="思考中",
    stopped="你停止了这个回答。",
    cut_short="回答达到了长度上限。",
    failed="回答失败：{reason}",
    forgotten="对话超出了模型能读的长度，最早的消息已略去。",
    copy="复制",
    copied="已复制",
    not_copied="未能复制，请选中文字",
    regenerate="重新回答",
    good="回答得好",
    bad="回答得不好",
    counted="已计入",
    better="写一个更好的回答",
    better_label="更好的回答应该是怎样的？",
    better_hint="下一个模型会从中学习。",
    save="保存",
    cancel="取消",
    better_saved="你给出的更好的回答",
    not_saved="未保存：{reason}",
    too_long="这条消息有 {length} 个字符，最多可发送 {limit} 个。",
    too_many_tokens="消息有 {tokens} 个词元，而这个模型总共只能读 {limit} 个，请缩短消息",
    model_changed="从现在起由新模型回答。",
    stopping="服务器正在停止，请等它恢复后再问",
    introduction_imported="这个助手是 {name}，运行在本机上。你的评价会教会下一个模型。",
    search="搜索对话",
    nothing_found="没有找到。",
    copy_code="复制代码",
    code="代码",
    table="表格",
    edit_question="修改并重新提问",
    edited_question="你的问题",
    ask_again="提问",
    question_versions="问题的各个版本",
    answer_versions="回答的各个版本",
    previous="上一个版本",
    following="下一个版本",
    consent=CHINESE_CONSENT,
    sampling="回答的采样设置",
    sampling_changed="回答的采样设置（本对话已更改）",
    sampling_hint="仅用于本对话，保存在此浏览器中。留空的项目使用服务器的设置。",
    temperature="温度",
    temperature_hint="0 总是选最可能的词；越高越多样。",
    top_p="Top-p",
    top_p_hint="只从合计达到此概率的最可能的词中选。",
    longest="最长回答",
    longest_hint="以词元计；一个汉字约为一到两个词元。",
    seed="随机种子",
    seed_hint="相同的数字会得到相同的回答。",
    reset="恢复为模型建议的设置",
    not_valid="必须在 {least} 与 {most} 之间。",
    done="完成",
    help="键盘快捷键",
    letters="启用单字母快捷键",
    shortcuts=(
        ("/", "写消息"),
        ("Enter", "发送"),
        ("Shift+Enter", "换行"),
        ("↑", "输入框为空时：修改上一个问题"),
        ("Esc", "停止回答，或关闭打开的窗口"),
        ("j  k", "下一轮、上一轮对话"),
        ("Alt+↓  Alt+↑", "同上，写消息时也可用"),
        ("g  b", "好、不好：评价回答"),
        ("←  →", "输入框为空且有两个回答时：A、B 更好"),
        ("↓  Del", "同上：一样好、都不好"),
        ("?", "显示这些快捷键"),
    ),
    pair=CHINESE_PAIR,
    mine=CHINESE_MINE,
    sign_in="登录",
    sign_in_introduction="只有持有账号或密钥的人才能使用这个助手。请向管理员索取。",
    sign_in_name="用户名",
    sign_in_password="密码",
    sign_in_wrong_password="用户名与密码不符，或账号已停用。",
    sign_in_wait="尝试次数过多，请在 {seconds} 秒后再试。",
    sign_in_again="这张表单不是由本浏览器打开的，或浏览器禁用了 Cookie。请再试一次。",
    sign_in_with_key="使用密钥登录",
    sign_in_key="你的密钥",
    sign_in_wrong="密钥无效：可能输错、已过期或已被撤销。",
    sign_out="退出登录",
    role_needed="此页面需要“{needed}”权限。",
    role_held="你当前以 {name} 的身份登录，权限为“{held}”。",
    other_account="换一个账号登录",
    to_chat="返回对话",
    rank=rank_strings.CHINESE,
    operate=operate_strings.CHINESE,
)


def model_shown(name: ModelName, strings: Strings) -> str:
    if name.day is None or strings.html_lang == "en":
        return str(name)
    return f"{name.label} · {name.day.month}月{name.day.day}日"


STRINGS: dict[Language, Strings] = {"en": ENGLISH, "zh": CHINESE}


def preferred(cookie: str | None, accept_language: str) -> Language:
    """What was chosen before, else the first of the browser's languages that there is."""
    if cookie in ("en", "zh"):
        return "zh" if cookie == "zh" else "en"
    for entry in accept_language.lower().split(","):
        tag = entry.partition(";")[0].strip()
        if tag.startswith("zh"):
            return "zh"
        if tag.startswith("en"):
            return "en"
    return "en"
