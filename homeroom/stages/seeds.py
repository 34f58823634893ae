"""One method of `teach` from several seeds: what was set apart stops a run early, and says which was the best.

Which lessons there are is for `teach` to say, how one run goes for `homeroom.training.loop`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from homeroom.models.adapters import AdapterSettings
from homeroom.models.gpt import GPT
from homeroom.models.precision import products_in
from homeroom.progress import progress, say
from homeroom.settings import Json
from homeroom.stages.adapting import Base, told
from homeroom.training.early_stopping import EarlyStopping
from homeroom.training.loop import NotFinite, RunState, train
from homeroom.training.teaching import Course, Lessons, Method, TeachingSettings, as_rows, course
from homeroom.workspace import Draft

Made = TypeVar("Made")
FEWEST, MOST = 8, 40  # lessons set apart: fewer say nothing of a run, more take longer than they are worth


@dataclass(frozen=True)
class _Tried:
    model: GPT
    loss: float
    figures: dict[str, Json]


def best_of_seeds(
    settings: TeachingSettings,
    adapters: AdapterSettings,
    base: Base,
    method: Method,
    lessons: Lessons,
    apart: Lessons,
    draft: Draft,
    *,
    beside: Callable[[Course], Course] = lambda course: course,
    curves: bool = True,
) -> tuple[GPT, dict[str, Json]]:
    """Train on `lessons` from every seed. The model with the lowest loss on those set apart, and how it came about.

    `beside` adds what else a step reads. The curves are those of the seed that is kept. Without `curves` there are
    none: what is to follow keeps its own in the draft's log, and reads it after a kill.
    """
    there = len(apart.of_kind(method))
    watched = settings.looks > 0 and there >= FEWEST
    if settings.looks and not watched:
        say("teach", f"{there} lessons set apart for {method} say nothing of a run: one seed, to its end")
    with products_in(base.dtype):
        rows, seen = (
            as_rows(method, some, base.model, base.tokenizer) if wanted else []
            for some, wanted in ((lessons, True), (apart.first(MOST), watched))
        )
    runs = _Runs(settings, adapters, base, method, rows, seen, draft, beside)
    seeds = settings.seeds if watched else 1
    places = places_of(draft, method, seeds) if curves else []
    tried = dict(each_seed(seeds, lambda number: runs.run(number, places[number] if curves else None)))
    best = min(tried, key=lambda number: tried[number].loss)
    if seeds > 1:
        losses = ", ".join(f"{one.loss:.3f} ({number + 1})" for number, one in tried.items())
        say("teach", f"validation loss by seed: {losses}; number {best + 1} is kept")
        if curves:
            draft.take(places[best])
    of_each = in_order({number: one.figures for number, one in tried.items()}, seeds)
    return tried[best].model, tried[best].figures | {"seeds": of_each, "seed": best}


def each_seed(seeds: int, run: Callable[[int], Made]) -> Iterator[tuple[int, Made]]:
    """What came of every seed whose gradients stayed finite. Raises NotFinite where none's did."""
    found = False
    for number in range(seeds):
        try:
            yield number, run(number)
            found = True
        except NotFinite as error:
            if not found and number == seeds - 1:
                raise
            say("teach", f"seed {number + 1} of {seeds} came to nothing: {error}")


def in_order(figures: Mapping[int, dict[str, Json]], seeds: int) -> list[Json]:
    """Each seed's figures in its place; None of one that came to nothing."""
    return [figures.get(number) for number in range(seeds)]


def places_of(draft: Draft, name: str, seeds: int) -> list[Draft]:
    """Where each seed keeps its curves and samples: one alone in the draft itself."""
    return [draft] if seeds == 1 else [draft.trial(f"{name}-{number}") for number in range(seeds)]


@dataclass(frozen=True)
class _Runs:
    """What all seeds have in common; `seen` is what was set apart, if anything looks at it."""

    settings: TeachingSettings
    adapters: AdapterSettings
    base: Base
    method: Method
    rows: Sequence[Any]
    seen: Sequence[Any]
    draft: Draft
    beside: Callable[[Course], Course]

    def run(self, number: int, place: Draft | None) -> _Tried:
        """From one of the seeds, with its curves in `place`."""
        settings, base, draft, name = self.settings, self.base, self.draft, f"{self.method}-{number}"
        model = base.learner(self.adapters.model_copy(update={"seed": self.adapters.seed + number}))
        lesson = self.beside(course(self.method, settings, self.rows, model, base.dtype, settings.seed + number))
        stopping: EarlyStopping | None = None
        if self.seen:
            whole = settings.model_copy(update={"answers_per_step": 2 * len(self.seen)})
            looked = course(self.method, whole, self.seen, model, base.dtype, settings.seed)
            file = draft.path / f"scratch-looks-{name}.json"
            stopping = EarlyStopping(looked.objective, looked.source, base.dtype, file, settings.patience)
        with progress(f"teach ({name if settings.seeds > 1 else self.method})", lesson.steps) as bar:

            def each_step(state: RunState) -> None:
                if place:
                    place.log(
                        state.step, **{key: value for key, value in state.metrics.items() if key != "learning_rate"}
                    )
                bar.update(state.step, **told(state))

            def begin(step: int) -> None:
                if place:
                    place.truncate_log(step)
                if stopping:
                    stopping.start(step)

            looking = [(max(1, lesson.steps // settings.looks), stopping.look)] if stopping else []
            state = train(
                model,
                lesson.objective,
                lesson.source,
                base.loop(settings, lesson.steps),
                hooks=[*looking, (1, each_step)],
                checkpoint=draft.path / f"scratch-{name}.safetensors",
                on_start=begin,
            )
        if state.stopped:
            say("teach", f"{name} ended at step {state.step} of {lesson.steps}: {state.stopped}")
        figures: dict[str, Json] = {
            "lessons": lesson.lessons, "steps": state.step, "training_seconds": state.seconds, "stopped": state.stopped,
        }  # fmt: skip
        if stopping is None:
            return _Tried(model, math.nan, figures)
        stopping.restore(model)
        step, loss = stopping.best
        return _Tried(model, loss, figures | {"best_step": step, "validation_loss": loss})
