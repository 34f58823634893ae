"""What every good answer shows, whatever was asked: it ends by itself, in the question's language, once, politely.

Also the gate that demonstrations pass: a reference that lacks manners must not be learned from.
Whether an answer is right is for each task's `grade` and for the judges.
"""

import re
from collections import Counter
from functools import cache
from importlib import resources
from itertools import pairwise

from homeroom.tasks.base import Language, Question, language_of, units

# better-profanity's list is broad: it holds Python's `len` and `strip`, history and medicine. These are no insults.
_HARMLESS_LIST = """
arian aryan dong drunk dummy enlargement erect facial fanny fat flange foobar gae gai gey god guido hell hemp heroin
herpes hitler hiv hoar hoare hump kill klan knob len leper loin loins lust massa maxi menses meth murder naked
napalm nazi nazism nob nude opiate opium oral orally organ ovary ovum paddy pasty pawn pcp penetrate penetration pot
pron racy reich revue rum rump sandbar screw seaman seamen slave slope snatch sniper spac steamy stoned strip stroke
teat thrust tinkle titi toots tramp undies unwed urine uterus uzi valium virgin vixen vodka vomit wad wang weed whiz
willy womb woody xx yury
"""
_HARMLESS = frozenset(_HARMLESS_LIST.split())
_RUDE_ENGLISH = frozenset({"dumb", "idiot", "idiots", "idiotic", "loser", "losers", "shut up"})
# Chinese has no borders of words: 体操 (gymnastics), 滚开水 (boiling water) and 傻瓜相机 (a compact camera) are told by
# their neighbours.
_RUDE_CHINESE = re.compile(
    "白痴|笨蛋|閉嘴|闭嘴|(?<![体體情曹早做出])操你|蠢货|蠢貨|蠢猪|蠢豬|混蛋|贱人|賤人|脑残|腦殘|婆娘|去死吧|傻逼|"
    "傻瓜(?![相機机])|傻子|他妈的|他媽的|你妈的|(?<!水)(?:滚开|滾開)(?![水的])|滚蛋|滾蛋|王八蛋"
)
_LATIN_WORD = re.compile(r"[a-z0-9]+(?:['’-][a-z0-9]+)*")

# A repeated span is a loop from so many repetitions on: 哈哈哈 and "no, no, no" are speech.
_LONGEST_LOOP = 60
_PROMPT_TOKENS, _REFERENCE_CHARACTERS = 60, 120


def ends_by_itself(answer: str, ended: bool) -> bool:
    return ended and bool(answer.strip())


def in_language(answer: str, language: str) -> bool:
    return language_of(answer) == language


def repeats(text: str) -> bool:
    """Whether a span loops: one unit five times in a row, two or more three times, six or more twice."""
    said = units(text)
    # A loop says at most its own length of different units, all others again: too few that came before rule it out.
    again = len(said) - len(set(said))
    if again < 4:
        return False
    for length in range(1, min(_LONGEST_LOOP, len(said) // 2, again) + 1):
        times = 5 if length == 1 else 3 if length < 6 else 2
        run = 0
        for first, second in zip(said, said[length:], strict=False):
            run = run + 1 if first == second else 0
            if run >= length * (times - 1):
                return True
    return False


def is_rude(text: str) -> bool:
    """By word lists: English insults and obscenities of better-profanity, and a few of our own for both languages.

    English counts in whole words, Chinese wherever it stands. better-profanity's own search also finds disguised
    spellings, at 60 ms a sentence; a model raised on clean text writes none.
    """
    if not text.isascii() and _RUDE_CHINESE.search(text):
        return True
    words = _LATIN_WORD.findall(text.lower())
    listed, phrases = _rude_english()
    if not listed.isdisjoint(words):
        return True
    return any(
        words[start : start + len(phrase)] == phrase
        for start, word in enumerate(words)
        for phrase in phrases.get(word, ())
    )


@cache
def _rude_english() -> tuple[frozenset[str], dict[str, list[list[str]]]]:
    """Single words, and phrases by their first word."""
    lines = resources.files("better_profanity").joinpath("profanity_wordlist.txt").read_text(encoding="utf-8")
    listed = {line.strip().lower() for line in lines.splitlines()} - {""} - _HARMLESS | _RUDE_ENGLISH
    phrases: dict[str, list[list[str]]] = {}
    for phrase in sorted(entry for entry in listed if " " in entry):
        first, *_ = words = phrase.split()
        phrases.setdefault(first, []).append(words)
    return frozenset(listed), phrases


def manners(question: Question, answer: str, ended: bool) -> float:
    """The share of the four manners that an answer shows; saying nothing shows none."""
    if not answer.strip():
        return 0.0
    shown = (
        ends_by_itself(answer, ended),
        in_language(answer, question.language),
        not repeats(answer),
        not is_rude(answer),
    )
    return sum(shown) / len(shown)


def overlap(reference: str, answer: str) -> float:
    """F1 of units and pairs of neighbours: 1 if both say the same, 0 if they share no character or word."""
    wanted, given = (Counter([*said, *pairwise(said)]) for said in (units(reference), units(answer)))
    shared = (wanted & given).total()
    return 2 * shared / (wanted.total() + given.total()) if shared else 0.0


def grade_by_reference(question: Question, answer: str, ended: bool) -> float:
    """Half manners, half closeness to the reference."""
    return (manners(question, answer, ended) + overlap(question.reference, answer)) / 2


def demonstration(
    question_id: str, kind: str, document_id: str, language: Language | None, prompt: str, reference: str
) -> Question | None:
    """A question with an answer to learn from, or None where it is too long for a small model or lacks manners."""
    if (
        language is None
        or language_of(prompt) != language
        or language_of(reference) != language
        or len(reference) > _REFERENCE_CHARACTERS
        or _tokens(prompt) > _PROMPT_TOKENS
        or repeats(reference)
        or is_rude(prompt)
        or is_rude(reference)
    ):
        return None
    return Question(question_id, prompt, reference, language, kind, document_id)


def _tokens(text: str) -> float:
    """About how many tokens a small byte-level vocabulary needs: one a Han character or three Latin letters."""
    ascii_characters = len(text) if text.isascii() else sum(map(str.isascii, text))
    return ascii_characters / 3 + (len(text) - ascii_characters)
