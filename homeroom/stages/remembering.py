"""A model that learned from people and forgot the language over it goes back, part of the way, to what it was.

Between two models of one family lie others, which keep most of what was learned for a fraction of what was forgotten
(Wortsman et al. 2022, WiSE-FT). The text that this is measured on is none that a gate measures on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from homeroom.evaluation.likelihood import bits_per_byte, score_texts
from homeroom.models.gpt import GPT
from homeroom.models.precision import products_in
from homeroom.progress import say
from homeroom.settings import Json
from homeroom.text.tokenizer import Tokenizer

TRIES = 4


@dataclass(frozen=True)
class Memory:
    """What a model was, and how much worse it may predict these texts afterwards: `worse` is a share of bits."""

    champion: GPT
    tokenizer: Tokenizer
    texts: Sequence[str]
    worse: float
    dtype: torch.dtype

    def keep(self, learned: GPT) -> dict[str, Json]:
        """Move `learned` towards the champion until it forgot no more than it may; what was measured on the way."""
        before, after = self._bits(self.champion), self._bits(learned)
        figures: dict[str, Json] = {"bits_per_byte_before": before, "bits_per_byte_learned": after}
        share = 1.0
        for _ in range(TRIES):
            if after <= before * (1 + self.worse):
                break
            # What is forgotten grows with the square of the way.
            step = min(0.9, math.sqrt(before * self.worse / (after - before)))
            _towards(learned, self.champion, step)
            share *= step
            after = self._bits(learned)
        if share < 1:
            say(
                "teach",
                f"text cost {figures['bits_per_byte_learned']:.3f} bits per byte after learning, {before:.3f} before: "
                f"{share:.0%} of what was learned is kept, at {after:.3f}",
            )
        return figures | {"bits_per_byte_kept": after, "share_kept": share}

    def _bits(self, model: GPT) -> float:
        with products_in(self.dtype):
            return bits_per_byte(score_texts(model, self.tokenizer, self.texts))


@torch.no_grad()
def _towards(learned: GPT, champion: GPT, share: float) -> None:
    was = dict(champion.named_parameters())
    for name, parameter in learned.named_parameters():
        parameter.copy_(torch.lerp(was[name].to(parameter), parameter, share))
