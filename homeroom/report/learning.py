"""The learning curve of a workspace: what `python -m bench.learning_curve --from WORKSPACE` wrote down, as lines.

A bench measures; this draws win rates over votes, a line a method, the mean over seeds.
"""

import json
from collections import defaultdict
from pathlib import Path

from markupsafe import Markup

from homeroom.drawing import charts
from homeroom.drawing.charts import Series

FOLDER, ROUNDS = "learning-curve", "rounds.jsonl"
_COLORS = {"dpo": "c1", "kto": "c2", "sft": "c3", "ppo": "c4"}


def learning_curves(workspace: Path) -> list[tuple[str, str, Markup]]:
    """A chart for each rule, with its title in both languages; none where the bench was not run."""
    path = workspace / FOLDER / ROUNDS
    if not path.is_file():
        return []
    won: dict[str, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(row)
        if "win_rate" in told:
            won[told["rule"]][told["method"]][told["votes"]].append(told["win_rate"]["mean"])
    drawn = []
    for rule, by_method in won.items():
        seeds = max(len(rates) for points in by_method.values() for rates in points.values())
        lines = [
            Series(method, [(votes, sum(w) / len(w)) for votes, w in sorted(points.items())], _COLORS.get(method, "c1"))
            for method, points in sorted(by_method.items())
        ]
        chart = charts.line_chart(lines, references=[("the champion itself", 0.5)], x_name="votes")
        many = f", mean of {seeds} seeds" if seeds > 1 else ""
        drawn.append((f"Win rate by the rule “{rule}”{many}", f"按规则“{rule}”的胜率", chart))
    return drawn
