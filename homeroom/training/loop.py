"""The loop: written once for pretraining, SFT, reward models, DPO and PPO, which differ in Source and Objective.

Gradient accumulation, clipping, schedule, precision, exact resume, logging and hooks stand here and nowhere else.
It knows no task; a stage hands it hooks for whatever it wants to see along the way.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn

from homeroom.data.batches import Source
from homeroom.memory import give_back_freed_memory
from homeroom.models.precision import Precision, dtype_name, products_in, resolve_precision
from homeroom.settings import Frozen, HomeroomError, Probability
from homeroom.training.objectives.base import Batch, Objective
from homeroom.training.optimizers import Optimizer, OptimizerSettings
from homeroom.training.resume import load_run, save_run
from homeroom.training.schedules import warmup_stable_decay


class NotFinite(HomeroomError):
    """A run ran away: its gradient is no number."""


class LoopSettings(Frozen):
    """How long and how a run trains. `warmup` and `decay` are shares of the steps."""

    steps: PositiveInt = 100
    warmup: Probability = 0.05
    decay: Probability = 0.3
    floor: Probability = Field(0.0, description="the learning rate's share that is left at the end")
    gradient_clip: PositiveFloat = 1.0
    optimizer: OptimizerSettings = OptimizerSettings()
    precision: Precision = "auto"
    checkpoint_seconds: NonNegativeFloat = 20.0
    seed: NonNegativeInt = 0


@dataclass
class RunState:
    """Where a run stands: what hooks are given."""

    model: nn.Module
    total_steps: int
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # spent in steps, over all resumes
    tokens_per_second: float = 0.0  # over the last few steps
    metrics: dict[str, float] = field(default_factory=dict)
    stopped: str | None = None  # set by a hook to end the run early, with the reason
    precision: torch.dtype = torch.float32  # of matrix products


Hook = Callable[[RunState], None]
Every = tuple[int, Hook]


def train(
    model: nn.Module,
    objective: Objective[Any],
    source: Source[Any],
    settings: LoopSettings,
    *,
    hooks: Sequence[Every] = (),
    checkpoint: Path | None = None,
    on_start: Callable[[int], None] | None = None,
) -> RunState:
    """Train `model` in place for `settings.steps` steps, or until the Source ends or a hook says stop.

    With `checkpoint` the run is saved there every so often, and goes on from there when the file exists: the end is
    the same, bit for bit, as without the interruption. The last step is never saved, so that a run which is killed
    after it makes it again, and hooks see an end. `on_start` hears after which step it goes on (0: anew). A Source
    that cannot be saved at every step has a property `resumable`. Raises ValueError when a step of a
    non-additive objective is in pieces, and NotFinite when a gradient is not finite (the last checkpoint is kept).
    """
    dtype = resolve_precision(settings.precision, model)
    optimizer = Optimizer(model, settings.optimizer, muon_dtype=dtype)
    state = RunState(model, settings.steps)
    position = load_run(checkpoint, model, optimizer) if checkpoint else None
    if position is not None:
        source.load_state_dict(position["source"])
        # "auto" may measure something else on a busier day, and the end would be another one.
        dtype = optimizer.muon_dtype = getattr(torch, position["precision"])
        state.step, state.tokens, state.seconds = position["step"], position["tokens"], position["seconds"]
    else:
        torch.manual_seed(settings.seed)
    state.precision = dtype
    if on_start is not None:
        on_start(state.step)
    warmup, decay = round(settings.warmup * settings.steps), round(settings.decay * settings.steps)
    saved = time.monotonic()
    recent: list[tuple[int, float]] = []
    batches = iter(source)
    model.train()
    give_back_freed_memory()  # what was read and measured before it left blocks that no step's tensors fit into
    while state.step < settings.steps and state.stopped is None:
        started = time.perf_counter()
        micro_batches = next(batches, None)
        if micro_batches is None:
            break
        multiplier = warmup_stable_decay(state.step, settings.steps, warmup=warmup, decay=decay, floor=settings.floor)
        try:
            state.metrics = optimize(
                model, objective, micro_batches, optimizer, multiplier, clip=settings.gradient_clip, dtype=dtype
            )
        except NotFinite as error:
            raise NotFinite(f"step {state.step}: {error}") from None
        elapsed, tokens = time.perf_counter() - started, sum(batch.tokens_BT.numel() for batch in micro_batches)
        recent = [*recent[-9:], (tokens, elapsed)]
        state.step += 1
        state.tokens += tokens
        state.seconds += elapsed
        state.tokens_per_second = sum(t for t, _ in recent) / sum(s for _, s in recent)
        state.metrics["learning_rate"] = multiplier
        for every, hook in hooks:
            if state.step % every == 0 or state.step == settings.steps:
                hook(state)
                model.train()
        last = state.step == settings.steps or state.stopped is not None
        due = time.monotonic() - saved >= settings.checkpoint_seconds and not last
        if due and checkpoint is not None and getattr(source, "resumable", True):
            save_run(checkpoint, model, optimizer, _position(state, source))
            saved = time.monotonic()
    model.eval()
    give_back_freed_memory()  # nor do what steps passed from one to the next suit what follows
    return state


def optimize(
    model: nn.Module,
    objective: Objective[Any],
    micro_batches: Sequence[Batch],
    optimizer: Optimizer,
    multiplier: float = 1.0,
    *,
    clip: float,
    dtype: torch.dtype,
) -> dict[str, float]:
    """One optimizer step on one batch, however it was cut; returns the step's mean metrics. Raises NotFinite."""
    kind = next(model.parameters()).device.type
    with products_in(dtype, kind):
        metrics = gradient(model, objective, micro_batches)
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    if not torch.isfinite(norm):
        raise NotFinite("the gradient is not finite; try a lower learning rate")
    optimizer.step(multiplier)
    optimizer.zero_grad()
    return metrics | {"gradient_norm": float(norm)}


def gradient(model: nn.Module, objective: Objective[Any], micro_batches: Sequence[Batch]) -> dict[str, float]:
    """Accumulate the gradient of one large batch, however it was cut; returns the step's mean metrics."""
    if len(micro_batches) > 1 and not objective.additive:
        raise ValueError(f"{type(objective).__name__} is not additive over rows; give it each step as one batch")
    # The whole step's weight comes first: dividing each piece by its own would weigh short pieces too much.
    weight = float(sum(objective.weight(batch) for batch in micro_batches))
    if weight == 0:
        raise ValueError("a step has nothing to learn from: every position is masked")
    sums: dict[str, torch.Tensor] = {}
    for batch in micro_batches:
        loss = objective.loss(model(**batch.inputs()), batch)
        (loss.total / weight).backward()
        for name, value in loss.metrics.items():
            sums[name] = sums.get(name, torch.zeros(())) + value
    return {name: float(value) / weight for name, value in sums.items()}


@torch.no_grad()
def mean_loss(model: nn.Module, objective: Objective[Any], micro_batches: Sequence[Batch]) -> float:
    """The same loss without learning from it, for validation."""
    losses = [objective.loss(model(**batch.inputs()), batch) for batch in micro_batches]
    return sum(float(loss.total) for loss in losses) / sum(float(loss.weight) for loss in losses)


def _position(state: RunState, source: Source[Any]) -> dict[str, Any]:
    return {
        "step": state.step,
        "tokens": state.tokens,
        "seconds": state.seconds,
        "precision": dtype_name(state.precision),
        "source": source.state_dict(),
    }
