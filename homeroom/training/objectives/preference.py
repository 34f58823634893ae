"""Direct preference optimisation (Rafailov et al. 2023, eq. 7): votes to a better policy without a reward model.

Shapes: B rows, T time, N learned positions, A answers, P pairs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from homeroom.data.batches import PreferenceBatch
from homeroom.models.gpt import Outputs
from homeroom.models.logprobs import token_log_probs
from homeroom.training.objectives.base import Loss


def answer_log_probs(outputs: Outputs, next_token_BT: Tensor, learn_BT: Tensor, document_BT: Tensor) -> Tensor:
    """Σ log p of each answer's learned tokens (A,), with gradient; answers are numbered from 1 in `document_BT`."""
    log_probs_N, _ = token_log_probs(outputs.hidden_BTD[learn_BT], outputs.head_VD, next_token_BT[learn_BT])
    sums_A = torch.zeros(int(document_BT.max()), device=log_probs_N.device)
    return sums_A.index_add(0, document_BT[learn_BT] - 1, log_probs_N)


class DPO:
    """−log σ(β[(log π − log π_ref)(chosen) − (log π − log π_ref)(rejected)]), summed over pairs by their weights.

    `imitation` adds that much negative log-likelihood per token of the chosen answer (Pang et al. 2024, iterative RPO,
    eq. 2): DPO alone may lower both answers' probability as long as the rejected one falls further.
    """

    additive = True

    def __init__(self, beta: float = 0.1, imitation: float = 0.0) -> None:
        self.beta, self.imitation = beta, imitation

    def weight(self, batch: PreferenceBatch) -> Tensor:
        return torch.tensor(len(batch.pairs_P2)) if batch.weight_P is None else batch.weight_P.sum()

    def loss(self, outputs: Outputs, batch: PreferenceBatch) -> Loss:
        log_probs_A = answer_log_probs(outputs, batch.next_token_BT, batch.learn_BT, batch.document_BT)
        chosen_P, rejected_P = batch.pairs_P2.unbind(1)
        reward_A = self.beta * (log_probs_A - batch.reference_A)
        margin_P = reward_A[chosen_P] - reward_A[rejected_P]
        weight_P = torch.ones_like(margin_P) if batch.weight_P is None else batch.weight_P
        total = -(weight_P * F.logsigmoid(margin_P)).sum()
        if self.imitation:
            length_A = torch.bincount(batch.document_BT[batch.learn_BT] - 1, minlength=len(log_probs_A)).clamp(min=1)
            total = total - self.imitation * (weight_P * (log_probs_A / length_A)[chosen_P]).sum()
        return Loss(
            total=total,
            weight=self.weight(batch),
            metrics={
                "loss": total.detach(),
                "accuracy": (weight_P * (margin_P.detach() > 0)).sum(),
                "margin": (weight_P * margin_P.detach()).sum(),
            },
        )
