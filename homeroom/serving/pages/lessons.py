"""The page Lessons: the champion and the way back, and each round of learning with its votes, curves and verdict.

What is shown is read by rounds.py; what is decided here goes through operating.py, as everybody's decisions do.
"""

import asyncio
import json
from collections.abc import Sequence

from fastapi import Request
from nicegui import ui

from homeroom.drawing.charts import Series, line_chart
from homeroom.serving.access import form_token_of, user_of
from homeroom.serving.assistant import Assistant
from homeroom.serving.operating import LOCAL
from homeroom.serving.pages import parts, rounds
from homeroom.serving.pages.aside import AsideCard
from homeroom.serving.pages.board import Board
from homeroom.serving.pages.elements import button, element, icon
from homeroom.serving.pages.frame import VIEWPORT
from homeroom.serving.pages.parts import Cell, Link, Pill
from homeroom.serving.pages.rounds import Champion, Lessons, Round, Verdict
from homeroom.serving.pages.strings import Strings, model_shown
from homeroom.serving.pages.verdict_words import in_chinese
from homeroom.workspace import Judgement, Workspace

WATCH_SECONDS = 1.0
KINDS = {"champion": "good", "promoted": "good", "refused": "bad", "on_trial": "live"}  # others are quiet
DECIDE = "(event) => { event.preventDefault(); homeroom.decide(event.target); }"


def mount(workspace: Workspace, assistant: Assistant) -> None:
    async def page(request: Request, name: str | None = None, trace: str = "") -> None:
        await LessonsPage(workspace, assistant, request).build(name, trace)

    ui.page("/lessons", viewport=VIEWPORT)(page)
    ui.page("/lessons/{name}", viewport=VIEWPORT)(page)


class LessonsPage:
    """One visit."""

    def __init__(self, workspace: Workspace, assistant: Assistant, request: Request) -> None:
        self._workspace, self._assistant = workspace, assistant
        self._form_token = form_token_of(request.scope.get("state", {}))
        self._board = Board(request, "/lessons", self._draw)
        by = user_of(request.scope.get("state", {}), LOCAL)  # as operating.py records a decision
        self._aside = AsideCard(workspace, by)

    async def build(self, name: str | None, trace: str) -> None:
        self._asked = name, trace
        await self._read()
        self._board.build()
        ui.timer(WATCH_SECONDS, self._watch)

    async def _read(self) -> None:
        self._decided = await asyncio.to_thread(self._decisions)
        self._seen: Lessons = await asyncio.to_thread(rounds.read, self._workspace, *self._asked)
        await self._aside.read()

    async def _read_again(self) -> None:
        await self._read()
        self._board.redraw()

    def _decisions(self) -> int:
        return len(self._workspace.registry.history())

    async def _watch(self) -> None:
        """What was decided elsewhere, by a round or by another person, shows by itself."""
        if await asyncio.to_thread(self._decisions) != self._decided:
            await self._read_again()
        self._tell_state(self._board.strings)

    def _tell_state(self, strings: Strings) -> None:
        if self._seen.champion is not None:
            loaded = self._assistant.loaded_id or "–"
            says = strings.operate
            answers = loaded == self._seen.champion.id
            self._state.set_text(says.answers if answers else says.loading.format(model=loaded))

    def _draw(self, strings: Strings) -> None:
        says, seen = strings.operate, self._seen
        with element("div", "board-title"):
            element("h1", text=says.lessons)
            element("p", "hint-text", says.lessons_hint)
        self._draw_champion(strings)
        self._aside.draw(strings)
        if seen.traced is not None or seen.rounds:
            self._draw_trace(strings)
        if seen.shown is None:
            element("p", "empty-note", says.no_rounds)
            return
        with element("div", "two-columns"):
            self._draw_list(strings)
            with element("div", "round"):
                self._draw_round(seen.shown, strings)

    def _draw_champion(self, strings: Strings) -> None:
        says, champion = strings.operate, self._seen.champion
        with parts.card(says.champion):
            if champion is None:
                element("p", "empty-note", says.no_champion)
                return
            with element("div", "champion"):
                with element("div"):
                    element("a", "champion-name", model_shown(champion.name, strings), href=f"/data/{champion.id}")
                    element("code", "id", champion.id)
                    told = says.since.format(when=parts.moment(champion.decision.at))
                    by = champion.decision.verdict.get("by")
                    element("p", "hint-text", told + (f" · {says.decided_by_hand.format(by=by)}" if by else ""))
                    self._state = element("p", "champion-state", role="status")
                    self._tell_state(strings)
                if champion.before is None:
                    element("p", "hint-text", says.nothing_before)
                else:
                    self._build_rollback(champion, champion.before, strings)

    def _build_rollback(self, champion: Champion, before: str, strings: Strings) -> None:
        says = strings.operate
        self._opener("rollback", "undo", says.roll_back, "quiet-button bordered")
        told = says.roll_back_says.format(previous=before, champion=champion.id)
        title = says.roll_back_title.format(previous=before)
        self._dialog("rollback", title, [told], says.roll_back, {"champion": champion.id}, strings)

    def _build_promote(self, shown: Round, model: str, strings: Strings) -> None:
        says, champion = strings.operate, self._seen.champion
        over = champion.id if champion else says.none
        told = [says.promote_says.format(model=model, champion=over)]
        if shown.summary.outcome == "refused":
            told.insert(0, says.promote_refused)
        self._opener("promote", "military_tech", says.promote, "quiet-button bordered")
        body = {"model": model, "champion": champion.id if champion else None}
        self._dialog("promote", says.promote_title.format(model=model), told, says.promote, body, strings)

    def _opener(self, name: str, icon_name: str, text: str, classes: str) -> None:
        with button(classes, icon_name) as opener:
            element("span", text=text)
        opener.on("click", js_handler=f"() => document.getElementById('{name}').showModal()")

    def _dialog(
        self, name: str, title: str, told: Sequence[str], confirm: str, body: dict[str, str | None], strings: Strings
    ) -> None:
        """Says what will happen, and asks. The browser sends it to /`name`, with the session's form token."""
        with element("dialog", "dialog", id=name, aria_labelledby=f"{name}-title"):
            form = element("form", "decide", data_path=f"/{name}", data_body=json.dumps(body))
            if self._form_token is not None:
                form.props["data-token"] = self._form_token
            form.on("submit", js_handler=DECIDE)
            with form:
                element("h2", text=title, id=f"{name}-title")
                for text in told:
                    element("p", text=text)
                with element("label", "reason"):
                    element("span", text=strings.operate.reason)
                    element(
                        "input", name="reason", maxlength="500", placeholder=strings.operate.reason_hint, dir="auto"
                    )
                element("p", "wrong", role="alert")
                with element("div", "better-buttons"):
                    cancel = button("quiet-button")
                    cancel.set_text(strings.operate.cancel)
                    cancel.on("click", js_handler=f"() => homeroom.close('{name}')")
                    element("button", "solid-button", confirm, type_="submit")

    def _draw_trace(self, strings: Strings) -> None:
        says, traced = strings.operate, self._seen.traced
        with element("details", "card folded trace") as holder:
            element("summary", text=says.trace)
            element("p", "hint-text", says.trace_hint)
            with element("form", "trace-form", action="/lessons", method="get"):
                value = traced.name if traced else ""
                element("input", name="trace", value=value, maxlength="300", required=True, aria_label=says.trace_label)
                with element("button", "quiet-button bordered", type_="submit"):
                    icon("search")
                    element("span", text=says.trace_button)
            if traced is None:
                return
            holder.props["open"] = True
            found = traced.found
            if found is None:
                element("p", "wrong", says.trace_nothing.format(name=traced.name), role="status")
            elif not found.artifacts:
                element("p", "hint-text", says.trace_unread.format(name=traced.name), role="status")
            else:
                element("p", text=says.trace_found.format(name=traced.name), role="status")
                with element("ul", "found"):
                    for name in found.artifacts:
                        with element("li"):
                            element("a", "link", name, href=f"/data/{name}")
                            if name in found.models:
                                parts.fill(Pill(says.what_for, "good"))

    def _draw_list(self, strings: Strings) -> None:
        says, shown = strings.operate, self._seen.shown
        with element("nav", "round-list", aria_label=says.rounds):
            for one in self._seen.rounds:
                current = shown is not None and one.id == shown.summary.id
                with element("a", "round-link", href=f"/lessons/{one.id}") as link:
                    element("span", "round-name", says.stages[one.stage])
                    parts.fill(Pill(says.outcomes[one.outcome], KINDS.get(one.outcome, "quiet")))
                    element("span", "round-when", parts.moment(one.created))
                if current:
                    link.props["aria-current"] = "page"

    def _draw_round(self, shown: Round, strings: Strings) -> None:
        says, summary = strings.operate, shown.summary
        with parts.card(""):
            with element("div", "round-head"):
                element("h2", text=says.stages[summary.stage])
                parts.fill(Pill(says.outcomes[summary.outcome], KINDS.get(summary.outcome, "quiet")))
                if shown.model is not None and summary.outcome != "champion":
                    self._build_promote(shown, shown.model, strings)
            pairs: list[tuple[str, Cell]] = [
                (says.artifact, Link(summary.id, f"/data/{summary.id}")),
                (says.made, parts.moment(summary.created)),
                (says.made_of, [Link(name, f"/data/{name}") for name in shown.inputs]),
            ]
            if shown.method:
                pairs.append((says.method, shown.method))
            if shown.judge is not None:
                told, own = _judge_told(shown.judge, strings), shown.judge.id
                pairs.append((says.judge, Link(told, f"/data/{own}") if own else told))
            parts.facts(pairs)
        self._draw_verdicts(shown.verdicts, strings)
        self._draw_votes(shown, strings)
        self._draw_curves(shown, strings)
        self._draw_samples(shown, strings)

    def _draw_verdicts(self, verdicts: Sequence[Verdict], strings: Strings) -> None:
        says, say = strings.operate, in_chinese if strings.html_lang != "en" else str
        with parts.card(says.verdict):
            if not verdicts:
                element("p", "empty-note", says.undecided)
            for one in verdicts:
                with element("div", "verdict"):
                    with element("p", "verdict-head"):
                        kind = one.kind or "none"
                        parts.fill(Pill(says.kinds.get(kind, says.outcomes["none"]), KINDS.get(kind, "quiet")))
                        parts.fill(Link(one.model, f"/data/{one.model}"))
                        element("span", "hint-text", parts.moment(one.at))
                        if one.by is not None:
                            element("span", text=says.decided_by_hand.format(by=one.by), dir="auto")
                    for reason in one.reasons:
                        element("p", "reason-text", say(reason), dir="auto")
                    if one.rules:
                        heads = (says.rule, says.required, says.measured, says.outcome)
                        rows = [
                            (
                                say(rule.name),
                                say(rule.required),
                                say(rule.measured),
                                Pill(says.passed, "good") if rule.passed else Pill(says.failed, "bad"),
                            )
                            for rule in one.rules
                        ]
                        parts.table(f"{says.verdict}: {one.model}", heads, rows)

    def _draw_votes(self, shown: Round, strings: Strings) -> None:
        says = strings.operate
        with parts.card(says.votes):
            if shown.harvest is None:
                element("p", "empty-note", says.no_votes)
                return
            named = [(says.counts.get(name, name), value) for name, value in shown.counts.items()]
            named += [(says.questions.get(name, name), value) for name, value in shown.questions.items()]
            with element("dl", "figures"):
                for name, value in named:
                    with element("div"):
                        element("dt", text=name)
                        element("dd", text=f"{value:,}")
            parts.fill(Link(shown.harvest, f"/data/{shown.harvest}"))
            if shown.judgements:
                parts.folded(f"{says.learned_from} ({shown.total:,})", lambda: self._draw_judgements(shown, strings))

    def _draw_judgements(self, shown: Round, strings: Strings) -> None:
        says = strings.operate
        told = says.learned_from_hint.format(total=f"{shown.total:,}", shown=f"{len(shown.judgements):,}")
        element("p", "hint-text", told)
        heads = (says.votes, says.question, says.answer, says.written, says.who, f"{says.when}=")
        parts.table(says.learned_from, heads, [_judged(one, strings) for one in shown.judgements], "wide")

    def _draw_curves(self, shown: Round, strings: Strings) -> None:
        says, drawn = strings.operate, parts.charts(shown.summary.stage, shown.log, strings)
        if len(shown.frontier) > 1:
            with parts.card(says.frontier, says.frontier_hint):
                curve = line_chart([Series("reward", shown.frontier)], x_name="KL", label=says.frontier)
                parts.picture(curve, "frontier")
        if drawn:
            with parts.card(says.curves):
                with element("div", "chart-grid"):
                    for html in drawn:
                        parts.picture(html)
                parts.folded(says.as_table, lambda: parts.numbers(shown.log, strings))

    def _draw_samples(self, shown: Round, strings: Strings) -> None:
        says = strings.operate
        if not shown.samples:
            return
        with parts.card(says.samples):
            for one in shown.samples:
                with element("article", "sample"):
                    element("p", "sample-question", one.question, dir="auto")
                    with element("dl", "sample-answers"):
                        if one.before is not None:
                            _answer(says.before, one.before)
                        _answer(says.after if one.step is None else says.at_step.format(step=one.step), one.after)


def _answer(name: str, text: str) -> None:
    with element("div"):
        element("dt", text=name)
        element("dd", text=text, dir="auto")


def _judge_told(judge: rounds.Judge, strings: Strings) -> str:
    says = strings.operate
    told = (says.reward_said if judge.is_reward else says.judge_said).format(accuracy=parts.rate(judge.accuracy))
    if judge.qualified is None:
        return told
    return f"{told} ({says.qualified if judge.qualified else says.not_qualified})"


def _judged(one: Judgement, strings: Strings) -> Sequence[Cell]:
    """A row of what was learned from; its first cell leads to what else the judgement went into."""
    says = strings.operate
    kind = says.judgements[one.kind]
    if one.value is not None:
        kind = says.said_up if one.value > 0 else says.said_down
    first = Link(kind, f"/lessons?trace={one.id}")
    if one.gone:
        return first, Pill(says.gone), "", "", "", ""
    return first, one.question, one.answer, one.written, one.user, parts.moment(one.at)
