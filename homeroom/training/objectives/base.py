"""The contract between the loop and an objective.

An objective computes; it never divides, never steps and knows no optimizer. What costs no gradient (reference
log-probabilities, advantages) is computed once by the Source, not at every pass over the same batch.
"""

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from torch import Tensor

from homeroom.models.gpt import Outputs


class Batch(Protocol):
    """One micro-batch."""

    @property
    def tokens_BT(self) -> Tensor: ...

    def inputs(self) -> dict[str, Tensor | None]:
        """The keyword arguments of the module's forward."""
        ...


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Sums and how much they were summed over, so that micro-batches and shards add up; only the loop divides."""

    total: Tensor
    weight: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)  # sums over the same weight, without gradient


B = TypeVar("B", bound=Batch, contravariant=True)


class Objective(Protocol[B]):
    """Computes a Loss from a forward's Outputs. Objectives that are not `additive` over rows are never cut up."""

    additive: bool

    def weight(self, batch: B) -> Tensor:
        """How much a batch weighs, before any forward: the loop needs the whole step's weight first."""
        ...

    def loss(self, outputs: Outputs, batch: B) -> Loss: ...
