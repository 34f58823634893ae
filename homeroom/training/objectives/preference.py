"""Direct preference optimisation (Rafailov et al. 2023, eq. 7): votes to a better policy without a reward model.

Shapes: B rows (chosen and rejected answers), T time, N learned positions, P pairs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from homeroom.data.batches import PreferenceBatch
from homeroom.models.gpt import Outputs
from homeroom.models.logprobs import token_log_probs
from homeroom.training.objectives.base import Loss


def answer_log_probs(outputs: Outputs, next_token_BT: Tensor, learn_BT: Tensor) -> Tensor:
    """Σ log p of each row's learned tokens (B,), with gradient."""
    log_probs_N, _ = token_log_probs(outputs.hidden_BTD[learn_BT], outputs.head_VD, next_token_BT[learn_BT])
    rows_N = learn_BT.nonzero()[:, 0]
    return torch.zeros(len(learn_BT), device=log_probs_N.device).index_add(0, rows_N, log_probs_N)


class DPO:
    """−log σ(β[(log π − log π_ref)(chosen) − (log π − log π_ref)(rejected)]), summed over pairs.

    `imitation` adds that much negative log-likelihood per token of the chosen answer (Pang et al. 2024, iterative RPO,
    eq. 2): DPO alone may lower both answers' probability as long as the rejected one falls further.
    """

    additive = True

    def __init__(self, beta: float = 0.1, imitation: float = 0.0) -> None:
        self.beta, self.imitation = beta, imitation

    def weight(self, batch: PreferenceBatch) -> Tensor:
        return torch.tensor(len(batch.tokens_BT) // 2)

    def loss(self, outputs: Outputs, batch: PreferenceBatch) -> Loss:
        log_probs_B = answer_log_probs(outputs, batch.next_token_BT, batch.learn_BT)
        # Rows come as chosen, rejected, chosen, rejected …
        reward_P2 = self.beta * (log_probs_B - batch.reference_B).view(-1, 2)
        margin_P = reward_P2[:, 0] - reward_P2[:, 1]
        total = -F.logsigmoid(margin_P).sum()
        if self.imitation:
            length_P = batch.learn_BT[::2].sum(dim=1).clamp(min=1)
            total = total - self.imitation * (log_probs_B[::2] / length_P).sum()
        return Loss(
            total=total,
            weight=self.weight(batch),
            metrics={
                "loss": total.detach(),
                "accuracy": (margin_P.detach() > 0).sum(),
                "margin": margin_P.detach().sum(),
            },
        )
