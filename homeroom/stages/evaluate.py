"""evaluate: the same measures for every model of the circle, on text, idioms and questions that none has seen.

How something is measured is the business of `homeroom.evaluation`. The judge is the `judge` artifact, never the reward
model that PPO trained on. Questions, and each model's answers with their grades, are kept, so that a later candidate
is compared without asking the others again.
"""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch

from homeroom.data.documents import read_documents
from homeroom.evaluation.heldout import up_to
from homeroom.evaluation.likelihood import xz_bits_per_byte
from homeroom.evaluation.suite import Measured, Suite
from homeroom.files import write_atomically
from homeroom.models.precision import dtype_name
from homeroom.progress import say
from homeroom.settings import Json
from homeroom.stages.lookup import unchanged
from homeroom.stages.measuring import QUESTIONS, Measuring, build_suite, measure
from homeroom.tasks.base import Question
from homeroom.workspace import Artifact, Workspace

VERSION = 7


class Config(Measuring):
    """Which stages' models are measured, on how much, and how answers are sampled (as in serving)."""


def run(config: Config, workspace: Workspace) -> Artifact:
    cleaned, judge = workspace.latest("clean"), workspace.latest("judge")
    models = [workspace.latest(stage) for stage in config.stages]
    if done := unchanged(workspace, "evaluate", config, [cleaned, judge, *models], VERSION):
        return done
    with workspace.publish("evaluate", config, [cleaned, judge, *models], VERSION) as draft:
        suite = build_suite(config, cleaned, judge, draft.id, draft.path / QUESTIONS)
        suite = _in_one_format(suite, draft.path / "scratch-precision.json")
        packed = _Xz(config, cleaned, suite.texts)
        for model in models:
            model.check()
        measured = measure(suite, {model.stage: model for model in models}, draft.path)
        pairs = [(after, before) for before, after in pairwise(measured)]
        comparisons: list[Json] = [
            {
                "model": after.stage,
                "baseline": before.stage,
                "judge": grade,
                "win_rate": after.over(before, grade, config.seed).figures(),
            }
            for after, before in pairs
            for grade in ("judge", "chrf")
        ]
        draft.metrics |= {
            "models": [one.figures() for one in measured],
            "comparisons": comparisons,
            "answers": _shown(suite.asked("pretrain")[: config.shown], measured),
            "questions": len(suite.questions),
            "precision": dtype_name(suite.dtype),
            "text_bytes": sum(len(text.encode()) for text in suite.texts),
            **packed.figures(),
        }
    last = measured[-1]
    say(
        "evaluate",
        f"{len(measured)} models; {last.stage}: {last.bits_per_byte['all']:.3f} bits per byte"
        + "".join(f", {a.stage} over {b.stage} {a.over(b, 'judge', config.seed)}" for a, b in pairs)
        + f" → {draft.artifact.id}",
    )
    return draft.artifact


def _in_one_format(suite: Suite, plan: Path) -> Suite:
    """What a killed run had measured stays comparable: "auto" may come out otherwise when it goes on."""
    if plan.exists():
        return replace(suite, dtype=getattr(torch, json.loads(plan.read_text(encoding="utf-8"))))
    write_atomically(plan, json.dumps(dtype_name(suite.dtype)))
    return suite


def _shown(asked: Sequence[Question], measured: Sequence[Measured]) -> list[Json]:
    said = {one.stage: {answer.question_id: answer.text for answer in one.answers} for one in measured}
    return [
        {
            "question": question.prompt,
            "reference": question.reference,
            "language": question.language,
            "answers": {stage: answers[question.id] for stage, answers in said.items()},
        }
        for question in asked
    ]


@dataclass
class _Xz:
    """What xz needs for the held-out text. It takes longest of all and holds no lock, so it runs beside the rest."""

    config: Config
    cleaned: Artifact
    texts: Sequence[str]

    def __post_init__(self) -> None:
        self._future: Future[dict[str, Json]] = Future()
        # A daemon, which no pool has: whoever stops the evaluation does not wait for xz.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._future.set_result(self._pack())
        except BaseException as error:
            self._future.set_exception(error)

    def _pack(self) -> dict[str, Json]:
        found: dict[str, Json] = {"xz_bits_per_byte": xz_bits_per_byte(self.texts)}
        if self.config.xz_megabytes:
            train = read_documents(self.cleaned.path / "documents.parquet", split="train")
            primer = [document.text for document in up_to(self.config.xz_megabytes, train)]
            found["xz_primed_bits_per_byte"] = xz_bits_per_byte(self.texts, primer)
            found["xz_primer_bytes"] = sum(len(text.encode()) for text in primer)
        return found

    def figures(self) -> dict[str, Json]:
        """Waits for it; what went wrong there is raised here."""
        return self._future.result()
