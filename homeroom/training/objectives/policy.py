"""Proximal policy optimisation on sampled answers, with clipped value loss.

Shapes: B rows, T time, N answer tokens.
"""

import torch
from torch import Tensor

from homeroom.data.batches import Experience
from homeroom.models.gpt import Outputs
from homeroom.models.logprobs import token_log_probs
from homeroom.training.objectives.base import Loss


class PPO:
    """Clipped surrogate (Schulman et al. 2017, eq. 7) plus value loss clipped likewise, summed over answer tokens."""

    additive = True

    def __init__(self, clip: float = 0.2, value_clip: float = 0.2, value_weight: float = 0.1) -> None:
        self.clip, self.value_clip, self.value_weight = clip, value_clip, value_weight

    def weight(self, batch: Experience) -> Tensor:
        return batch.learn_BT.sum()

    def loss(self, outputs: Outputs, batch: Experience) -> Loss:
        if outputs.values_BT is None:
            raise ValueError("PPO needs a policy with a value head, such as ActorCritic")
        learn_BT = batch.learn_BT
        log_probs_N, entropy_N = token_log_probs(
            outputs.hidden_BTD[learn_BT], outputs.head_VD, batch.next_token_BT[learn_BT]
        )
        difference_N = log_probs_N - batch.log_probs_BT[learn_BT]
        ratio_N = difference_N.exp()
        advantage_N = batch.advantages_BT[learn_BT]
        clipped_N = ratio_N.clamp(1 - self.clip, 1 + self.clip)
        policy = -torch.minimum(ratio_N * advantage_N, clipped_N * advantage_N).sum()

        values_N, old_N = outputs.values_BT[learn_BT], batch.values_BT[learn_BT]
        returns_N = batch.returns_BT[learn_BT]
        near_N = old_N + (values_N - old_N).clamp(-self.value_clip, self.value_clip)
        value = 0.5 * torch.maximum((values_N - returns_N) ** 2, (near_N - returns_N) ** 2).sum()

        total = policy + self.value_weight * value
        with torch.no_grad():
            metrics = {
                "loss": total.detach(),
                "policy_loss": policy.detach(),
                "value_loss": value.detach(),
                "entropy": entropy_N.sum(),
                "clipped": ((ratio_N - 1).abs() > self.clip).float().sum(),
                # k3 estimator (Schulman 2020): positive, low variance
                "step_kl": ((-difference_N).exp() - 1 + difference_N).sum(),
            }
        return Loss(total=total, weight=self.weight(batch), metrics=metrics)
