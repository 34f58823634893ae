"""The keys that training stages have in common. A stage's Config inherits or holds them and sets its own defaults."""

from typing import Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from homeroom.data.batches import PackedTokens, Source, TokenRow, WithText
from homeroom.models.precision import Precision
from homeroom.settings import Frozen, Probability
from homeroom.training.loop import LoopSettings
from homeroom.training.objectives.base import Objective
from homeroom.training.objectives.mixture import TextBeside
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


class TextSettings(Frozen):
    """Running text learned beside the rest, so that the model forgets less of the language (PPO-ptx)."""

    rows: NonNegativeInt = Field(0, description="rows of text in every optimizer step; 0: none")
    length: PositiveInt = Field(128, description="tokens per row")
    weight: NonNegativeFloat = Field(0.1, description="γ: what a token of text counts against a token or pair learned")

    def beside(
        self, source: Source[Any], objective: Objective[Any], tokens: TokenRow | None, seed: int
    ) -> tuple[Source[Any], Objective[Any]]:
        """The same training with text in every step; as it was when there are no rows."""
        if not self.rows or tokens is None:
            return source, objective
        text = PackedTokens(tokens, length=self.length, rows=self.rows, micro_rows=self.rows, seed=seed)
        return WithText(source, text), TextBeside(objective, self.weight)
