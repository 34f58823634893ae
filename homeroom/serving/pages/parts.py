"""Parts of the pages for those who operate: cards, tables, pills, pictures. What they show is each page's business.

All texts go in as text; the one thing that goes in as markup is what `homeroom.drawing` made.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from html import escape

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from homeroom.drawing import curves
from homeroom.serving.pages.elements import element
from homeroom.serving.pages.strings import Strings
from homeroom.settings import Json

LONGEST_VALUE = 300


@dataclass(frozen=True)
class Link:
    text: str
    href: str


@dataclass(frozen=True)
class Pill:
    """A word in a colour: `kind` is one of good, bad, quiet, live."""

    text: str
    kind: str = "quiet"


Part = str | Link | Pill
Cell = Part | Sequence[Part]


@contextmanager
def card(title: str, hint: str = "") -> Iterator[TextElement]:
    with element("section", "card") as made:
        if title:
            element("h2", text=title)
        if hint:
            element("p", "hint-text", hint)
        yield made


def fill(cell: Cell) -> None:
    """Put a cell's content where the page stands."""
    if isinstance(cell, Link):
        element("a", "link", cell.text, href=cell.href)
    elif isinstance(cell, Pill):
        element("span", f"pill {cell.kind}", cell.text)
    elif isinstance(cell, str):
        element("span", "cell-text", cell, dir="auto")
    else:
        for one in cell:
            fill(one)


def table(label: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]], classes: str = "") -> None:
    """A column whose name ends in "#" holds numbers, set flush right; in one that ends in "=" no line is broken."""
    # Focusable, because it scrolls: the keyboard has to get at what is cut off.
    with element("div", "table-scroll", tabindex="0", role="region", aria_label=label), element("table", classes):
        with element("thead"), element("tr"):
            for head in heads:
                element("th", _classes(head), head.rstrip("#="), scope="col")
        with element("tbody"):
            for row in rows:
                with element("tr"):
                    for head, cell in zip(heads, row, strict=True):
                        if isinstance(cell, str):
                            element("td", _classes(head), cell, dir="auto")
                            continue
                        with element("td", _classes(head)):
                            fill(cell)


def _classes(head: str) -> str:
    return "number" if head.endswith("#") else "unbroken" if head.endswith("=") else ""


def facts(pairs: Iterable[tuple[str, Cell]]) -> None:
    with element("dl", "facts"):
        for name, value in pairs:
            with element("div"):
                element("dt", text=name)
                with element("dd"):
                    fill(value)


def folded(summary: str, build: Callable[[], None]) -> None:
    """Built when it is opened for the first time: most never are, and a page should be there at once."""
    with element("details", "folded") as made:
        element("summary", text=summary)
        inside = element("div", "folded-inside")
    built = False

    def opened() -> None:
        nonlocal built
        if not built:
            built = True
            with inside:
                build()

    made.on("toggle", opened, args=[])


def numbers(log: curves.Log, strings: Strings) -> None:
    """The figures of curves as a table."""
    names, rows = curves.table(log)
    label = strings.operate.as_table
    table(label, [f"{name}#" for name in names], [[number(value) for value in row] for row in rows])


def charts(stage: str, log: curves.Log, strings: Strings) -> list[str]:
    """Each curve as HTML: a title and its picture."""
    chinese = strings.html_lang != "en"
    drawn = curves.drawn(stage, log, in_chinese=chinese)
    return [f"<h3>{escape(one.title_zh if chinese else one.title)}</h3>{one.chart}" for one in drawn]


def picture(markup: str, classes: str = "") -> Element:
    """What `homeroom.drawing` drew."""
    return element("div", f"picture {classes}", innerHTML=markup)


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"


def moment(at: str) -> str:
    """On this machine's clock: those who operate sit beside it, or know where it stands."""
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def rate(figures: Mapping[str, Json]) -> str:
    """A share with its interval, from {"mean", "low", "high"}."""
    mean, low, high = (figures.get(name) for name in ("mean", "low", "high"))
    if not isinstance(mean, (int, float)):
        return "–"
    told = f"{100 * mean:.1f} %"
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        told += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return told


def flat(values: Json, strings: Strings, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings or metrics as pairs of a dotted key and a text."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from flat(value, strings, f"{name}.{key}" if name else key)
    elif isinstance(values, list) and any(isinstance(value, (dict, list)) for value in values):
        yield name, strings.operate.entries.format(count=len(values))
    else:
        text = ", ".join(map(_plain, values)) if isinstance(values, list) else _plain(values)
        yield name, text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def _plain(value: Json) -> str:
    if value is None or value == {}:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
