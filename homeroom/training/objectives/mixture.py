"""Any objective with running text beside it, so that what is learned does not cost the language."""

from typing import Any

from torch import Tensor

from homeroom.data.batches import RunningText
from homeroom.models.gpt import Outputs
from homeroom.training.objectives.base import Batch, Loss, Objective
from homeroom.training.objectives.next_token import NextToken


class TextBeside:
    """`objective`, plus γ times the cross-entropy of each token of text (PPO-ptx: Ouyang et al. 2022, eq. 2).

    Text comes as RunningText among the objective's own batches (see `homeroom.data.batches.WithText`). It has no
    weight of its own: against the objective's unit (an answer's token, a pair) a token of text counts γ.
    """

    def __init__(self, objective: Objective[Any], gamma: float) -> None:
        self.objective, self.gamma, self.text = objective, gamma, NextToken()
        self.additive = objective.additive

    def weight(self, batch: Batch) -> Tensor:
        if isinstance(batch, RunningText):
            return self.text.weight(batch) * 0
        return self.objective.weight(batch)

    def loss(self, outputs: Outputs, batch: Batch) -> Loss:
        if not isinstance(batch, RunningText):
            return self.objective.loss(outputs, batch)
        loss = self.text.loss(outputs, batch)
        return Loss(total=self.gamma * loss.total, weight=self.weight(batch))
