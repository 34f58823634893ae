"""The figures that a workspace is judged by, read off the manifests of the artifacts of one lineage.

`homeroom status --json` prints them flat; the report and the summary of `homeroom run` show the same ones. Measuring is
the stages' business: a figure whose stage has not run is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from homeroom.report.lineage import is_whole, lineage, of_one_run
from homeroom.settings import Json, Number
from homeroom.settings import number_at as number_at
from homeroom.settings import rows_at as rows_at
from homeroom.settings import value_at as value_at
from homeroom.workspace import Artifact, Decision, Workspace


@dataclass(frozen=True)
class Figure:
    """One figure: its value, the bar it should clear, and the command that makes it again."""

    name: str
    title: str
    title_zh: str
    value: Number | bool | None
    command: str
    bar: Number | None = None
    sense: Literal["at most", "at least", "below", "above"] | None = None
    unit: Literal["", "%", "s", "GB", "bits", "nats"] = ""

    @property
    def passed(self) -> bool | None:
        """Whether it clears its bar; None where there is no bar or no value."""
        if isinstance(self.value, bool):
            return self.value
        if self.value is None or self.bar is None:
            return None
        return {
            "at most": self.value <= self.bar,
            "at least": self.value >= self.bar,
            "below": self.value < self.bar,
            "above": self.value > self.bar,
        }[self.sense or "at least"]


def figures(workspace: Workspace) -> list[Figure]:
    """Every figure, in the order in which the circle makes them."""
    artifacts, history = lineage(workspace), workspace.registry.history()
    metrics = {stage: artifact.metrics for stage, artifact in of_one_run(artifacts).items()}
    measured = rows_at(metrics, "evaluate", "models")
    evaluated = {stage: row for row in measured if (stage := str(row.get("stage"))) in metrics}
    duel = next(
        (
            row
            for row in rows_at(metrics, "evaluate", "comparisons")
            if (row.get("model"), row.get("baseline"), row.get("judge", "judge")) == ("ppo", "sft", "judge")
            and "ppo" in metrics
        ),
        None,
    )
    final = _champions_row(metrics, workspace.registry.champion())
    refused = value_at(metrics, "improve", "inverted", "refused")
    if refused is True and verdicts(artifacts["improve"], history)["votes"] != "promoted":
        refused = None  # a gate that refuses the real votes as well tells the two apart no more than a wall
    made = list(artifacts.values()) if is_whole(artifacts) else []  # half a circle says nothing about the whole one
    seconds = round(sum(artifact.seconds for artifact in made), 1) if made else None
    memory = round(max(artifact.peak_memory_bytes for artifact in made) / 1e9, 2) if made else None
    evaluate, run = "homeroom evaluate", "homeroom run recipes/starter.toml"
    xz = number_at(metrics, "evaluate", "xz_bits_per_byte")
    return [
        Figure("circle_seconds", "The whole circle", "整个循环", seconds, run, 600, "at most", "s"),
        Figure("peak_memory_gb", "Peak memory", "内存峰值", memory, run, 4, "at most", "GB"),
        Figure("base_bits_per_byte", "Base model, held-out text, bits per byte", "基础模型:保留文本,每字节比特",
               number_at(evaluated, "pretrain", "bits_per_byte", "all"), evaluate, xz, "below", "bits"),
        Figure("xz_bits_per_byte", "xz -9e on the same text, bits per byte", "xz -9e 压缩同一文本,每字节比特", xz,
               evaluate, unit="bits"),
        Figure("final_cloze_accuracy", "Final model, idiom cloze (chance: 25 %)", "最终模型:成语选择题(随机为 25 %)",
               number_at(final, "cloze", "0", "mean"), evaluate, unit="%"),
        Figure("final_cloze_low", "… lower end of its 95 % interval", "…… 95 % 区间下端",
               number_at(final, "cloze", "0", "low"), evaluate, 0.25, "above", "%"),
        Figure("sft_ends", "SFT: answers that end by themselves", "SFT:自行结束的回答",
               number_at(evaluated, "sft", "ends", "mean"), evaluate, 0.95, "at least", "%"),
        Figure("sft_language", "SFT: answers in the question's language", "SFT:与问题同语言的回答",
               number_at(evaluated, "sft", "in_language", "mean"), evaluate, 0.95, "at least", "%"),
        Figure("reward_accuracy", "Reward model, pairs of unseen questions", "奖励模型:未见问题上的准确率",
               number_at(metrics, "reward", "accuracy", "mean"), "homeroom reward", 0.75, "at least", "%"),
        Figure("ppo_win_rate", "PPO over SFT, independent judge", "PPO 胜 SFT(独立评判)",
               number_at(duel, "win_rate", "mean"), evaluate, 0.5, "above", "%"),
        Figure("ppo_win_rate_low", "… lower end of its 95 % interval", "…… 95 % 区间下端",
               number_at(duel, "win_rate", "low"), evaluate, 0.5, "above", "%"),
        Figure("ppo_kl", "… at this KL to the SFT model", "…… 此时与 SFT 模型的 KL",
               number_at(metrics, "ppo", "kl"), "homeroom ppo", unit="nats"),
        Figure("improve_win_rate_low", "After the votes, over the champion: lower end", "学习投票后胜冠军:区间下端",
               number_at(metrics, "improve", "win_rate", "low"), "homeroom improve", 0.5, "above", "%"),
        Figure("inverted_votes_refused", "The same votes inverted are refused", "反转的投票被拒绝",
               refused if isinstance(refused, bool) else None, "homeroom improve"),
    ]  # fmt: skip


def flat(found: Sequence[Figure]) -> dict[str, Number | bool | None]:
    return {figure.name: figure.value for figure in found}


def verdicts(improved: Artifact, history: Sequence[Decision]) -> dict[str, str | None]:
    """What became of an improved model (`votes`) and of its control (`inverted`); None where nothing was decided.

    A candidate that passed the gate is refused after all where another became champion meanwhile: so what is said of it
    is what the registry holds, not what its own metrics meant.
    """
    kinds = [one.kind for one in decided_by(improved, history) if one.artifact_id == improved.id]
    refused = value_at(improved.metrics, "inverted", "refused")
    inverted = ("refused" if refused else "accepted") if isinstance(refused, bool) else None
    return {"votes": kinds[-1] if kinds else None, "inverted": inverted}


def decided_by(artifact: Artifact, history: Sequence[Decision]) -> list[Decision]:
    """The registry's decisions that this artifact led to."""
    return [one for one in history if one.verdict.get("decided_by") == artifact.id]


def _champions_row(metrics: Mapping[str, Json], champion: str | None) -> Json:
    """The champion as this lineage measured it, wherever it comes from: None where nobody did."""
    rows: list[Json] = [
        *rows_at(metrics, "evaluate", "models"),
        value_at(metrics, "improve", "evaluation"),
        value_at(metrics, "promote", "evaluation_before"),
    ]
    measured = (row for row in rows if isinstance(row, dict) and champion is not None)
    return next((row for row in measured if row.get("artifact") == champion), None)


def shown(figure: Figure, value: Number | bool | None = None) -> str:
    """The figure (or its bar) as a person reads it."""
    value = figure.value if value is None else value
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if figure.unit == "%":
        return f"{100 * value:.1f} %"
    if figure.unit == "s":
        return f"{int(value) // 60} min {int(value) % 60:02d} s" if value >= 60 else f"{value:.0f} s"
    return f"{value:.2f} {figure.unit}".strip()
