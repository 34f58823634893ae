"""The keys that every training stage has in common. A stage's Config inherits them and sets its own defaults."""

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from homeroom.settings import Frozen, Probability
from homeroom.training.loop import LoopSettings, Precision
from homeroom.training.optimizers import OptimizerKind, OptimizerSettings


class TrainingSettings(Frozen):
    """How a model is optimised, for as many steps as the stage says. `warmup` and `decay` are shares of them."""

    optimizer: OptimizerKind = "muon"
    learning_rate: PositiveFloat = 2e-3
    embedding_rate: PositiveFloat | None = Field(
        None, description="of embeddings, head and vectors; default: learning_rate"
    )
    weight_decay: NonNegativeFloat = 0.0
    warmup: Probability = 0.05
    decay: Probability = 0.6
    gradient_clip: PositiveFloat = Field(1.0, description="the gradient's largest norm")
    precision: Precision = "auto"
    seed: NonNegativeInt = 0

    def loop_settings(self, steps: int) -> LoopSettings:
        """What the loop is given for a run of so many steps."""
        return LoopSettings(
            steps=steps,
            warmup=self.warmup,
            decay=self.decay,
            gradient_clip=self.gradient_clip,
            precision=self.precision,
            seed=self.seed,
            optimizer=OptimizerSettings(
                kind=self.optimizer,
                learning_rate=self.learning_rate,
                embedding_rate=self.embedding_rate,
                weight_decay=self.weight_decay,
            ),
        )
