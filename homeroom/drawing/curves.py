"""Which curves of a stage's log are worth a chart, what each is called in both languages, and the same as a table.

How a chart looks is charts.py's business; reading the log is the workspace's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from homeroom.drawing.charts import Series, line_chart

Log = Sequence[Mapping[str, float | None]]
MOST_ROWS = 40


class Line(NamedTuple):
    """One line of a chart: its name in the log, the name shown, and how it is drawn."""

    name: str
    shown: str
    color: str = "c1"
    noisy: bool = True


@dataclass(frozen=True)
class Curve:
    """One chart of a stage, with its title in both languages."""

    title: str
    title_zh: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Drawn:
    """A chart that has something to show."""

    title: str
    title_zh: str
    chart: Markup


_LOSS = Curve("Loss", "损失", (Line("loss", "training"),))
_ORDER = Curve("Pairs in the right order", "排序正确的比例", (Line("accuracy", "training"),))
_REWARD = (Curve("Loss per pair, nats", "每对损失", (Line("loss", "training"),)), _ORDER)
_MARGIN = Curve("Reward margin", "奖励差距", (Line("margin", "margin", "c2"),))
_PPO = (
    Curve("Reward", "奖励", (Line("reward", "reward"),)),
    Curve("KL to the SFT model, nats per answer", "与 SFT 模型的 KL(奈特/回答)", (Line("kl", "KL", "c2"),)),
    Curve("Answer length, tokens", "回答长度(词元)", (Line("length", "length", "c3"),)),
    Curve("Entropy, nats per token", "熵(奈特/词元)", (Line("entropy", "entropy", "c4"),)),
    Curve(
        "What an independent judge thinks of answers to validation questions",
        "独立评判对验证集问题回答的看法",
        (Line("judge", "judge", "c1", False),),
    ),
)
_RATE = Curve("Learning rate", "学习率", (Line("learning_rate", "learning rate", "c3", False),))
CURVES: dict[str, tuple[Curve, ...]] = {
    "pretrain": (
        Curve("Loss, nats per token", "损失(奈特/词元)", (Line("loss", "training"),)),
        Curve(
            "Validation, bits per byte",
            "验证集,每字节比特",
            (Line("validation_bits_per_byte", "validation", "c2", False),),
        ),
        _RATE,
        Curve("Tokens per second", "每秒词元数", (Line("tokens_per_second", "tokens/s", "c4"),)),
    ),
    "sft": (
        Curve(
            "Loss, nats per learned token",
            "损失(奈特/所学词元)",
            (Line("loss", "training"), Line("validation_loss", "validation", "c2", False)),
        ),
        _RATE,
    ),
    "reward": _REWARD,
    "judge": _REWARD,
    "ppo": _PPO,
    "improve": (
        Curve("DPO loss", "DPO 损失", (Line("loss", "training"),)),
        _ORDER,
        _MARGIN,
    ),
    "teach": (_LOSS, _ORDER, _MARGIN, *_PPO),
}


def curves_of(stage: str, log: Log) -> tuple[Curve, ...]:
    """The stage's own; of a stage that has none named, one for each name in its log."""
    if stage in CURVES:
        return CURVES[stage]
    return tuple(Curve(name, name, (Line(name, name),)) for name in names_in(log))


def drawn(
    stage: str,
    log: Log,
    references: Mapping[str, Sequence[tuple[str, float]]] | None = None,
    *,
    in_chinese: bool = False,
) -> list[Drawn]:
    """The charts that have something to show. `references`: levels to draw beside, by a curve's title; the language is
    that in which a chart is read aloud."""
    charts = []
    for curve in curves_of(stage, log):
        series = [Series(line.shown, points(log, line.name), line.color, line.noisy) for line in curve.lines]
        chart = line_chart(
            series,
            references=(references or {}).get(curve.title, ()),
            label=curve.title_zh if in_chinese else curve.title,
        )
        if chart:
            charts.append(Drawn(curve.title, curve.title_zh, chart))
    return charts


def points(log: Log, name: str) -> list[tuple[float, float]]:
    return [
        (step, value) for point in log if (step := point["step"]) is not None and (value := point.get(name)) is not None
    ]


def names_in(log: Log) -> list[str]:
    return list(dict.fromkeys(name for point in log for name in point if name != "step"))


def table(log: Log, most: int = MOST_ROWS) -> tuple[list[str], list[list[float | None]]]:
    """The same figures to read: the names, step first, and at most so many rows, the first and the last always.

    What was logged apart at one step stands in one row.
    """
    by_step: dict[float, dict[str, float | None]] = {}
    for point in log:
        if (step := point["step"]) is not None:
            by_step.setdefault(step, {}).update(point)
    names, steps = ["step", *names_in(log)], list(by_step)
    if len(steps) > most:
        stride = math.ceil((len(steps) - 1) / (most - 1))
        steps = [*steps[:-1:stride], steps[-1]]
    return names, [[by_step[step].get(name) for name in names] for step in steps]
