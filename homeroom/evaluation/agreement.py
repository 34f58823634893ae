"""Two forms of one model on the same text: what each needs to write it down, and how often they would say the same.

Both are scored by the Engine, in the kernels and the number formats in which they would be served.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling, TokenScore
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.text.tokenizer import Tokenizer

WINDOW = 512  # tokens


@dataclass(frozen=True)
class Agreement:
    """`same` is the share of positions at which both find the same token the likeliest."""

    bits_per_byte: float
    other_bits_per_byte: float
    same: float
    tokens: int

    @property
    def ratio(self) -> float:
        """How much more (above 1) the other needs."""
        return self.other_bits_per_byte / self.bits_per_byte


def agreement(
    model: GPT | CompiledGPT,
    other: GPT | CompiledGPT,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    on_tokens: Callable[[int], None] | None = None,
) -> Agreement:
    """Every token of the texts is scored once, in windows of at most 512 tokens. Raises ValueError without any."""
    size = min(WINDOW, model.config.max_length)
    rows = [[tokenizer.document_id, *ids[at : at + size - 1]] for ids in map(tokenizer.encode, texts)
            for at in range(0, len(ids), size - 1)]  # fmt: skip
    if not rows:
        raise ValueError("there is no text to compare two models on")
    of_both: list[list[TokenScore]] = []
    for one in (model, other):
        engine = Engine(one, end_id=(), slots=1, max_length=size)
        scores: list[TokenScore] = []
        for number, row in enumerate(rows):
            asked = Request(str(number), row, Sampling(max_tokens=0), top=1, score_from=1)
            scores += engine.generate([asked])[0].prompt
            if on_tokens is not None:
                on_tokens(len(row) - 1)  # the first is no text
        of_both.append(scores)
    mine, theirs = of_both
    size_in_bytes = sum(len(text.encode("utf-8", "replace")) for text in texts)
    bits = [-sum(score.logprob for score in scores) / math.log(2) / size_in_bytes for scores in of_both]
    same = sum(a.top[0][0] == b.top[0][0] for a, b in zip(mine, theirs, strict=True))
    return Agreement(bits[0], bits[1], same / len(mine), len(mine))
