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

TRIES, SLACK, AIM = 4, 0.2, 0.95


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
        allowed, share, tries = before * self.worse, 1.0, 0
        (low, least), (high, most) = (0.0, 0.0), (1.0, after - before)  # shares of the way, and what each forgets
        while after - before > allowed or (share < 1 and after - before < (1 - SLACK) * allowed and tries < TRIES):
            aim = low if low and tries >= TRIES else _between(low, least, high, most, allowed)
            _towards(learned, self.champion, aim / share)
            share, after, tries = aim, self._bits(learned), tries + 1
            if after - before <= allowed:
                low, least = share, after - before
            else:
                high, most = share, after - before
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


def _between(low: float, least: float, high: float, most: float, allowed: float) -> float:
    """Where on the way as much as is allowed is forgotten, which at `low` is too little and at `high` too much."""
    if least > 0:  # as a power of the way, through both
        power = math.log(most / least) / math.log(high / low)
        aim = high * math.exp(math.log(AIM * allowed / most) / power)
    elif low:  # it even gained there
        aim = low + (AIM * allowed - least) / (most - least) * (high - low)
    else:
        aim = high * math.sqrt(AIM * allowed / most)
    # Once something fits, half of what is left at least: some forget nothing for long, and then all at once.
    return low + min(0.9, max(0.5 if low else 0.1, (aim - low) / (high - low))) * (high - low)


@torch.no_grad()
def _towards(learned: GPT, champion: GPT, share: float) -> None:
    was = dict(champion.named_parameters())
    for name, parameter in learned.named_parameters():
        parameter.copy_(torch.lerp(was[name].to(parameter), parameter, share))
