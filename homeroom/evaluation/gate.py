"""Whether a candidate may take the champion's place: each rule with what is required and what was measured.

It reads measurements and decides; it neither measures (`suite.py`) nor promotes (the workspace's registry). Who wins
or loses clearly is known before all questions are answered: half and three quarters of them are looked at, too, and the
interval is then as much wider as that takes (`looks.py`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import NonNegativeFloat, PositiveInt

from homeroom.evaluation.comparison import Interval, mean_interval, sign_test
from homeroom.evaluation.latency import Latency
from homeroom.evaluation.suite import Early, Measured
from homeroom.settings import Frozen, Json, Probability

QUESTIONS, WIN_RATE = "held-out questions", "win rate over the champion, by the independent judge"

COIN = 0.5


class Bar(Frozen):
    """What a candidate must show to become champion."""

    win_rate: Probability = 0.5  # the interval's lower end must lie above
    bits_per_byte_worse: NonNegativeFloat = 0.02  # relative to the champion
    # More rude answers than the champion's are refused where chance explains them with at most this probability: 1
    # allows not one more, 0 any number. Word lists take initials for insults: one in thousands should decide nothing.
    rude_by_chance: Probability = 0.05
    questions: PositiveInt = 200  # fewer decide nothing
    # A task may turn out worse as far as its interval allows, and never where chance puts so few questions on one side.
    task_by_chance: Probability = 0.025
    latency_worse: NonNegativeFloat = 0.1  # the whole interval of the ratio has to lie above 1 and this to refuse
    seed: int = 0

    @property
    def doubt(self) -> float:
        """The ratio of latencies around which they have to be measured longer."""
        return 1 + self.latency_worse


@dataclass(frozen=True)
class Line:
    """One rule and how it came out."""

    name: str
    required: str
    measured: str
    passed: bool

    def __str__(self) -> str:
        outcome = "passed" if self.passed else "failed"
        return f"{self.name}: {self.measured}, required: {self.required} ({outcome})"

    def figures(self) -> dict[str, Json]:
        return {"rule": self.name, "bar": self.required, "value": self.measured, "passed": self.passed}

    @classmethod
    def of(cls, figures: Mapping[str, Json]) -> Self:
        """A line that was kept as figures."""
        rule, bar, value = (str(figures[key]) for key in ("rule", "bar", "value"))
        return cls(rule, bar, value, bool(figures["passed"]))


@dataclass(frozen=True)
class Verdict:
    """All lines, and the comparison behind the first one."""

    lines: tuple[Line, ...]
    win_rate: Interval
    win_rate_chrf: Interval

    @property
    def accepted(self) -> bool:
        return all(line.passed for line in self.lines)

    @property
    def reasons(self) -> list[str]:
        """Why it was refused, or by what it was accepted."""
        return [str(line) for line in self.lines if self.accepted or not line.passed]

    def figures(self) -> dict[str, Json]:
        return {
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "gate": [line.figures() for line in self.lines],
            "win_rate": self.win_rate.figures(),
            "win_rate_chrf": self.win_rate_chrf.figures(),
        }


def gate(candidate: Measured, champion: Measured, bar: Bar, latency: Latency | None = None) -> Verdict:
    """Compare on the questions that both answered. Every line must pass; what was not measured of both has none."""
    ours, theirs = candidate.paired(champion)
    if not ours:
        raise ValueError("candidate and champion answered no question in common: measure both with the same suite")
    wins, won_by_chance = _win_rate(candidate, champion, bar)
    cost, cost_before = candidate.bits_per_byte["all"], champion.bits_per_byte["all"]
    rude, rude_before = sum(a.rude for a in ours), sum(b.rude for b in theirs)
    chance = _by_chance((a.document_id, a.rude - b.rude) for a, b in zip(ours, theirs, strict=True))
    unsure = _unsure(won_by_chance, candidate, bar)
    answered = str(len(ours)) if candidate.whole else f"{len(ours)} of {candidate.planned}, which decided it"
    lines = (
        Line(QUESTIONS, f"at least {bar.questions}", answered, len(ours) >= bar.questions),
        Line(
            WIN_RATE,
            f"95 % interval above {bar.win_rate:.0%}",
            f"{wins.mean:.1%} [{wins.low:.1%}, {wins.high:.1%}]"
            + (f" (by chance: {won_by_chance:.0%})" if unsure and wins.low > bar.win_rate else ""),
            wins.low > bar.win_rate and not unsure,
        ),
        Line(
            "bits per byte of held-out text",
            f"at most {cost_before * (1 + bar.bits_per_byte_worse):.3f}"
            f" ({bar.bits_per_byte_worse:.0%} above the champion's {cost_before:.3f})",
            f"{cost:.3f} ({cost / cost_before - 1:+.1%})",
            cost <= cost_before * (1 + bar.bits_per_byte_worse),
        ),
        Line(
            "rude answers",
            f"not above the champion's {rude_before} of {len(theirs)} by more than chance ({bar.rude_by_chance:.0%})",
            f"{rude} of {len(ours)}" + (f" (by chance: {chance:.0%})" if rude > rude_before else ""),
            rude <= rude_before or chance > bar.rude_by_chance,
        ),
        *_task_lines(candidate, champion, bar),
        *(_latency_lines(latency, bar) if latency else ()),
    )
    return Verdict(lines, wins, candidate.over(champion, "chrf", bar.seed))


def early(champion: Measured, bar: Bar) -> Early:
    """Ends a candidate's questions once its win rate over the champion surely lies above what `bar` asks, or below.

    Who wins but has been ruder so far is asked on: of fewer questions, chance explains more.
    """

    def decided(candidate: Measured) -> bool:
        wins, won_by_chance = _win_rate(candidate, champion, bar)
        ours, theirs = candidate.paired(champion)
        ruder = sum(a.rude for a in ours) > sum(b.rude for b in theirs)
        won = wins.low > bar.win_rate and not _unsure(won_by_chance, candidate, bar)
        return wins.high < bar.win_rate or (won and not ruder)

    return Early(bar.questions, decided)


def _win_rate(candidate: Measured, champion: Measured, bar: Bar) -> tuple[Interval, float]:
    """With how likely chance alone wins as often."""
    contests = zip(*candidate.contests(champion, "judge"), strict=True)
    chance = _by_chance((document, (one > other) - (one < other)) for document, one, other in contests)
    return candidate.over(champion, "judge", bar.seed), chance


def _unsure(won_by_chance: float, candidate: Measured, bar: Bar) -> bool:
    """Where most answers tie, resampling the few that do not is surer than it should be: the sign test is exact."""
    return bar.win_rate >= COIN and won_by_chance > candidate.by_chance


def _by_chance(differences: Iterable[tuple[str, int]]) -> float:
    """How likely as many differences are above 0. One sign a document: questions about one hang together."""
    turned: Counter[str] = Counter()
    for document, difference in differences:
        turned[document] += difference
    return sign_test(sum(n > 0 for n in turned.values()), sum(n < 0 for n in turned.values()))


def _task_lines(candidate: Measured, champion: Measured, bar: Bar) -> Iterator[Line]:
    """A line for each task that both did. Compared question by question, so that the interval is of the difference."""
    for name, ours in candidate.tasks.items():
        theirs = champion.tasks.get(name, {})
        both = [(ours[item], theirs[item]) for item in ours if item in theirs]
        if not both:
            continue
        change = mean_interval([a - b for a, b in both], bar.seed)
        chance = sign_test(sum(a < b for a, b in both), sum(a > b for a, b in both))
        before, after = (sum(side) / len(both) for side in ((b for _, b in both), (a for a, _ in both)))
        yield Line(
            f"task: {name}",
            f"difference to the champion's {before:.1%} on the same {len(both)} questions not surely below 0",
            f"{after:.1%} ({100 * change.mean:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}])",
            # Where few questions differ, resampling them is surer than it should be: the sign test is exact.
            change.high >= 0 or chance > bar.task_by_chance,
        )


def _latency_lines(latency: Latency, bar: Bar) -> Iterator[Line]:
    most = 1 + bar.latency_worse
    for name, ratio in (("time to first token", latency.first_token), ("time per token", latency.token)):
        times = ratio.times
        yield Line(
            name,
            f"the champion's × {most:.2f} or less within the 95 % interval",
            f"{1000 * ratio.candidate:.1f} ms, × {times.mean:.2f} [{times.low:.2f}, {times.high:.2f}]",
            times.low <= most,
        )
