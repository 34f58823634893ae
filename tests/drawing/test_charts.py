"""Charts are well-formed SVG, keep to their frame, and draw nothing where there is nothing."""

from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homeroom.drawing import charts
from homeroom.drawing.charts import Axis, Series, calibration, forest, line_chart, points

numbers = st.floats(-1e12, 1e12)


def drawing(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup.partition('<div class="legend">')[0])


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats()), max_size=60), st.booleans())
def test_any_curve_is_well_formed_and_stays_inside(curve: list[tuple[float, float]], noisy: bool) -> None:
    drawn = line_chart([Series("loss", sorted(curve), noisy=noisy)], references=[("xz", 3.0)])
    if not drawn:
        assert not any(abs(value) < charts.LARGEST for _, value in curve)
        return
    for path in drawing(drawn).iter("path"):
        for pair in path.attrib["d"][1:].split("L"):
            x, y = map(float, pair.split())
            assert 0 <= x <= charts.WIDTH
            assert 0 <= y <= charts.HEIGHT


@example(1801439851.0, 1e-06)
@given(numbers, st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_between(low: float, reach: float) -> None:
    high = low + reach
    ticks = Axis(low, high, 0, 100).ticks(5)
    slack = (high - low) * 0.01
    assert len(ticks) <= 6
    assert all(low - slack <= tick <= high + slack for tick in ticks) or high - low < abs(low) * 1e-9


def test_a_level_curve_and_a_single_point_are_drawn() -> None:
    assert drawing(line_chart([Series("flat", [(0, 2.0), (1, 2.0)])]))
    assert drawing(line_chart([Series("one", [(3, 0.0)])]))


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    drawn = drawing(line_chart([Series("loss", [(step, step * 1.0) for step in range(10_000)])]))
    (path,) = [one for one in drawn.iter("path") if "line" in one.attrib["class"]]
    places = path.attrib["d"][1:].split("L")
    assert len(places) <= charts.MOST_POINTS + 1
    assert float(places[-1].split()[0]) == charts.WIDTH - charts.RIGHT


def test_the_running_mean_does_not_lag() -> None:
    line = [(step, 2.0 * step) for step in range(400)]
    inner = charts._running_mean(line)[50:350]
    assert [value for _, value in inner] == pytest.approx([2.0 * step for step in range(50, 350)])


def test_names_cannot_smuggle_markup() -> None:
    drawn = line_chart([Series("<script>", [(0, 1)]), Series("b", [(0, 1)])], references=[("<b>", 1.0)])
    assert "<script>" not in drawn
    assert "<b>" not in drawn


def test_a_forest_says_who_is_better() -> None:
    drawn = forest([("up", 0.6, 0.55, 0.65), ("down", 0.3, 0.2, 0.4), ("open", 0.5, 0.4, 0.6)])
    dots = [dot.attrib["class"] for dot in drawing(drawn).iter("circle")]
    assert dots == ["better", "worse", "open"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert not line_chart([Series("loss", [])])
    assert not line_chart([Series("loss", [(0, float("nan"))])])
    assert not forest([])
    assert not calibration([])
    assert not points([], x_name="tokens")
