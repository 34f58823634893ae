"""From rewards to advantages: generalized advantage estimation over the answer tokens of padded rows.

Shapes: B rows, T time.
"""

import torch
from torch import Tensor


def estimate_advantages(
    rewards_BT: Tensor, values_BT: Tensor, learn_BT: Tensor, *, discount: float = 1.0, trace: float = 0.95
) -> tuple[Tensor, Tensor]:
    """(advantages_BT, returns_BT) by GAE (Schulman et al. 2016, eq. 16); zero outside the answers.

    `learn_BT` marks one unbroken run a row: the positions at which an answer token was chosen. The value after the last
    one is zero: the episode is over.
    """
    advantages_BT = torch.zeros_like(values_BT)
    following_B = torch.zeros(len(values_BT), dtype=values_BT.dtype, device=values_BT.device)
    carried_B = torch.zeros_like(following_B)
    for t in range(values_BT.shape[1] - 1, -1, -1):
        inside_B = learn_BT[:, t].to(values_BT.dtype)
        error_B = rewards_BT[:, t] + discount * following_B - values_BT[:, t]
        carried_B = inside_B * (error_B + discount * trace * carried_B)
        following_B = inside_B * values_BT[:, t]
        advantages_BT[:, t] = carried_B
    return advantages_BT, torch.where(learn_BT, advantages_BT + values_BT, 0.0)


def whiten(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the masked positions, 0 elsewhere."""
    chosen = values_BT[mask_BT]
    return torch.where(mask_BT, (values_BT - chosen.mean()) / (chosen.std(correction=0) + 1e-8), 0.0)


def others_mean(scores_B: Tensor, group: int) -> Tensor:
    """The mean score of the other answers to each answer's question (B,): `group` answers to one stand together.

    Reward models are trained on comparisons within a question, so what they add to all answers of a question means
    nothing; without it the policy gradient keeps its expectation and loses variance (Kool et al. 2019, eq. 8).
    A lone answer has no others: 0.
    """
    if group == 1:
        return torch.zeros_like(scores_B)
    scores_QG = scores_B.view(-1, group)
    return ((scores_QG.sum(dim=1, keepdim=True) - scores_QG) / (group - 1)).flatten()


class AdaptiveKL:
    """A KL coefficient that steers towards a target: e = clip(KL / target − 1, ±0.2), β ← β·(1 + gain·e).

    Ziegler et al. 2019, §2.2, with K for `gain`. Their 0.1 moves β by at most 2 % an iteration, over thousands of
    them; a run here has some twenty, in which 0.5 (at most 10 %) can still change it several times over.
    """

    def __init__(self, coefficient: float, target: float, gain: float = 0.5) -> None:
        self.coefficient, self.target, self.gain = coefficient, target, gain

    def update(self, kl: float) -> None:
        """`kl` in nats per answer, measured on the newest rollouts."""
        error = max(-0.2, min(0.2, kl / self.target - 1))
        self.coefficient *= 1 + self.gain * error
