"""Two pictures: the circle with what of it was made, and the lineage of the artifacts."""

import html
import math
from collections.abc import Collection, Sequence

from markupsafe import Markup

from homeroom.drawing import lineage as drawing
from homeroom.stages import CIRCLE
from homeroom.workspace import Artifact


def circle(made: dict[str, Artifact], champion: str | None) -> Markup:
    """The stages around a ring, clockwise from the top; a full dot was made, a hollow one was not yet."""
    width, height, radius = 580, 470, 168
    cx, cy = width / 2, height / 2
    stages = list(CIRCLE)
    parts = [f'<circle class="ring" cx="{cx}" cy="{cy}" r="{radius}"/>']
    angles = [2 * math.pi * number / len(stages) - math.pi / 2 for number in range(len(stages))]
    for angle in angles:
        # An arrow head half way to the next stage, pointing clockwise.
        half = angle + math.pi / len(stages)
        x, y, turn = cx + radius * math.cos(half), cy + radius * math.sin(half), math.degrees(half) + 90
        parts.append(
            f'<path class="arrow" d="M-4 -4L4 0L-4 4" transform="translate({x:.1f} {y:.1f}) rotate({turn:.1f})"/>'
        )
    back, start = angles[stages.index("promote")], angles[stages.index("improve")]
    parts.append(
        f'<path class="again" d="M{cx + (radius - 14) * math.cos(start):.1f} {cy + (radius - 14) * math.sin(start):.1f}'
        f"Q{cx - radius * 0.45:.1f} {cy - radius * 0.2:.1f}"
        f' {cx + (radius - 14) * math.cos(back):.1f} {cy + (radius - 14) * math.sin(back):.1f}"/>'
    )
    for stage, angle in zip(stages, angles, strict=True):
        x, y = cx + radius * math.cos(angle), cy + radius * math.sin(angle)
        # Two lines of text: above the dot in the upper half, below it in the lower.
        tx, ty = cx + (radius + 20) * math.cos(angle), cy + (radius + 32) * math.sin(angle) - 5
        anchor = "middle" if abs(math.cos(angle)) < 0.2 else "start" if math.cos(angle) > 0 else "end"
        state = "made" if stage in made else "open"
        time = f"{made[stage].seconds:,.0f} s" if stage in made else "–"
        parts.append(
            f'<a href="#{stage}"><circle class="stage {state}" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
            f'<text class="stagename" x="{tx:.1f}" y="{ty + 1:.1f}" text-anchor="{anchor}">{stage}</text>'
            f'<text class="stagetime" x="{tx:.1f}" y="{ty + 16:.1f}" text-anchor="{anchor}">{time}</text></a>'
        )
    crowned = html.escape(champion or "–")
    parts.append(f'<text class="crown" x="{cx + 14}" y="{cy - 6}" text-anchor="middle">champion</text>')
    parts.append(f'<text class="crowned" x="{cx + 14}" y="{cy + 16}" text-anchor="middle">{crowned}</text>')
    return Markup(f'<svg class="circle" viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>')


def lineage(artifacts: Sequence[Artifact], champions: Collection[str]) -> Markup:
    """Oldest stage first, with seconds and size."""
    nodes = [
        drawing.Node(artifact.id, artifact.inputs, f"{artifact.seconds:,.1f} s · {artifact.size / 1e6:,.1f} MB")
        for artifact in artifacts
    ]
    return drawing.lineage(nodes, champions)
