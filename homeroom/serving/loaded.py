"""A model as it is served: with its tokenizer, its engine and the answers that it is writing.

Which model answers whom is the assistant's business.
"""

import dataclasses
from dataclasses import dataclass
from typing import Self

from homeroom.inference.engine import Engine
from homeroom.models.checkpoint import Stored, load_model
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.gpt import GPT
from homeroom.models.int8 import Int8Weights
from homeroom.serving.answers import Writing
from homeroom.serving.forms import Grammars
from homeroom.serving.settings import ServingSettings
from homeroom.text.tokenizer import Tokenizer


@dataclass(eq=False)
class Loaded:
    model_id: str
    model: GPT | CompiledGPT
    tokenizer: Tokenizer
    engine: Engine
    grammars: Grammars
    compressed: bool
    writing: dict[str, Writing] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, artifact: Stored, compressed: Stored | None, settings: ServingSettings) -> Self:
        """It answers by its `compressed` weights, if they are given, and under its own name. Reads files."""
        tokenizer = Tokenizer.load(artifact.path)
        model = decodable(Int8Weights.load(compressed.path)) if compressed else load_model(artifact.path)
        grammars = Grammars(tokenizer, model.config.vocab_size)
        return cls(artifact.id, model, tokenizer, _engine(model, tokenizer, settings), grammars, compressed is not None)

    def is_of(self, artifact: Stored, compressed: Stored | None) -> bool:
        return self.model_id == artifact.id and self.compressed == (compressed is not None)

    def renew(self, settings: ServingSettings) -> None:
        """Set the engine up anew, after it failed."""
        self.engine = _engine(self.model, self.tokenizer, settings)


def _engine(model: GPT | CompiledGPT, tokenizer: Tokenizer, settings: ServingSettings) -> Engine:
    kept = 0
    # Only where it changes nothing: elsewhere a prefix that was read in other company differs in its last bits, and a
    # seed would not always give its answer again.
    if isinstance(model, CompiledGPT):
        kept = settings.prefix_megabytes * 10**6 // model.new_cache(1, 1).bytes_per_token
    return Engine(
        model,
        end_id=tokenizer.end_ids,
        slots=settings.slots,
        chunk=settings.chunk if isinstance(model, CompiledGPT) else None,
        prefix_tokens=kept,
    )
