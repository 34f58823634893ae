"""When a comparison of so many questions may end before all of them are asked, without being wrong more often.

Who looks twice at a comparison has two chances of finding by luck what is not there. So a look before the end asks for
more: with K looks at equal steps, c · √(K / k) standard errors at the k-th, which leaves the chance of ever being
wrong where it was, and asks of the last look hardly more than if there had been no other (O'Brien and Fleming, A
multiple testing procedure for clinical trials, Biometrics 1979). What is compared is `gate.py`'s business; where people
vote, and nobody knows how often, the test is `sequential.py`'s.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from homeroom.evaluation.comparison import BY_CHANCE

STEPS = 4
# c for K = 4 and 5 % in all, two-sided (Jennison and Turnbull, Group Sequential Methods, 2000, table 2.3).
STANDARD_ERRORS = 2.024
# Nobody looks at the first quarter: 4.05 standard errors are more than a bootstrap can show.
FIRST = 2


@dataclass(frozen=True)
class Look:
    """At the first `answered` of `planned` questions."""

    answered: int
    planned: int

    @property
    def by_chance(self) -> float:
        """How likely chance alone may put the better of two equals ahead here: one-sided, 2.5 % over all looks."""
        return NormalDist().cdf(-STANDARD_ERRORS * math.sqrt(self.planned / self.answered))


def looks(planned: int, least: int) -> list[Look]:
    """When to look, the last time at all of them. Before `least` questions are answered nothing is decided."""
    early = (math.ceil(planned * step / STEPS) for step in range(FIRST, STEPS))
    return [*(Look(n, planned) for n in early if least <= n < planned), Look(planned, planned)]


def chance_at(answered: int, planned: int | None) -> float:
    """As `Look.by_chance`; where it was not `planned` to look before the end, the whole 2.5 %."""
    return BY_CHANCE if planned is None else Look(answered, planned).by_chance
