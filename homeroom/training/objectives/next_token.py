"""Language modelling: predict the next token wherever the mask says that it is to be learned.

Serves pretraining (every token) and SFT (the assistant's tokens and its end token).
Shapes: B batch, T time, N learned positions, D width, V vocabulary.
"""

from torch import Tensor

from homeroom.data.batches import TokenBatch
from homeroom.models.gpt import Outputs
from homeroom.models.logprobs import CHUNK_TOKENS, cross_entropy_sum, token_log_probs
from homeroom.training.objectives.base import Loss


class NextToken:
    """Cross-entropy of the next token in nats, in chunks so that (B·T, V) logits never exist at once."""

    additive = True

    def __init__(self, chunk_tokens: int = CHUNK_TOKENS) -> None:
        self.chunk_tokens = chunk_tokens

    def weight(self, batch: TokenBatch) -> Tensor:
        return batch.learn_BT.sum() if batch.weight_BT is None else batch.weight_BT[batch.learn_BT].sum()

    def loss(self, outputs: Outputs, batch: TokenBatch) -> Loss:
        hidden_ND = outputs.hidden_BTD[batch.learn_BT]
        target_N = batch.next_token_BT[batch.learn_BT]
        if batch.weight_BT is None:
            total = cross_entropy_sum(hidden_ND, outputs.head_VD, target_N, self.chunk_tokens)
        else:
            log_probs_N, _ = token_log_probs(hidden_ND, outputs.head_VD, target_N, self.chunk_tokens)
            total = -(batch.weight_BT[batch.learn_BT] * log_probs_N).sum()
        return Loss(total=total, weight=self.weight(batch), metrics={"loss": total.detach()})
