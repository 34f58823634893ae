"""Low-rank adapters: what is learned beside frozen weights, which several models share (Hu et al. 2021).

A policy, a value function and a reward model may stand on one base; the base itself, without any of them, is the
reference. What was learned is folded into plain weights before it is saved and served.
Shapes: R rank, I inputs and O outputs of a matrix.
"""

import copy

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from homeroom.models.gpt import GPT
from homeroom.models.linear import product
from homeroom.settings import Frozen


class AdapterSettings(Frozen):
    """How much room what is learned has."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = Field(32.0, description="what is learned counts alpha / rank times")
    seed: NonNegativeInt = 0


class Adapted(nn.Module):
    """x → base(x) + (alpha/rank)·x·Aᵀ·Bᵀ (Hu et al. 2021, §4.1). B begins at zero: at first it computes what base does.

    A product is made in the base's number format, which may be half of the one around it.
    """

    def __init__(self, base: nn.Linear, settings: AdapterSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.base, self.scale = base, settings.alpha / settings.rank
        bound = base.in_features**-0.5
        self.down_RI = nn.Parameter(torch.empty(settings.rank, base.in_features))
        nn.init.uniform_(self.down_RI, -bound, bound, generator=generator)
        self.up_OR = nn.Parameter(torch.zeros(base.out_features, settings.rank))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.base.weight.dtype)
        small = product(x, self.down_RI.to(x.dtype)) * self.scale
        return self.base(x) + product(small, self.up_OR.to(x.dtype))  # type: ignore[no-any-return]

    def change_OI(self) -> Tensor:
        """What is added to the base's matrix."""
        return self.scale * (self.up_OR.detach() @ self.down_RI.detach())


def freeze(model: GPT, dtype: torch.dtype = torch.float32) -> GPT:
    """Nothing of the model is learned any more. Returns it.

    The Blocks' matrices are kept in `dtype`: converted again at every product they would cost as much as the products.
    With another than float32, a forward belongs into `homeroom.models.precision.products_in`.
    """
    model.requires_grad_(False)
    for module in model.trunk.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
    return model.eval()


def adapted(base: GPT, settings: AdapterSettings) -> GPT:
    """A model on the frozen weights of `base`, of which it holds no copy, with adapters of its own at every matrix of
    its Blocks."""
    if any(parameter.requires_grad for parameter in base.parameters()):
        raise ValueError("the base is not frozen, so that what stands on it would change under it")
    shared: dict[int, object] = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    model = copy.deepcopy(base, shared)
    generator = torch.Generator().manual_seed(settings.seed)
    for part in list(model.trunk.modules()):
        for name, module in list(part.named_children()):
            if isinstance(module, nn.Linear) and not isinstance(part, Adapted):
                setattr(part, name, Adapted(module, settings, generator))
    return model


def fold(model: nn.Module, into: GPT) -> GPT:
    """Add what the adapters of `model` have learned to the weights of `into`, a copy of its base in float32."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, Adapted):
                weight = into.get_submodule(name.removeprefix("policy.").removeprefix("gpt.")).weight
                assert isinstance(weight, Tensor)
                weight.add_(module.change_OI().to(weight))
    return into
