"""One method of `teach` from several seeds: what was set apart stops a run early, and says which was the best.

Which lessons there are is for `teach` to say, how one run goes for `homeroom.training.loop`.
"""

import math
from dataclasses import dataclass

from homeroom.models.adapters import AdapterSettings
from homeroom.models.gpt import GPT
from homeroom.models.precision import products_in
from homeroom.progress import progress, say
from homeroom.settings import Json
from homeroom.stages.adapting import Base, told
from homeroom.training.early_stopping import EarlyStopping
from homeroom.training.loop import RunState, train
from homeroom.training.teaching import Lessons, Method, TeachingSettings, course
from homeroom.workspace import Draft

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
) -> tuple[GPT, dict[str, Json]]:
    """Train on `lessons` from every seed. The model with the lowest loss on those set apart, and how it came about."""
    there = len(apart.of_kind(method))
    if settings.looks and there < FEWEST:
        say("teach", f"{there} lessons set apart for {method} say nothing of a run: one seed, to its end")
    if not settings.looks or there < FEWEST:
        settings = settings.model_copy(update={"seeds": 1, "looks": 0})
    tried = [
        _run(settings, adapters, base, method, lessons, apart.first(MOST), draft, number)
        for number in range(settings.seeds)
    ]
    best = min(range(len(tried)), key=lambda number: tried[number].loss)
    if len(tried) > 1:
        losses = ", ".join(f"{one.loss:.3f}" for one in tried)
        say("teach", f"validation loss of {len(tried)} seeds: {losses}; number {best + 1} is kept")
    figures = tried[best].figures | {"seeds": [one.figures for one in tried], "seed": best}
    return tried[best].model, figures


def _run(
    settings: TeachingSettings,
    adapters: AdapterSettings,
    base: Base,
    method: Method,
    lessons: Lessons,
    apart: Lessons,
    draft: Draft,
    number: int,
) -> _Tried:
    """One of the seeds."""
    name = f"{method}-{number}"
    model = base.learner(adapters.model_copy(update={"seed": adapters.seed + number}))
    stopping: EarlyStopping | None = None
    with products_in(base.dtype):
        known = model, base.model, base.tokenizer, base.dtype
        lesson = course(method, settings, lessons, *known, settings.seed + number)
        if settings.looks:
            whole = settings.model_copy(update={"answers_per_step": 2 * len(apart.of_kind(method))})
            seen = course(method, whole, apart, *known, settings.seed)
            file = draft.path / f"scratch-looks-{name}.json"
            stopping = EarlyStopping(seen.objective, seen.source, base.dtype, file, settings.patience)
    with progress(f"teach ({name if settings.seeds > 1 else method})", lesson.steps) as bar:

        def each_step(state: RunState) -> None:
            if number == 0:
                draft.log(state.step, **{key: value for key, value in state.metrics.items() if key != "learning_rate"})
            bar.update(state.step, **told(state))

        def begin(step: int) -> None:
            if number == 0:
                draft.truncate_log(step)
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
