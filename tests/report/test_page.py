"""The report is one whole file that fetches nothing, says what is missing, and shows text as text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from homeroom.report.page import write_report
from homeroom.settings import HomeroomError
from homeroom.stages import CIRCLE
from homeroom.workspace import Workspace


def report_of(path: Path, tmp_path: Path) -> str:
    with Workspace.open(path) as workspace:
        written = write_report(workspace, tmp_path / "report.html")
    assert [one.name for one in tmp_path.glob("report.html*")] == ["report.html"]
    return written.read_text(encoding="utf-8")


class _Tags(HTMLParser):
    """Collects what a browser would fetch, and the elements left open."""

    void = frozenset({"meta", "br", "img", "input", "link", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.fetched += [str(given[name]) for name in ("src", "data", "poster") if name in given]
        if tag == "link" or (tag == "a" and not str(given.get("href")).startswith("#")):
            self.fetched.append(str(given))
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_that_fetches_nothing(finished: Path, tmp_path: Path) -> None:
    page = report_of(finished, tmp_path)
    tags = _Tags()
    tags.feed(page)
    assert tags.fetched == []
    assert tags.open == []
    assert not re.search(r"https?://|@import|url\(", page)
    assert len(tags.ids) == len(set(tags.ids))
    assert set(CIRCLE) <= set(tags.ids)


def test_a_finished_circle_misses_nothing(finished: Path, tmp_path: Path) -> None:
    page = report_of(finished, tmp_path)
    assert "Not yet:" not in page
    for told in ("xz -9e", "constructed, not human", "scripted rater", "Prefers answers that end.", "near duplicate",
                 "forum.jsonl.gz:48213", "2.500", "58.0 % [53.0, 63.0]", "inverted votes: win rate 31 %",
                 "refused, as it must be", ">18.7<", ">0.59<"):  # fmt: skip
        assert told in page, told


@pytest.mark.parametrize("name", ["nowhere/report.html", "folder"])
def test_a_report_that_cannot_be_written_says_why(workspace, name, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(HomeroomError, match=rf"{name}: the report cannot be written .*--output"):
        write_report(workspace, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".aside")] == []


def test_settings_are_those_of_what_is_shown_and_not_of_the_last_recipe(workspace, fill, make, tmp_path):
    """As after `homeroom run --until pretrain` with another recipe: it has made nothing that is shown."""
    made = fill(workspace, list(CIRCLE))
    (workspace.path / "recipe.json").write_text('{"derived": {"depth": [77, "set"]}, "resolved": {"depth": 77}}')
    make(workspace, "pretrain", dict(made), depth=8)
    page = write_report(workspace, tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="lineage">') :]
    assert section.count('"depth": 4') == len(CIRCLE)
    assert '"depth": 77' not in section
    assert '"depth": 8' not in section
    assert all(f"<summary>{artifact.id}</summary>" in section for artifact in made.values())


def test_what_models_wrote_is_shown_as_text(finished: Path, tmp_path: Path) -> None:
    page = report_of(finished, tmp_path)
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_stage_that_has_not_run_says_how_to_run_it(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    Workspace.open(path).close()
    page = report_of(path, tmp_path)
    assert [stage for stage in CIRCLE if f"<code>homeroom {stage}</code>" not in page] == []


def test_both_languages_are_there(finished: Path, tmp_path: Path) -> None:
    page = report_of(finished, tmp_path)
    assert page.count('<span lang="en">') == page.count('<span lang="zh-Hans">') > 100


def test_both_verdicts_are_there_as_the_registry_has_them(workspace, fill, tmp_path):
    made = fill(workspace, list(CIRCLE))
    refusal = {"reasons": ["it was compared with another"], "decided_by": made["improve"].id}
    workspace.registry.refuse(made["improve"].id, refusal)
    page = write_report(workspace, tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="improve">') :]
    assert '<b class="bad"><span lang="en">refused</span>' in section
    assert "it was compared with another" in section
    assert "refused as well: this shows nothing" in section
    assert "31.0 % [25.0, 37.0]" in section


def test_the_learning_curve_is_drawn_where_a_bench_measured_one(workspace, tmp_path):
    assert "How many votes it takes" not in report_of(workspace.path, tmp_path)
    folder = workspace.path / "learning-curve"
    folder.mkdir()
    rows = [
        {"rule": "<b>", "seed": seed, "votes": votes, "method": method, "win_rate": {"mean": 0.5 + votes / 1000}}
        for seed in range(2)
        for votes in (100, 200)
        for method in ("dpo", "sft")
    ]
    nothing = {"rule": "<b>", "seed": 0, "votes": 25, "method": "dpo", "nothing_learned": "too few"}
    (folder / "rounds.jsonl").write_text("\n".join(map(json.dumps, [*rows, nothing])), encoding="utf-8")
    page = report_of(workspace.path, tmp_path)
    assert "How many votes it takes" in page
    assert "&lt;b&gt;" in page
    assert "mean of 2 seeds" in page
    assert "<b>”" not in page
    assert 'class="key c1"' in page
    assert 'class="key c3"' in page
