"""Early stopping: looks at a run along the way, on lessons that it does not learn from, and keeps its best weights.

Which lessons those are is the stage's to say. None of them may be among the questions that a gate asks afterwards: what
was chosen by a question says nothing about it any more.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from homeroom.data.batches import Source
from homeroom.files import write_atomically
from homeroom.models.checkpoint import load_learned, save_learned
from homeroom.models.precision import products_in
from homeroom.training.loop import RunState, mean_loss
from homeroom.training.objectives.base import Objective


@dataclass
class EarlyStopping:
    """Ends a run whose validation loss has not fallen for `patience` looks; `look` is a hook of the loop.

    A step of `source` holds every lesson. What was seen lies in `file`, the best weights beside it: a run that goes on
    hears its own past in `start`, as if it had never stopped.
    """

    objective: Objective[Any]
    source: Source[Any]
    dtype: torch.dtype
    file: Path
    patience: int
    losses: list[tuple[int, float]] = field(default_factory=list, init=False)
    """(step, mean loss) of every look."""

    def __post_init__(self) -> None:
        self._whole = self.source.state_dict()

    @property
    def best(self) -> tuple[int, float]:
        """Its step and its loss; the earlier of two that are equal."""
        return min(self.losses, key=lambda one: math.inf if math.isnan(one[1]) else one[1])

    def start(self, step: int) -> None:
        """Stand where the run goes on, after this step. A later look is made again, and ends the same."""
        if self.file.exists():
            seen = json.loads(self.file.read_text(encoding="utf-8"))
            self.losses = [(at, loss) for at, loss in seen if at <= step]

    def look(self, state: RunState) -> None:
        state.model.eval()
        loss = self._loss(state.model)
        self.losses.append((state.step, loss))
        if self.best[0] == state.step:
            save_learned(state.model, self._weights)
        write_atomically(self.file, json.dumps(self.losses))
        state.metrics["validation_loss"] = loss
        since = sum(at > self.best[0] for at, _ in self.losses)
        if since >= self.patience and state.step < state.total_steps:
            state.stopped = f"no lower validation loss than {self.best[1]:.3f} (step {self.best[0]}) in {since} looks"

    def restore(self, model: nn.Module) -> None:
        """Give the model its best weights."""
        load_learned(model, self._weights)

    @property
    def _weights(self) -> Path:
        return self.file.with_suffix(".safetensors")

    def _loss(self, model: nn.Module) -> float:
        # The same order at every look: sums of the same numbers in another order are other numbers.
        self.source.load_state_dict(self._whole)
        batches = next(iter(self.source))
        with products_in(self.dtype, next(model.parameters()).device.type):
            return mean_loss(model, self.objective, batches)
