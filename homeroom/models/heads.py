"""A scalar beside, or instead of, the vocabulary: reward models and policies with a value head.

Shapes: B batch, T time, D width.
"""

import torch
from torch import Tensor, nn

from homeroom.models.branches import Branches, neighbours, row_width
from homeroom.models.gpt import GPT, Outputs
from homeroom.models.precision import products_in


class RewardModel(nn.Module):
    """A GPT whose vocabulary head is replaced by one number per position; an answer's score stands at its last token.

    As in InstructGPT (Ouyang et al. 2022, §3.5). Saved, it is a sequence classifier with one label.
    """

    def __init__(self, gpt: GPT) -> None:
        super().__init__()
        self.gpt, self.config = gpt, gpt.config
        # The vocabulary head has no part in a score: out of the parameters, the optimizer and the file with it.
        del gpt.head
        self.score_head = nn.Linear(gpt.config.width, 1, bias=False)
        nn.init.normal_(self.score_head.weight, std=1 / (gpt.config.width + 1) ** 0.5)

    def forward(self, tokens_BT: Tensor, document_BT: Tensor | None = None, branch_BT: Tensor | None = None) -> Outputs:
        hidden_BTD = self.gpt.hidden(tokens_BT, document_BT, branch_BT)
        values_BT = _read(self.score_head, hidden_BTD)
        return Outputs(hidden_BTD, self.score_head.weight, values_BT)

    @torch.no_grad()
    def score(self, rows: list[list[int]], batch_rows: int = 64) -> Tensor:
        """Scores (len(rows),) of whole conversations given as token ids.

        What neighbouring rows have in common at their beginning is read once, and rows of similar length are scored
        together; padding and company change a score by the rounding of products alone. Raises ValueError for an empty
        row.
        """
        if any(not row for row in rows):
            raise ValueError("an empty row has no last token to score")
        scores = torch.zeros(len(rows))
        bunches = sorted(neighbours(rows), key=lambda bunch: row_width(rows, bunch))
        device = self.score_head.weight.device
        while bunches:
            count = 1
            while count < len(bunches) and sum(len(bunch.members) for bunch in bunches[: count + 1]) <= batch_rows:
                count += 1
            chosen, bunches = bunches[:count], bunches[count:]
            members = [member for bunch in chosen for member in bunch.members]
            branches = Branches.of(rows, chosen)
            branch_BT = None if branches.branch_BT is None else branches.branch_BT.to(device)
            outputs = self(branches.tokens_BT.to(device), branch_BT=branch_BT)
            last_S = branches.starts_S[members] + torch.tensor([len(rows[member]) - 1 for member in members])
            scores[members] = outputs.values_BT.flatten()[last_S.to(device)].float().cpu()
        return scores


class ActorCritic(nn.Module):
    """A policy and its value function in one module: the value head reads the policy's own hidden states.

    It reads them only: its gradient ends there, so that learning values does not move the policy, as with InstructGPT's
    separate value model.
    """

    def __init__(self, policy: GPT) -> None:
        super().__init__()
        self.policy, self.config = policy, policy.config
        self.value_head = nn.Linear(policy.config.width, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    def forward(self, tokens_BT: Tensor, document_BT: Tensor | None = None, branch_BT: Tensor | None = None) -> Outputs:
        hidden_BTD = self.policy.hidden(tokens_BT, document_BT, branch_BT)
        return Outputs(hidden_BTD, self.policy.head.weight, _read(self.value_head, hidden_BTD.detach()))


def _read(head: nn.Linear, hidden_BTD: Tensor) -> Tensor:
    """(B, T) in the head's own format whatever the one around it: bfloat16 would round two near scores to one."""
    with products_in(torch.float32, hidden_BTD.device.type):
        values_BT: Tensor = head(hidden_BTD.to(head.weight.dtype))[..., 0]
    return values_BT
