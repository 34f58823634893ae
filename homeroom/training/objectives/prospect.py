"""Kahneman–Tversky optimisation (Ethayarajh et al. 2024): lone thumbs, up or down, to a better policy.

Shapes: B rows, T time, A answers.
"""

import torch
from torch import Tensor

from homeroom.data.batches import ThumbBatch
from homeroom.models.gpt import Outputs
from homeroom.training.objectives.base import Loss
from homeroom.training.objectives.preference import answer_log_probs


class KTO:
    """λ_y − λ_y·σ(±(r − z)), summed over answers (eq. 8): r = β·(log π − log π_ref), + for a thumb up, − for one down.

    z, the reference point, is β times the policy's KL to the reference; the Source estimates it, because it takes
    no gradient. `up` and `down` are λ: unequal where one kind of thumb is rarer.
    """

    additive = True

    def __init__(self, beta: float = 0.1, up: float = 1.0, down: float = 1.0) -> None:
        self.beta, self.up, self.down = beta, up, down

    def weight(self, batch: ThumbBatch) -> Tensor:
        return torch.tensor(len(batch.liked_A)) if batch.weight_A is None else batch.weight_A.sum()

    def loss(self, outputs: Outputs, batch: ThumbBatch) -> Loss:
        log_probs_A = answer_log_probs(outputs, batch.next_token_BT, batch.learn_BT, batch.document_BT)
        reward_A = self.beta * (log_probs_A - batch.reference_A)
        sign_A = torch.where(batch.liked_A, 1.0, -1.0)
        given_A = torch.ones_like(log_probs_A) if batch.weight_A is None else batch.weight_A
        weight_A = given_A * torch.where(batch.liked_A, self.up, self.down)
        value_A = torch.sigmoid(sign_A * (reward_A - self.beta * batch.divergence))
        total = (weight_A * (1 - value_A)).sum()
        with torch.no_grad():
            metrics = {
                "loss": total.detach(),
                "accuracy": (given_A * (sign_A * (reward_A - self.beta * batch.divergence) > 0)).sum(),
                "divergence": batch.divergence * given_A.sum(),
            }
        return Loss(total=total, weight=self.weight(batch), metrics=metrics)
