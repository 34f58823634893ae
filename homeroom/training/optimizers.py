"""AdamW for tables and vectors, Muon for the matrices between them, behind one step.

Muon orthogonalises each matrix's update; fused matrices (queries, keys and values; gate and up) are several, so each
part is orthogonalised on its own.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from homeroom.models.linear import FusedLinear
from homeroom.settings import Frozen, Probability

OptimizerKind = Literal["muon", "adamw"]


class OptimizerSettings(Frozen):
    """Learning rates are those of AdamW's root-mean-square update; Muon's is scaled to match (Liu et al. 2025)."""

    kind: OptimizerKind = "muon"
    learning_rate: PositiveFloat = Field(2e-3, description="of the matrices, and of everything under adamw")
    embedding_rate: PositiveFloat | None = Field(None, description="of embeddings, head and vectors; default: as above")
    weight_decay: NonNegativeFloat = 0.0
    beta1: Probability = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    momentum: Probability = 0.95
    orthogonalization_steps: PositiveInt = Field(
        3, description="of Muon's iteration; its authors take 5, which models of this size learn nothing more from"
    )


class Optimizer:
    """One or two torch optimizers that step together; learning rates are set by multiplier."""

    def __init__(
        self, model: nn.Module, settings: OptimizerSettings, *, muon_dtype: torch.dtype = torch.float32
    ) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and ".blocks." in f".{name}"]
        if settings.kind == "adamw":
            matrices = []
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        rate = settings.embedding_rate or settings.learning_rate
        groups = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=rate,
                betas=(settings.beta1, settings.beta2),
                eps=1e-10,
                fused=True,
            )
        ]
        if matrices:
            self.parts.append(
                Muon(
                    matrices,
                    lr=settings.learning_rate,
                    momentum=settings.momentum,
                    weight_decay=settings.weight_decay,
                    steps=settings.orthogonalization_steps,
                    parts={
                        id(module.weight): module.parts for module in model.modules() if isinstance(module, FusedLinear)
                    },
                    dtype=muon_dtype,
                )
            )
        for part in self.parts:
            for group in part.param_groups:
                group["base_rate"] = group["lr"]

    @property
    def muon_dtype(self) -> torch.dtype:
        """The number format of Muon's iteration."""
        return next((part.dtype for part in self.parts if isinstance(part, Muon)), torch.float32)

    @muon_dtype.setter
    def muon_dtype(self, dtype: torch.dtype) -> None:
        for part in self.parts:
            if isinstance(part, Muon):
                part.dtype = dtype

    def step(self, multiplier: float = 1.0) -> None:
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["base_rate"] * multiplier
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the state under a name of its own: `<part>.<parameter>.<key>`."""
        for number, part in enumerate(self.parts):
            for index, state in part.state_dict()["state"].items():
                for key, value in state.items():
                    yield f"{number}.{index}.{key}", torch.as_tensor(value)

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors()` gave. Raises KeyError when the state belongs to another model."""
        for number, part in enumerate(self.parts):
            loaded: dict[str, Any] = part.state_dict()
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                owner, index, key = name.split(".")
                if int(owner) == number:
                    state.setdefault(int(index), {})[key] = value
            loaded["state"] = state
            part.load_state_dict(loaded)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton–Schulz (Jordan et al. 2024), scaled to AdamW's update size.

    torch's own Muon takes one matrix at a time. Here matrices of one shape go through the iteration as one batch, which
    on small models is several times faster, and the numbers are the same (held by a test).
    """

    COEFFICIENTS = (3.4445, -4.7750, 2.0315)

    def __init__(
        self,
        params: list[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
        parts: dict[int, tuple[int, ...]] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`parts` gives, by id() of a fused parameter, the heights of the matrices stacked in it."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})
        self.parts, self.dtype = parts or {}, dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                buffer = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(buffer, group["momentum"])  # Nesterov
                heights = self.parts.get(id(parameter), (len(parameter),))
                for weight, part in zip(parameter.split(heights), update.split(heights), strict=True):
                    by_shape.setdefault((part.shape[0], part.shape[1]), []).append((weight, part))
            for shape, pairs in by_shape.items():
                updates = orthogonalize(torch.stack([part for _, part in pairs]), group["steps"], self.dtype)
                # 0.2·√max(rows, columns): the root-mean-square of an AdamW update (Liu et al. 2025, eq. 4).
                size = group["lr"] * 0.2 * max(shape) ** 0.5
                for (weight, _), orthogonal in zip(pairs, updates, strict=True):
                    if group["weight_decay"]:
                        weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(orthogonal.to(weight.dtype), alpha=-size)


def orthogonalize(matrices: Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Nearest semi-orthogonal matrices, roughly: (…, rows, columns) → the same shape, by a quintic iteration.

    Its authors run it in bfloat16, whose rounding it forgives; that pays where the processor multiplies it faster.
    """
    a, b, c = Muon.COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).to(dtype).reshape(-1, *sorted(matrices.shape[-2:]))
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        # x ← a·x + (b·gram + c·gram²)·x, the sums made by the products themselves.
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    result: Tensor = x.mT if tall else x
    return result.reshape(matrices.shape)
