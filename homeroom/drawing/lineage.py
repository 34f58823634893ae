"""What was made of what, as a graph: a row for each, and an arc to each from what it was made of."""

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

ROW, LEFT, WIDTH = 30, 108, 560


@dataclass(frozen=True)
class Node:
    """`note` stands at the end of its row; `link` is the address that its name opens, if there is one."""

    id: str
    inputs: Sequence[str]
    note: str = ""
    link: str = ""


def lineage(nodes: Sequence[Node], champions: Collection[str] = (), *, label: str = "") -> Markup:
    """Rows in the order of `nodes`."""
    places = {node.id: number * ROW + 22 for number, node in enumerate(nodes)}
    arcs, rows = [], []
    for node in nodes:
        y = places[node.id]
        for top in (places[source] for source in node.inputs if source in places):
            reach = LEFT - min(16 + 11 * abs(y - top) / ROW, LEFT * 1.25)
            arcs.append(f'<path class="arc" d="M{LEFT} {top}C{reach:.1f} {top} {reach:.1f} {y} {LEFT} {y}"/>')
        crown = " champion" if node.id in champions else ""
        drawn = (
            f'<circle class="node{crown}" cx="{LEFT}" cy="{y}" r="5"/>'
            f'<text class="rowname" x="{LEFT + 14}" y="{y + 4}">{html.escape(node.id)}</text>'
        )
        rows.append(f'<a href="{html.escape(node.link)}">{drawn}</a>' if node.link else drawn)
        rows.append(f'<text class="note" x="{WIDTH - 8}" y="{y + 4}" text-anchor="end">{html.escape(node.note)}</text>')
    height = len(nodes) * ROW + 14
    # What holds links is no image: who hears it has to reach them.
    role = "group" if any(node.link for node in nodes) else "img"
    name = f' aria-label="{html.escape(label)}"' if label else ""
    drawing = "".join([*arcs, *rows])
    return Markup(f'<svg class="lineage" viewBox="0 0 {WIDTH} {height}" role="{role}"{name}>{drawing}</svg>')
