"""Which curves are drawn of a log, their table, and the graph of what was made of what."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from homeroom.drawing import curves
from homeroom.drawing.lineage import Node, lineage

LOG: list[dict[str, float | None]] = [
    {"step": 1.0, "reward": 0.1, "kl": 0.5},
    {"step": 1.0, "entropy": 2.0},
    {"step": 2.0, "reward": None, "kl": 0.7},
    {"step": 3.0, "reward": 0.4, "kl": 0.9},
]


def test_a_stage_has_its_own_curves_and_any_other_one_for_each_name() -> None:
    titles = [one.title_zh for one in curves.drawn("ppo", LOG)]
    assert titles == ["奖励", "与 SFT 模型的 KL(奈特/回答)", "熵(奈特/词元)"]
    assert [one.title for one in curves.drawn("brew", LOG)] == ["reward", "kl", "entropy"]
    assert curves.drawn("ppo", []) == []
    assert 'aria-label="Reward"' in curves.drawn("ppo", LOG)[0].chart
    assert 'aria-label="奖励"' in curves.drawn("ppo", LOG, in_chinese=True)[0].chart
    assert curves.points(LOG, "reward") == [(1.0, 0.1), (3.0, 0.4)]


def test_the_table_has_a_row_a_step() -> None:
    names, rows = curves.table(LOG)
    assert names == ["step", "reward", "kl", "entropy"]
    assert rows == [[1.0, 0.1, 0.5, 2.0], [2.0, None, 0.7, None], [3.0, 0.4, 0.9, None]]


@given(st.integers(0, 400), st.integers(2, 50))
def test_a_long_table_keeps_its_ends(length: int, most: int) -> None:
    _, rows = curves.table([{"step": float(step)} for step in range(length)], most)
    assert len(rows) <= most
    if length:
        assert (rows[0], rows[-1]) == ([0.0], [length - 1.0])
    assert [row[0] for row in rows] == sorted({row[0] for row in rows if row[0] is not None})


def test_a_graph_has_an_arc_for_each_input_that_is_drawn_and_escapes_what_it_is_given() -> None:
    evil = '<b>"&'
    drawn = lineage(
        [Node(evil, ()), Node("b-2", (evil, "gone"), evil, f"/data/{evil}"), Node("c", ("b-2", evil))],
        {"c"},
        label=evil,
    )
    parsed = ElementTree.fromstring(drawn)
    assert len([one for one in parsed if one.tag == "path"]) == 3
    assert (parsed.attrib["role"], parsed.attrib["aria-label"]) == ("group", evil)
    (link,) = parsed.iter("a")
    assert link.attrib["href"] == f"/data/{evil}"
    assert [one.attrib["class"] for one in parsed.iter("circle")] == ["node", "node", "node champion"]
    assert ElementTree.fromstring(lineage([Node("a", ())])).attrib["role"] == "img"
