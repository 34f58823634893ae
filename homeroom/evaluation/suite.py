"""The suite: everything that is measured of a model, the same for every model, and what came out.

Stages choose what is held out and hand it in; the parts are measured by the other files of this room. Answers
are kept with their grades, so that any two models measured by one suite can be compared later without
generating again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from homeroom.evaluation.answers import generate_answers
from homeroom.evaluation.comparison import Interval, proportion, win_rate
from homeroom.evaluation.few_shot import cloze_outcomes
from homeroom.evaluation.judging import Judged, judge_answers
from homeroom.evaluation.likelihood import bits_per_byte_by_language, score_texts
from homeroom.evaluation.looks import Look, chance_at, looks
from homeroom.evaluation.multiple_choice import score_items
from homeroom.files import write_atomically
from homeroom.inference.request import Sampling
from homeroom.memory import give_back_freed_memory
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.models.precision import products_in
from homeroom.settings import Frozen, Json
from homeroom.tasks.base import Question
from homeroom.tasks.cloze import ClozeItem
from homeroom.tasks.multiple_choice import Item
from homeroom.text.tokenizer import Tokenizer

Advance = Callable[[str, int], None]  # what is measured, and by how much it went on
CLOZE = "idiom cloze"


def _silent(_what: str, _n: int) -> None: ...


class Measured(Frozen):
    """What a suite found out about one model."""

    suite: str
    artifact: str
    stage: str
    bits_per_byte: dict[str, float]
    cloze: dict[str, Interval]  # by number of examples
    answers: tuple[Judged, ...]
    # Of each task every question's outcome by its id, from 0 to 1; older measurements have none.
    tasks: dict[str, dict[str, float]] = Field(default_factory=dict)
    # How many questions there were, where it was looked at before all of them were answered.
    planned: int | None = None

    @property
    def whole(self) -> bool:
        return self.planned in (None, len(self.answers))

    @property
    def by_chance(self) -> float:
        """What chance may still explain of a difference: less where more than one look was taken (`looks.py`)."""
        return chance_at(len(self.answers), self.planned)

    def paired(self, other: "Measured") -> tuple[list[Judged], list[Judged]]:
        """Both models' answers to the questions that both answered, in the same order."""
        if self.suite != other.suite:
            raise ValueError(f"measured by different suites, {self.suite} and {other.suite}: measure both by one")
        theirs = {answer.question_id: answer for answer in other.answers}
        ours = [answer for answer in self.answers if answer.question_id in theirs]
        return ours, [theirs[answer.question_id] for answer in ours]

    def answering_as(self, other: "Measured") -> "Measured":
        """With no other answers than to the questions that both answered, so that figures of both compare."""
        return self.model_copy(update={"answers": tuple(self.paired(other)[0])})

    def over(self, baseline: "Measured", grade: Literal["judge", "chrf"], seed: int = 0) -> Interval:
        """The win rate over a baseline by one grade; questions about one document are drawn together.

        Where it was looked at more than once, the interval holds at all looks at once with 95 %. Who said the same
        ties: scored in two batches, an answer's two scores may differ by their rounding.
        """
        documents, scores, others = self.contests(baseline, grade)
        return win_rate(scores, others, seed, documents, by_chance=self.by_chance)

    def contests(
        self, baseline: "Measured", grade: Literal["judge", "chrf"]
    ) -> tuple[list[str], list[float], list[float]]:
        """Of each question that both answered its document, our answer's grade and theirs."""
        ours, theirs = self.paired(baseline)
        alike = [(a.text, a.ended) == (b.text, b.ended) for a, b in zip(ours, theirs, strict=True)]
        scores = [getattr(answer, grade) for answer in ours]
        others = [s if same else getattr(b, grade) for s, same, b in zip(scores, alike, theirs, strict=True)]
        return [answer.document_id for answer in ours], scores, others

    def figures(self) -> dict[str, Json]:
        """The row of the report. Answers themselves stay in the file."""
        kinds = sorted({answer.kind for answer in self.answers})
        return {
            "stage": self.stage,
            "artifact": self.artifact,
            "bits_per_byte": dict(self.bits_per_byte),
            "cloze": {shots: accuracy.figures() for shots, accuracy in self.cloze.items()},
            **_grades(self.answers),
            "by_kind": {kind: _grades([answer for answer in self.answers if answer.kind == kind]) for kind in kinds},
        }

    def save(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json() + "\n")

    @classmethod
    def load(cls, path: Path) -> "Measured":
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Early:
    """Ends the questions where `decided` says so of what was answered by then, and no look is before `least`."""

    least: int
    decided: Callable[[Measured], bool]


@dataclass(frozen=True)
class Suite:
    """What to measure with: held-out texts and questions, and cloze items by number of examples."""

    name: str
    judge: RewardModel
    tokenizer: Tokenizer  # the judge's; each model brings its own
    texts: Sequence[str]
    languages: Sequence[str]
    questions: Sequence[Question]
    cloze: Mapping[int, Sequence[ClozeItem]]
    sampling: Sampling
    base_questions: int | None = None  # so many of the questions the pretrained model is asked; None: all
    dtype: torch.dtype = torch.float32  # of matrix products: models that are compared are measured in the same one
    seed: int = 0
    tasks: Mapping[str, Sequence[Item]] = field(default_factory=dict)  # further ones, by name

    def work(self, stage: str) -> int:
        """How far `advance` counts."""
        items = sum(map(len, (*self.cloze.values(), *self.tasks.values())))
        return len(self.texts) + items + len(self.asked(stage))

    def asked(self, stage: str) -> Sequence[Question]:
        """What a stage's model is asked. The questions' order is random, so the first are like all of them."""
        return self.questions[: self.base_questions] if stage == "pretrain" else self.questions

    def measure(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        artifact: str,
        stage: str,
        advance: Advance = _silent,
        answering: CompiledGPT | None = None,
        early: Early | None = None,
        known: Measured | None = None,
    ) -> Measured:
        """Everything about one model. `artifact` and `stage` say whose results these are.

        With `answering`, the form of it that is served, that one answers the questions; with `early` not always all.
        What is `known`, of a model that was not asked all, is not measured again.
        """
        asked = self.asked(stage)
        at = looks(len(asked), early.least) if early else [Look(len(asked), len(asked))]
        with products_in(self.dtype, model.embedding.weight.device.type):
            if known is None:
                measured = self._unasked(model, tokenizer, artifact, stage, advance, answering or model)
            else:
                measured = known
                advance("known", self.work(stage) - len(asked) + len(known.answers))
            measured = measured.model_copy(update={"planned": len(asked) if len(at) > 1 else None})
            for look in at:
                rest = asked[len(measured.answers) : look.answered]
                answers = (*measured.answers, *self._answers(answering or model, tokenizer, rest, advance))
                measured = measured.model_copy(update={"answers": answers})
                if early and look.answered < len(asked) and early.decided(measured):
                    advance("decided", len(asked) - look.answered)
                    break
        return measured

    def _unasked(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        artifact: str,
        stage: str,
        advance: Advance,
        answering: GPT | CompiledGPT,
    ) -> Measured:
        """All but the answers."""
        scores = score_texts(model, tokenizer, self.texts, on_texts=lambda n: advance("likelihood", n))
        right = {
            shots: cloze_outcomes(model, tokenizer, items, on_items=lambda n: advance("cloze", n))
            for shots, items in self.cloze.items()
        }
        return Measured(
            suite=self.name,
            artifact=artifact,
            stage=stage,
            bits_per_byte=bits_per_byte_by_language(scores, self.languages),
            cloze={str(shots): proportion(list(outcomes.values())) for shots, outcomes in right.items()},
            answers=(),
            tasks=self._tasks(answering, tokenizer, list(right.values()), advance),
        )

    def _answers(
        self, answering: GPT | CompiledGPT, tokenizer: Tokenizer, asked: Sequence[Question], advance: Advance
    ) -> list[Judged]:
        answers = generate_answers(
            answering,
            tokenizer,
            asked,
            self.sampling,
            self.seed,
            on_answer=lambda _tokens: advance("answers", 1),
        )
        give_back_freed_memory()  # the answers' cache, before the judge reads
        return judge_answers(asked, answers, self.judge, self.tokenizer)

    def _tasks(
        self,
        model: GPT | CompiledGPT,
        tokenizer: Tokenizer,
        cloze: Sequence[Mapping[str, bool]],
        advance: Advance,
    ) -> dict[str, dict[str, float]]:
        """Every question's outcome. An item of the cloze is one question with whatever examples before it."""
        found: dict[str, dict[str, float]] = {}
        if cloze:
            asked = set.intersection(*map(set, cloze))
            found[CLOZE] = {item: sum(each[item] for each in cloze) / len(cloze) for item in sorted(asked)}
        for name, items in self.tasks.items():
            scored = score_items(model, tokenizer, items, on_items=lambda n: advance("tasks", n))
            found[name] = {
                f"{place}": float(one.picked == one.item.answer) for place, one in enumerate(scored) if one.logprobs
            }
        return found


def _grades(answers: Sequence[Judged]) -> dict[str, Json]:
    count = len(answers)
    return {
        "ends": proportion([answer.ended for answer in answers]).figures(),
        "in_language": proportion([answer.in_language for answer in answers]).figures(),
        "repeats": proportion([answer.repeats for answer in answers]).figures(),
        "rude": proportion([answer.rude for answer in answers]).figures(),
        "chrf": sum(answer.chrf for answer in answers) / count,
        "grade": sum(answer.grade for answer in answers) / count,
        "judge_score": sum(answer.judge for answer in answers) / count,
        "tokens": sum(answer.tokens for answer in answers) / count,
    }
