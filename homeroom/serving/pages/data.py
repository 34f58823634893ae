"""The pages Data (artifacts and their lineage), Runs (what is being made, live), and one for each artifact or draft.

What is shown is read by making.py.
"""

import asyncio

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from homeroom.drawing.lineage import lineage
from homeroom.serving.pages import making, parts, rounds
from homeroom.serving.pages.board import Board
from homeroom.serving.pages.elements import Blocks, element
from homeroom.serving.pages.frame import VIEWPORT
from homeroom.serving.pages.making import Found, Work
from homeroom.serving.pages.parts import Cell, Link, Pill
from homeroom.serving.pages.strings import Strings
from homeroom.workspace import Artifact, Run, Workspace

LIVE_SECONDS = 1.0
GONE_LOOKS = 10  # a draft that was renamed but not yet recorded as an artifact is neither, for as long as a disk takes
KINDS = {"running": "live", "finished": "good", "failed": "bad", "killed": "bad"}
MOST_FILES = 50


def mount(workspace: Workspace) -> None:
    async def data(request: Request) -> None:
        await DataPage(workspace, request).build()

    async def artifact(request: Request, name: str) -> None:
        await ArtifactPage(workspace, request, name).build()

    async def runs(request: Request) -> None:
        await RunsPage(workspace, request).build()

    ui.page("/data", viewport=VIEWPORT)(data)
    ui.page("/data/{name}", viewport=VIEWPORT)(artifact)
    ui.page("/runs", viewport=VIEWPORT)(runs)


class DataPage:
    """One visit."""

    def __init__(self, workspace: Workspace, request: Request) -> None:
        self._workspace, self._board = workspace, Board(request, "/data", self._draw)

    async def build(self) -> None:
        self._stock = await asyncio.to_thread(making.stock, self._workspace)
        self._board.build()

    def _draw(self, strings: Strings) -> None:
        says, artifacts = strings.operate, self._stock.artifacts
        _title(says.data, says.data_hint)
        if not artifacts:
            element("p", "empty-note", says.no_artifacts)
            return
        with parts.card(says.lineage, says.lineage_hint):
            _graph(artifacts, self._stock.champion, says.lineage)
        with parts.card(says.artifacts):
            heads = (
                f"{says.artifact}=",
                f"{says.stage}=",
                f"{says.size}#",
                f"{says.made}=",
                f"{says.took}#",
                says.made_of,
            )
            rows = [
                (
                    Link(one.id, f"/data/{one.id}"),
                    _kind(one, self._stock.champion, strings),
                    parts.megabytes(one.size),
                    parts.moment(one.created),
                    parts.duration(one.seconds),
                    [Link(name, f"/data/{name}") for name in one.inputs] or says.none,
                )
                for one in artifacts
            ]
            parts.table(says.artifacts, heads, rows, "wide-end")


class ArtifactPage:
    """One visit to what has this id. A draft is shown as it grows; once it is published, what it became."""

    def __init__(self, workspace: Workspace, request: Request, name: str) -> None:
        self._workspace, self._name = workspace, name
        self._board = Board(request, "/data", self._draw)
        self._live: Live | None = None
        self._gone = 0  # looks in a row that found nothing where there had been a draft

    async def build(self) -> None:
        self._found = await self._read()
        self._board.build()
        if self._found.work is not None:
            self._timer = ui.timer(LIVE_SECONDS, self._refresh)

    async def _read(self) -> Found:
        return await asyncio.to_thread(making.find, self._workspace, self._name)

    async def _refresh(self) -> None:
        found, before = await self._read(), self._found
        self._gone = self._gone + 1 if found.missing else 0
        if 0 < self._gone < GONE_LOOKS:
            return
        self._found = found
        if found.work is None:
            self._timer.deactivate()
        if found.work is None or self._live is None or before.work is None:
            self._board.redraw()
        else:
            self._live.show(found.work)

    def _draw(self, strings: Strings) -> None:
        says, found = strings.operate, self._found
        _title(self._name, "")
        if found.artifact is not None:
            self._draw_artifact(found.artifact, strings)
        elif found.work is not None:
            self._live = Live(found.work, strings)
        else:
            element("p", "empty-note", says.not_there.format(name=self._name))

    def _draw_artifact(self, artifact: Artifact, strings: Strings) -> None:
        says, found = strings.operate, self._found
        with parts.card(""):
            after = [one.id for one in found.kin if artifact.id in one.inputs]
            pairs: list[tuple[str, Cell]] = [
                (says.stage, _kind(artifact, found.champion, strings)),
                (says.made, parts.moment(artifact.created)),
                (says.took, parts.duration(artifact.seconds)),
                (says.memory, parts.megabytes(artifact.peak_memory_bytes)),
                (says.size, parts.megabytes(artifact.size)),
                (says.made_of, [Link(name, f"/data/{name}") for name in artifact.inputs] or says.none),
                (says.made_into, [Link(name, f"/data/{name}") for name in after] or says.none),
            ]
            if artifact.stage in rounds.STAGES:
                pairs.append((says.lessons, Link(says.stages[artifact.stage], f"/lessons/{artifact.id}")))
            if found.judgements:
                pairs.append((says.learned_from, f"{found.judgements:,}"))
            parts.facts(pairs)
        if len(found.kin) > 1:
            with parts.card(says.lineage):
                _graph(found.kin, found.champion, says.lineage)
        drawn = parts.charts(artifact.stage, found.log, strings)
        if drawn:
            with parts.card(says.curves):
                with element("div", "chart-grid"):
                    for html in drawn:
                        parts.picture(html)
                parts.folded(says.as_table, lambda: parts.numbers(found.log, strings))
        for name, values in ((says.settings, artifact.settings), (says.metrics, artifact.metrics)):
            with parts.card(name):
                parts.table(name, (says.key, says.value), list(parts.flat(values, strings)), "pairs")
        with parts.card(says.files):
            files = list(artifact.files.items())
            rows = [(file, parts.megabytes(record.bytes)) for file, record in files[:MOST_FILES]]
            parts.table(says.files, (says.files, f"{says.size}#"), rows)
            if len(files) > MOST_FILES:
                element("p", "hint-text", says.and_more.format(count=len(files) - MOST_FILES))


class RunsPage:
    """One visit; what runs is drawn anew where its log grew."""

    def __init__(self, workspace: Workspace, request: Request) -> None:
        self._workspace, self._board = workspace, Board(request, "/runs", self._draw)
        self._live: dict[str, Live] = {}

    async def build(self) -> None:
        self._shift = await asyncio.to_thread(making.shift, self._workspace)
        self._board.build()
        ui.timer(LIVE_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        before, self._shift = self._shape(), await asyncio.to_thread(making.shift, self._workspace)
        if self._shape() != before:
            self._board.redraw()
            return
        for work in self._shift.running:
            self._live[work.draft.id].show(work)

    def _shape(self) -> object:
        """What there is to draw, apart from what grows."""
        shift = self._shift
        return (
            [(run.id, run.state) for run in shift.runs],
            [work.draft.id for work in shift.running],
            [work.draft.id for work in shift.left],
        )

    def _draw(self, strings: Strings) -> None:
        says, shift = strings.operate, self._shift
        _title(says.runs, says.runs_hint)
        element("h2", "section-title", says.running_now)
        if not shift.running:
            element("p", "empty-note", says.nothing_runs)
        self._live = {work.draft.id: Live(work, strings) for work in shift.running}
        if shift.left:
            with parts.card(says.left, says.left_hint):
                measured = (says.artifact, f"{says.took}#", f"{says.memory}#")
                parts.table(says.left, measured, [_left(work) for work in shift.left])
        with parts.card(says.all_runs):
            if not shift.runs:
                element("p", "empty-note", says.no_runs)
                return
            heads = (
                f"{says.stage}=",
                f"{says.state}=",
                f"{says.artifact}=",
                f"{says.started}=",
                f"{says.took}#",
                says.error,
            )
            parts.table(says.all_runs, heads, [_run(run, strings) for run in shift.runs], "wide-end")


class Live:
    """A draft as it grows: how long, how much memory, the last values, and curves."""

    def __init__(self, work: Work, strings: Strings) -> None:
        self._strings, self._stage = strings, work.draft.stage
        says, state = strings.operate, "running" if work.run else "killed"
        with element("section", "card live", data_draft=work.draft.id):
            with element("div", "round-head"):
                element("h2", text=work.draft.stage)
                parts.fill(Pill(says.states[state], KINDS[state]))
                parts.fill(Link(work.draft.id, f"/data/{work.draft.id}"))
            with element("dl", "figures") as self._figures:
                pass
            self._charts = Blocks(element("div", "chart-grid"))
            parts.folded(says.as_table, self._build_numbers)
        self._numbers: Element | None = None
        self._work, self._length = work, -1
        self._told: list[tuple[str, str]] = []
        self.show(work)

    def show(self, work: Work) -> None:
        says = self._strings.operate
        self._tell(
            [
                (says.took, parts.duration(work.seconds)),
                (says.memory, parts.megabytes(work.draft.peak_memory_bytes)),
                *_last(work),
            ]
        )
        if len(work.log) == self._length:
            return
        self._work, self._length = work, len(work.log)
        self._charts.show(parts.charts(self._stage, work.log, self._strings))
        if self._numbers is not None:
            self._fill_numbers(self._numbers)

    def _build_numbers(self) -> None:
        self._numbers = element("div")
        self._fill_numbers(self._numbers)

    def _fill_numbers(self, holder: Element) -> None:
        holder.clear()
        if self._work.log:
            with holder:
                parts.numbers(self._work.log, self._strings)

    def _tell(self, told: list[tuple[str, str]]) -> None:
        if [name for name, _ in told] != [name for name, _ in self._told]:
            self._figures.clear()
            self._values = []
            with self._figures:
                for name, _ in told:
                    with element("div"):
                        element("dt", text=name)
                        self._values.append(element("dd"))
        for value, (_, text) in zip(self._values, told, strict=True):
            value.set_text(text)
        self._told = told


def _last(work: Work) -> list[tuple[str, str]]:
    """The newest value of each name in the log."""
    newest: dict[str, float | None] = {}
    for point in work.log:
        newest.update(point)
    return [(name, parts.number(value)) for name, value in newest.items()]


def _kind(artifact: Artifact, champion: str | None, strings: Strings) -> Cell:
    return [artifact.stage, Pill(strings.operate.champion, "good")] if artifact.id == champion else artifact.stage


def _left(work: Work) -> tuple[Cell, ...]:
    link = Link(work.draft.id, f"/data/{work.draft.id}")
    return link, parts.duration(work.draft.seconds), parts.megabytes(work.draft.peak_memory_bytes)


def _run(run: Run, strings: Strings) -> tuple[Cell, ...]:
    link: Cell = Link(run.artifact_id, f"/data/{run.artifact_id}") if run.artifact_id else ""
    state = Pill(strings.operate.states[run.state], KINDS[run.state])
    return run.stage, state, link, parts.moment(run.started), parts.duration(run.seconds), run.error or ""


def _title(title: str, hint: str) -> None:
    with element("div", "board-title"):
        element("h1", text=title)
        if hint:
            element("p", "hint-text", hint)


def _graph(artifacts: list[Artifact], champion: str | None, label: str) -> None:
    drawn = lineage(making.nodes(artifacts), {champion} if champion else set(), label=label)
    with element("div", "graph", tabindex="0", role="region", aria_label=label):
        parts.picture(drawn)
