"""What people said of answers as a run of training: which Source and which Objective each kind of lesson asks for.

    rankings             ppo   a reward model of them, which a policy learns to please
    written answers      sft   next-token prediction of what people wrote in an answer's place
    better and worse     dpo   pairs, with the better answer imitated a little
    lone thumbs          kto   answers that were liked or not, each for itself

What is trained (all weights, or adapters), measured and promoted is the stage's business.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from homeroom.data.batches import Conversation, PackedConversations, Source, TokenRow
from homeroom.data.preferences import Pair, Split, Thumb
from homeroom.models.gpt import GPT
from homeroom.settings import Frozen, NothingToLearn
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.objectives.base import Objective
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.objectives.preference import DPO
from homeroom.training.objectives.prospect import KTO
from homeroom.training.pairs import Rows, answered, by_question, fitting, preference_pairs, rows_of, with_prompts
from homeroom.training.settings import TextSettings, TrainingSettings
from homeroom.training.thumbs import Liked, Thumbs, liked_of

Method = Literal["ppo", "dpo", "kto", "sft"]
METHODS: tuple[Method, ...] = get_args(Method)
MOST_WEIGHT = 4.0  # of the rarer kind of thumb


class LessonSettings(TrainingSettings):
    """How a model learns from people once, and by which method."""

    method: Literal["auto", "ppo", "dpo", "kto", "sft"] = Field(
        "auto", description="auto: the first that has enough lessons"
    )
    minimum_lessons: PositiveInt = Field(30, description="fewer teach nothing that could be measured")
    epochs: PositiveFloat = 2.0
    answers_per_step: PositiveInt = Field(8, description="with dpo a pair is two of them")
    micro_tokens: PositiveInt = Field(512, description="about so many are read at once: memory")
    beta: PositiveFloat = Field(0.1, description="β of dpo and kto: smaller lets the model go further")
    imitation: NonNegativeFloat = Field(1.0, description="dpo: weight of the better answers' own likelihood")


class TeachingSettings(LessonSettings):
    """The same, from one seed or several, with an eye on lessons set apart."""

    seeds: PositiveInt = Field(
        1, description="runs, of which that with the lowest validation loss is kept, of ppo that which the judge likes"
    )
    looks: NonNegativeInt = Field(4, description="in a run, at lessons set apart: its best weights are kept; 0: none")
    patience: PositiveInt = Field(2, description="looks without a lower validation loss, after which a run is stopped")


class Rehearsal(Frozen):
    """Running text read in every step beside lessons, which are few, so that they cost less of the language."""

    rows: NonNegativeInt = Field(2, description="of text in every step; 0: none")
    length: PositiveInt = Field(128, description="tokens per row")
    share: PositiveFloat = Field(0.3, description="what a step's text counts against its lessons")

    def beside(self, course: "Course", text: TokenRow | None, context: int, seed: int) -> "Course":
        """The same steps with text in each of them, in rows no longer than the model's context."""
        length = min(self.length, context)
        gamma = self.share * course.weight / max(1, self.rows * length)
        settings = TextSettings(rows=self.rows, length=length, weight=gamma)
        source, objective = settings.beside(course.source, course.objective, text, seed)
        return replace(course, source=source, objective=objective)


@dataclass(frozen=True)
class Lessons:
    """`written` are answers that people wrote."""

    pairs: Sequence[Pair]
    thumbs: Sequence[Thumb]
    written: Sequence[Thumb]

    @classmethod
    def of(cls, pairs: Sequence[Pair], thumbs: Sequence[Thumb], split: Split) -> Self:
        """Those on one side of the split."""
        here = [one for one in thumbs if one.split == split]
        written = [one for one in here if one.liked and one.answer.written]
        return cls([one for one in pairs if one.split == split], here, written)

    @property
    def ranked(self) -> int:
        """Pairs of questions of which people put three answers or more in order."""
        answers: dict[str, set[str]] = defaultdict(set)
        for one in self.pairs:
            answers[str(one.messages)] |= {one.chosen.text, one.rejected.text}
        return sum(len(answers[str(one.messages)]) > 2 for one in self.pairs)

    def of_kind(self, method: Method) -> Sequence[Pair | Thumb]:
        """What the method learns from."""
        if method in ("ppo", "dpo"):
            return self.pairs
        return self.thumbs if method == "kto" else self.written

    def first(self, count: int) -> Self:
        """No more than so many of each kind."""
        return type(self)(self.pairs[:count], self.thumbs[:count], self.written[:count])

    def inverted(self) -> Self:
        """As if everybody had meant the opposite: a control, which a gate has to refuse."""
        pairs = [replace(one, chosen=one.rejected, rejected=one.chosen) for one in self.pairs]
        thumbs = [replace(one, liked=not one.liked) for one in self.thumbs]
        return type(self)(pairs, thumbs, [one for one in thumbs if one.liked][: len(self.written)])


def contests(
    lessons: Lessons, tokenizer: Tokenizer, context: int, seed: int
) -> list[tuple[Conversation, Conversation]]:
    """What a reward model learns from: the pairs, and lone thumbs set against each other across their questions.

    Each better answer first. An answer that a person liked is not better than every one that somebody did not, but
    what is common to those that are liked shows.
    """
    paired = {(str(one.messages), said.text) for one in lessons.pairs for said in (one.chosen, one.rejected)}
    unpaired = [one for one in lessons.thumbs if (str(one.messages), one.answer.text) not in paired]
    alone = with_prompts(unpaired, tokenizer)
    order = np.random.default_rng(seed).permutation(len(alone)).tolist()
    ups, downs = ([alone[number] for number in order if alone[number][0].liked is liked] for liked in (True, False))
    across = [
        (
            answered(up_ids, up.answer, tokenizer, min(up.weight, down.weight)),
            answered(down_ids, down.answer, tokenizer, min(up.weight, down.weight)),
        )
        for (up, up_ids), (down, down_ids) in zip(ups, downs, strict=False)
    ]
    limit = context + 1
    return fitting(lessons.pairs, tokenizer, context) + [
        both for both in across if all(len(one.token_ids) <= limit and any(one.learn) for one in both)
    ]


def choose(settings: LessonSettings, lessons: Lessons, without: Method | None = None) -> tuple[Method, str]:
    """The method, and why it is this one. Raises NothingToLearn where there are too few lessons of its kind.

    A reward model is made of any comparisons where the recipe says ppo; of its own accord, only of rankings: orders of
    at least three answers.
    """
    ups = sum(one.liked for one in lessons.thumbs)
    rarer = min(ups, len(lessons.thumbs) - ups)
    enough = settings.minimum_lessons
    there = {"dpo": len(lessons.pairs), "kto": len(lessons.thumbs) if rarer >= enough / 3 else 0}
    there["sft"] = len(lessons.written)
    there["ppo"] = lessons.ranked if settings.method == "auto" else len(lessons.pairs)
    counted = (
        f"{there['dpo']} pairs ({lessons.ranked} of rankings), {len(lessons.thumbs)} thumbs ({ups} up), "
        f"{there['sft']} written answers"
    )
    if settings.method == "auto":
        wanted = next((method for method in METHODS if there[method] >= enough and method != without), None)
        if wanted is not None:
            before = METHODS[: METHODS.index(wanted)]
            passed = f", too few for {' and '.join(before)}" if before else ""
            return wanted, f"{wanted}: there are {counted}{passed}"
    elif there[settings.method] >= enough:
        return settings.method, f"{settings.method}, as the recipe says: there are {counted}"
    raise NothingToLearn(
        f"there are {counted}, too few to learn from"
        + (f" by {settings.method}" if settings.method != "auto" else "")
        + f": at least {enough} are needed ([teach].minimum_lessons), of thumbs a third of them of each kind. "
        "Vote on more answers, or write better ones."
    )


@dataclass(frozen=True)
class Course:
    """A run of training; `weight` is about what the lessons of a step weigh, in the objective's unit."""

    source: Source[Any]
    objective: Objective[Any]
    steps: int
    lessons: int
    weight: float


def as_rows(method: Method, lessons: Lessons, reference: GPT, tokenizer: Tokenizer) -> list[Any]:
    """What the method learns from, in token ids, with what the frozen `reference` thinks of it: for all runs, once.

    Call within `products_in`. Raises NothingToLearn where no lesson fits the model's context.
    """
    rows: list[Any]
    if method == "sft":
        limit = reference.config.max_length + 1  # the last token is only predicted, never read
        asked = with_prompts(lessons.written, tokenizer)
        written = [answered(prompt_ids, one.answer, tokenizer, one.weight) for one, prompt_ids in asked]
        rows = [one for one in written if len(one.token_ids) <= limit]
    elif method == "dpo":
        rows = rows_of(lessons.pairs, tokenizer, reference, micro_pairs=4)
    else:
        rows = liked_of(lessons.thumbs, tokenizer, reference)
    if not rows:
        raise NothingToLearn(
            f"no lesson fits the model's chat template and context of {reference.config.max_length} tokens"
        )
    return rows


def course(
    method: Method, settings: LessonSettings, rows: Sequence[Any], model: GPT, dtype: torch.dtype, seed: int
) -> Course:
    """What to train `model` on, from what `as_rows` made."""
    objective: Objective[Any]
    if method == "sft":
        learned: Sequence[Conversation] = rows
        longest = max(len(one.token_ids) for one in learned)
        length = min(max(longest, settings.micro_tokens // 4), model.config.max_length)
        answers_per_row = max(1, length * len(learned) // sum(len(one.token_ids) for one in learned))
        per_step = max(1, settings.answers_per_step // answers_per_row)
        micro = max(1, settings.micro_tokens // length)
        source = PackedConversations(learned, length=length, rows=per_step, micro_rows=micro, seed=seed)
        per_step, count, objective = min(per_step, len(source.bins)), len(source.bins), NextToken()
        tokens = sum(sum(one.learn) * one.weight for one in learned)
        return Course(source, objective, _steps(settings, count, per_step), len(learned), tokens * per_step / count)
    if method == "dpo":
        pairs: Sequence[Rows] = rows
        asked = by_question(pairs)
        of_one = sum(len(row.chosen.token_ids) + len(row.rejected.token_ids) for row in pairs) / len(asked)
        per_step = max(1, round(settings.answers_per_step / 2 * len(asked) / len(pairs)))
        micro = max(1, round(settings.micro_tokens / of_one))
        objective = DPO(settings.beta, settings.imitation)
        steps = _steps(settings, len(asked), per_step)
        pairs_source = preference_pairs(asked, per_step=per_step, micro=micro, seed=seed)
        weight = sum(row.chosen.weight for row in pairs) * min(per_step, len(asked)) / len(asked)
        return Course(pairs_source, objective, steps, len(pairs), weight)
    liked: Sequence[Liked] = rows
    ups = sum(one.answer.weight for one in liked if one.liked)
    downs = sum(one.answer.weight for one in liked if not one.liked)
    # Both kinds together weigh as much as one another (Ethayarajh et al. 2024, eq. 9).
    objective = KTO(settings.beta, up=_weight(downs, ups), down=_weight(ups, downs))
    micro = max(1, round(settings.micro_tokens * len(liked) / sum(len(one.answer.token_ids) for one in liked)))
    thumbs = Thumbs(liked, model, per_step=settings.answers_per_step, micro=micro, seed=seed, dtype=dtype)
    weight = (ups + downs) * min(settings.answers_per_step, len(liked)) / len(liked)
    return Course(thumbs, objective, _steps(settings, len(liked), settings.answers_per_step), len(liked), weight)


def _weight(others: float, these: float) -> float:
    return min(MOST_WEIGHT, max(1.0, others / max(1.0, these)))


def _steps(settings: LessonSettings, count: int, per_step: int) -> int:
    return max(1, round(settings.epochs * count / per_step))
