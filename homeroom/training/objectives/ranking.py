"""Reward modelling from rankings: of two answers to a question the better one is to score higher.

Shapes: B rows, T time, A answers, P pairs.
"""

import torch.nn.functional as F
from torch import Tensor

from homeroom.data.batches import RankingBatch
from homeroom.models.gpt import Outputs
from homeroom.training.objectives.base import Loss


class PairwiseRanking:
    """−log σ(r_better − r_worse), averaged over a question's pairs, summed over questions.

    All pairs of a question come from one forward of its K answers (Ouyang et al. 2022, InstructGPT, eq. 1): each answer
    is read once, and a question with many answers weighs no more than one with few. Questions of whose judges less is
    known weigh less.
    """

    additive = True  # over questions, and a question is never cut

    def weight(self, batch: RankingBatch) -> Tensor:
        return batch.weight()

    def loss(self, outputs: Outputs, batch: RankingBatch) -> Loss:
        if outputs.values_BT is None:
            raise ValueError("ranking needs a model with a score per position, such as RewardModel")
        scores_A = outputs.values_BT.flatten()[batch.last_A]
        better_P, worse_P, share_P = batch.pairs()
        margin_P = scores_A[better_P] - scores_A[worse_P]
        total = -(F.logsigmoid(margin_P) * share_P).sum()
        correct = ((margin_P.detach() > 0) * share_P).sum()
        return Loss(total=total, weight=self.weight(batch), metrics={"loss": total.detach(), "accuracy": correct})
