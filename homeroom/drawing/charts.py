"""Charts as inline SVG: lines, intervals, calibration, points. Colours come from the page's style, light and dark.

Nothing is fetched and nothing runs: the file that holds a chart shows it anywhere. What is worth drawing is the
sections' business.
"""

import html
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 440, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 34
MOST_POINTS = 240
LARGEST = 1e30

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a chart. `color` is one of the page's c1 … c4; a noisy one shows its running mean on top."""

    name: str
    points: Sequence[Point]
    color: str = "c1"
    noisy: bool = False


@dataclass(frozen=True)
class Axis:
    """Maps values to places along one side."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values between low and high: steps of 1, 2 or 5 times a power of ten."""
        if self.high - self.low < 1e-12 * abs(self.low):  # numbers of this size cannot tell such steps apart
            return [self.low]
        step = 10 ** math.floor(math.log10((self.high - self.low) / most or 1))
        step = next(step * k for k in (1, 2, 5, 10) if (self.high - self.low) / (step * k) <= most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def line_chart(
    series: Sequence[Series],
    *,
    references: Sequence[tuple[str, float]] = (),
    zero: bool = False,
    x_name: str = "step",
    label: str = "",
) -> Markup:
    """Lines over steps; `references` are dashed levels with a name, `label` is what is read aloud of the chart.

    Empty markup where there is nothing to draw.
    """
    series = [Series(s.name, _drawable(s.points), s.color, s.noisy) for s in series]
    series = [s for s in series if s.points]
    if not series:
        return Markup("")
    xs = [x for s in series for x, _ in s.points]
    ys = [y for s in series for _, y in (_running_mean(s.points) if s.noisy else s.points)]
    ys += [value for _, value in references] + ([0.0] if zero else [])
    x, y = _x_axis(min(xs), max(xs)), _y_axis(min(ys), max(ys))
    parts = [_grid(x, y, x_name)]
    for name, value in references:
        parts.append(f'<line class="ref" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text class="note" x="{WIDTH - RIGHT}" y="{y(value) - 4}" text-anchor="end">{_e(name)}</text>')
    for s in series:
        if s.noisy:
            parts.append(f'<path class="raw {s.color}" d="{_path(_thinned(s.points), x, y)}"/>')
        points = _running_mean(s.points) if s.noisy else s.points
        parts.append(f'<path class="line {s.color}" d="{_path(_thinned(points), x, y)}"/>')
        if len(s.points) < 30 and not s.noisy:
            parts += [f'<circle class="dot {s.color}" cx="{x(a)}" cy="{y(b)}" r="2.6"/>' for a, b in s.points]
    named = f' aria-label="{_e(label)}"' if label else ""
    return _svg(parts, legend=series, more=_hover(series, x, y) + named)


def forest(rows: Sequence[tuple[str, float, float, float]], *, centre: float = 0.5, percent: bool = True) -> Markup:
    """A point and an interval per row (name, mean, low, high), around a centre line: win rates, differences."""
    if not rows:
        return Markup("")
    low, high = min(centre, *(r[2] for r in rows)), max(centre, *(r[3] for r in rows))
    reach = max(centre - low, high - centre, 0.05) * 1.15
    height = 34 * len(rows) + 34
    x = Axis(centre - reach, centre + reach, 24, WIDTH - 24)
    parts = [f'<line class="ref" x1="{x(centre)}" x2="{x(centre)}" y1="6" y2="{height - 24}"/>']
    for tick in x.ticks(6):
        label = f"{100 * tick:.0f} %" if percent else _number(tick)
        parts.append(f'<text class="tick" x="{x(tick)}" y="{height - 8}" text-anchor="middle">{label}</text>')
    for row, (name, mean, lower, upper) in enumerate(rows):
        y = 34 * row + 30
        verdict = "better" if lower > centre else "worse" if upper < centre else "open"
        shown = f"{100 * mean:.1f} % [{100 * lower:.1f}, {100 * upper:.1f}]" if percent else f"{mean:.2f}"
        parts.append(f'<text class="rowname" x="14" y="{y - 10}">{_e(name)}</text>')
        parts.append(f'<text class="note" x="{WIDTH - 14}" y="{y - 10}" text-anchor="end">{shown}</text>')
        parts.append(f'<line class="interval {verdict}" x1="{x(lower)}" x2="{x(upper)}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="{verdict}" cx="{x(mean)}" cy="{y}" r="4.5"/>')
    return _svg(parts, height=height, kind="chart forest")


def calibration(bins: Sequence[tuple[float, float, float]]) -> Markup:
    """Predicted against observed share, per bin (predicted, observed, count); on the diagonal is well calibrated."""
    if not bins:
        return Markup("")
    x, y = _x_axis(0, 1), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    most = max(count for *_, count in bins) or 1
    parts = [_grid(x, y, "predicted"), f'<path class="ref" d="M{x(0)} {y(0)}L{x(1)} {y(1)}"/>']
    parts.append(f'<path class="line c1" d="{_path([(p, o) for p, o, _ in bins], x, y)}"/>')
    for predicted, observed, count in bins:
        radius = 2.5 + 5 * math.sqrt(count / most)
        parts.append(
            f'<circle class="dot c1" cx="{x(predicted)}" cy="{y(observed)}" r="{radius:.1f}">'
            f"<title>{predicted:.2f} → {observed:.2f} ({count:.0f})</title></circle>"
        )
    return _svg(parts)


def points(dots: Sequence[Point], *, x_name: str) -> Markup:
    """A cloud of points."""
    dots = _drawable(dots)
    if not dots:
        return Markup("")
    x = _x_axis(min(a for a, _ in dots), max(a for a, _ in dots))
    y = _y_axis(min(b for _, b in dots), max(b for _, b in dots))
    return _svg([_grid(x, y, x_name), *(f'<circle class="cloud" cx="{x(a)}" cy="{y(b)}" r="2.4"/>' for a, b in dots)])


def _x_axis(low: float, high: float) -> Axis:
    return Axis(low, high if high > low else low + 1, LEFT, WIDTH - RIGHT)


def _y_axis(low: float, high: float) -> Axis:
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1
    bottom = 0.0 if low == 0 else low - margin
    return Axis(bottom, high + margin, HEIGHT - BOTTOM, TOP)


def _grid(x: Axis, y: Axis, x_name: str) -> str:
    parts = []
    for tick in y.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 3.5}" text-anchor="end">{_number(tick)}</text>')
    for tick in x.ticks(4):
        parts.append(f'<text class="tick" x="{x(tick)}" y="{HEIGHT - 18}" text-anchor="middle">{_number(tick)}</text>')
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{_e(x_name)}</text>')
    return "".join(parts)


def _svg(
    parts: Sequence[str], *, height: int = HEIGHT, kind: str = "chart", legend: Sequence[Series] = (), more: str = ""
) -> Markup:
    drawing = f'<svg class="{kind}" viewBox="0 0 {WIDTH} {height}" role="img"{more}>{"".join(parts)}</svg>'
    if len(legend) > 1:
        names = "".join(f'<span class="key {s.color}">{_e(s.name)}</span>' for s in legend)
        drawing += f'<div class="legend">{names}</div>'
    return Markup(drawing)


def _hover(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """What the page's script shows under the pointer: place and value of each point that is drawn."""
    lines = []
    for s in series:
        places = _thinned(_running_mean(s.points) if s.noisy else s.points)
        lines.append({"name": s.name, "points": [[x(a), y(b), _number(a), f"{b:.4g}"] for a, b in places]})
    return f' data-series="{_e(json.dumps(lines, separators=(",", ":")))}"'


def _path(places: Sequence[Point], x: Axis, y: Axis) -> str:
    return "M" + "L".join(f"{x(a)} {min(max(y(b), 0), HEIGHT)}" for a, b in places)


def _drawable(places: Sequence[Point]) -> list[Point]:
    """Without NaN and infinity, and without what is so large that sums of it overflow."""
    return [(a, b) for a, b in places if abs(a) < LARGEST and abs(b) < LARGEST]


def _thinned(places: Sequence[Point]) -> Sequence[Point]:
    """At most MOST_POINTS of them, the last one always."""
    if len(places) <= MOST_POINTS:
        return places
    stride = math.ceil(len(places) / MOST_POINTS)
    return [*places[:-1:stride], places[-1]]


def _running_mean(places: Sequence[Point]) -> list[Point]:
    """Over a fortieth of the curve to each side, so that it does not lag behind what it follows."""
    reach = max(1, len(places) // 40)
    sums = [0.0, *itertools.accumulate(value for _, value in places)]
    smooth = []
    for index, (step, _) in enumerate(places):
        begin, end = max(0, index - reach), min(len(places), index + reach + 1)
        smooth.append((step, (sums[end] - sums[begin]) / (end - begin)))
    return smooth


def _number(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    if value and abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.3g}"


def _e(text: str) -> str:
    return html.escape(text, quote=True)
