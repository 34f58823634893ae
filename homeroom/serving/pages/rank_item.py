"""One item of the page Rank: what was asked, the answers to put in order, and a box for the ideal one.

Its elements only; what moves, ties and flags them is rank.js, which finds them by their classes and data-attributes.
"""

import json
from collections.abc import Sequence

from homeroom.serving.pages.elements import Blocks, Words, button, element, icon, set_attribute
from homeroom.serving.pages.markdown import blocks
from homeroom.workspace import FLAGS, Flag, Ranking, ShownAnswer, ShownItem

LONGEST_IDEAL = 20_000  # characters


def build(words: Words, item: ShownItem, said: Ranking | None) -> None:
    """`said` is the order that the person gave before and took back: the answers come in it."""
    before = said and {"tiers": said.tiers, "flags": said.flags, "ideal": said.ideal_answer or ""}
    data = {"data_item": item.id, "data_question": item.question_id, "data_said": json.dumps(before)}
    with element("section", "board", **data):
        _build_question(words, item.history)
        words.text(element("h2", id="rank-order"), lambda s: s.rank.order)
        with element("p", "rank-hint"):
            words.text(element("span"), lambda s: s.rank.order_hint)
            words.text(element("span", "keys"), lambda s: s.rank.order_keys)
        with element("ol", "cards", aria_labelledby="rank-order"):
            for answer in item.answers:
                _build_answer(words, answer)
        with element("label", "ideal"):
            words.text(element("strong"), lambda s: s.rank.ideal)
            words.text(element("span"), lambda s: s.rank.ideal_hint)
            element("textarea", rows="3", maxlength=str(LONGEST_IDEAL), dir="auto")


def _build_question(words: Words, history: Sequence[dict[str, str]]) -> None:
    # A long one scrolls, so the keyboard must be able to reach it.
    with element("div", "asked", tabindex="0"):
        words.text(element("h2"), lambda s: s.rank.question)
        for turn in history:
            role = turn["role"]
            with element("div", f"asked-turn {role}"):
                if len(history) > 1:
                    _name(words, role)
                element("div", "asked-text", turn["content"], dir="auto")


def _name(words: Words, role: str) -> None:
    words.text(element("strong"), lambda s: s.rank.turns[role])


def _build_answer(words: Words, answer: ShownAnswer) -> None:
    with element("li", "card", tabindex="0", data_id=answer.id) as card:
        with element("div", "handle", aria_hidden="true") as handle:
            icon("drag_indicator")
            element("span", "place")
        words.bind(handle, lambda s: set_attribute(handle, "title", s.rank.drag))
        said = element("span", "place-said visually-hidden")
        text = element("div", "answer-text", dir="auto")
        shown = Blocks(text)
        words.bind(text, lambda s: shown.show(blocks(answer.text, s)))
        with element("div", "moves"):
            words.label(button("icon-button move-up", "arrow_upward"), lambda s: s.rank.move_up)
            words.label(button("icon-button move-down", "arrow_downward"), lambda s: s.rank.move_down)
        with element("div", "card-foot"):
            with element("div", "flags", role="group") as flags:
                words.bind(flags, lambda s: set_attribute(flags, "aria-label", s.rank.flags_of))
                for flag in FLAGS:
                    _build_flag(words, flag)
            words.text(button("chip same"), lambda s: s.rank.same)
    # What is heard of a focused answer: its place, then what it says.
    set_attribute(card, "aria-labelledby", f"{said.html_id} {text.html_id}")


def _build_flag(words: Words, flag: Flag) -> None:
    made = button("chip flag")
    set_attribute(made, "data-flag", flag)
    set_attribute(made, "aria-pressed", "false")
    words.text(made, lambda s: s.rank.flags[flag])
