"""Writes report.html: one self-contained file with everything that a workspace shows for itself.

Which curves are drawn and how is the business of `homeroom.drawing`, what is said the templates'.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from homeroom.drawing import PARTS, charts, curves
from homeroom.files import write_atomically
from homeroom.report import pictures, scores
from homeroom.report.figures import decided_by, figures, number_at, rows_at, shown, value_at, verdicts
from homeroom.report.learning import learning_curves
from homeroom.report.lineage import lineage
from homeroom.report.overview import in_circle_order
from homeroom.settings import HomeroomError, Json
from homeroom.workspace import Artifact, Decision, Workspace, read_log

HERE = Path(__file__).parent


def write_report(workspace: Workspace, path: Path) -> Path:
    """Write the report, whole or not at all, and return where it is."""
    page = render(workspace)
    try:
        write_atomically(path, page)
    except OSError as error:
        raise HomeroomError(
            f"{path}: the report cannot be written ({error.strerror or error}). Name a file in a folder that is there, "
            "on a disk with space, with `homeroom report --output FILE`."
        ) from error
    return path


def render(workspace: Workspace) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,  # samples and examples hold whatever people and models wrote
        undefined=jinja2.ChainableUndefined,  # a metric that is missing shows as nothing, at any depth
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent, interval=interval, megabytes=megabytes)
    artifacts = lineage(workspace)
    metrics = {stage: artifact.metrics for stage, artifact in artifacts.items()}
    champion = workspace.registry.champion()
    found, history, improved = figures(workspace), workspace.registry.history(), artifacts.get("improve")
    return environment.get_template("report.html.j2").render(
        style=_texts(HERE / "templates" / "style.css", PARTS / "charts.css"),
        script=_texts(HERE / "templates" / "script.js", PARTS / "charts.js"),
        name=workspace.path.name,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        champion=champion,
        figures=[(figure, shown(figure), shown(figure, figure.bar) if figure.bar else "") for figure in found],
        figure={figure.name: shown(figure) for figure in found},
        art=artifacts,
        m=metrics,
        decisions=list(reversed(history)),
        circle=pictures.circle(artifacts, champion),
        lineage=pictures.lineage(in_circle_order(workspace), {champion} if champion else set()),
        charts={stage: _curves(stage, artifact, metrics) for stage, artifact in artifacts.items()},
        forest=_win_rates(metrics),
        learning=learning_curves(workspace.path),
        scores=scores.of_models(workspace, artifacts),
        verdicts=verdicts(improved, history) if improved else {},
        verdict_reasons=_reasons(improved, history) if improved else [],
    )


def _texts(*paths: Path) -> Markup:
    return Markup("\n".join(path.read_text(encoding="utf-8") for path in paths))


def _reasons(improved: Artifact, history: Sequence[Decision]) -> list[Json]:
    """Why the registry refused what had passed the gate."""
    told = [one.verdict.get("reasons") for one in decided_by(improved, history) if one.kind == "refused"]
    known = value_at(improved.metrics, "reasons")
    return [reason for reasons in told if isinstance(reasons, list) and reasons != known for reason in reasons]


def _curves(stage: str, artifact: Artifact, metrics: Mapping[str, Json]) -> list[tuple[str, str, Markup]]:
    """The stage's charts that have something to show, each with its title in both languages."""
    xz = number_at(metrics, "evaluate", "xz_bits_per_byte")
    beside = {"Validation, bits per byte": [("xz -9e", xz)]} if stage == "pretrain" and xz else {}
    log = read_log(artifact.path) if stage in curves.CURVES else []
    drawn = [(one.title, one.title_zh, one.chart) for one in curves.drawn(stage, log, beside)]
    if stage in ("reward", "judge"):
        bins = [_triple(row, "predicted", "observed", "n") for row in rows_at(artifact.metrics, "calibration")]
        drawn.append(
            ("Calibration: is a 70 % preference right in 70 %?", "校准:预测与实际的比例", charts.calibration(bins))
        )
        dots = [_triple(row, "length", "score", "score")[:2] for row in rows_at(artifact.metrics, "scatter")]
        drawn.append(("Score against length", "得分与长度", charts.points(dots, x_name="tokens")))
    return [chart for chart in drawn if chart[2]]


def _triple(row: Mapping[str, Json], *names: str) -> tuple[float, float, float]:
    first, second, third = (float(number_at(row, name) or 0) for name in names)
    return first, second, third


def _win_rates(metrics: Mapping[str, Json]) -> Markup:
    """Each stage over the one before, and the improved model over the champion."""
    rows = []
    for row in rows_at(metrics, "evaluate", "comparisons"):
        judge = "the judge" if row.get("judge", "judge") == "judge" else row["judge"]
        rows.append((f"{row.get('model')} over {row.get('baseline')}, by {judge}", row.get("win_rate")))
    rows.append(("improved over champion, by the judge", value_at(metrics, "improve", "win_rate")))
    rows.append(("inverted votes over champion", value_at(metrics, "improve", "inverted", "win_rate")))
    whole = [(name, rate) for name, rate in rows if isinstance(rate, dict)]
    return charts.forest([(name, *_triple(rate, "mean", "low", "high")) for name, rate in whole])


def number(value: object, digits: int = 0) -> str:
    return f"{value:,.{digits}f}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "–"


def percent(value: object, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %" if isinstance(value, (int, float)) and not isinstance(value, bool) else "–"


def megabytes(value: object) -> str:
    if not isinstance(value, (int, float)):
        return "–"
    return f"{value / 1e6:,.1f} MB" if value >= 1e6 else f"{value / 1e3:,.0f} kB"


def interval(value: object) -> str:
    """A rate with its 95 % interval, from {"mean", "low", "high"}."""
    if not isinstance(value, Mapping):
        return percent(value)
    mean, low, high = (value.get(name) for name in ("mean", "low", "high"))
    if low is None or high is None:
        return percent(mean)
    return f"{percent(mean)} [{100 * low:.1f}, {100 * high:.1f}]"
