"""How far annotators agree, as the page Rank says it.

It is measured in `homeroom.stages.agreement`, a floor above, and handed down to the server.
"""

from collections.abc import Callable
from dataclasses import dataclass

from homeroom.serving.pages.strings import Strings

ENOUGH = 5  # questions; the interval of fewer says next to nothing
# Krippendorff's own customary bars (Content Analysis, 4th edition, section 12.4).
RELIABLE, TENTATIVE = 0.8, 2 / 3


@dataclass(frozen=True)
class Measure:
    """With the 95 % interval, and of how many questions that several people ranked."""

    value: float
    low: float
    high: float
    questions: int


@dataclass(frozen=True)
class Agreement:
    """Of all people, Krippendorff's α; of the one who asks, the share of pairs in the order of others. None: not
    defined."""

    questions: int
    persons: int
    alpha: Measure | None
    own: Measure | None


Agree = Callable[[str], Agreement]  # by a person's name


def sentences(agreement: Agreement, strings: Strings) -> list[str]:
    """In words, and only what enough questions tell."""
    alpha, own, rank = agreement.alpha, agreement.own, strings.rank
    said = []
    if own is not None and own.questions >= ENOUGH:
        share, low, high = (f"{value:.0%}" for value in (own.value, own.low, own.high))
        said.append(rank.own.format(share=share, low=low, high=high, questions=own.questions))
    if alpha is not None and alpha.questions >= ENOUGH:
        value, low, high = (f"{value:.2f}" for value in (alpha.value, alpha.low, alpha.high))
        said.append(
            rank.everybody.format(
                persons=agreement.persons, alpha=value, low=low, high=high, questions=alpha.questions,
                meaning=_meaning(alpha, strings),
            )
        )  # fmt: skip
    return said or [rank.too_little.format(needed=ENOUGH, shared=agreement.questions)]


def _meaning(alpha: Measure, strings: Strings) -> str:
    if alpha.low <= 0:
        return strings.rank.alpha_none
    if alpha.value < TENTATIVE:
        return strings.rank.alpha_low
    return strings.rank.alpha_fair if alpha.value < RELIABLE else strings.rank.alpha_high
