"""Which blind votes of a trial count: so many of one person and on one question, and nobody decides alone.

The statistics are sequential.py's. Where votes come from, and what follows from a verdict, is others' business.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from homeroom.evaluation.sequential import Sequential
from homeroom.settings import Frozen, Json, Probability


class TrialSettings(Frozen):
    """What blind votes must show of a candidate, and how much one person may add to it."""

    bar: Probability = Field(0.5, description="the win rate that the interval's lower end must lie above")
    maximum: PositiveInt = Field(400, description="votes that count; if they have not decided, the champion stays")
    confidence: Probability = 0.95
    votes_per_question: PositiveInt = Field(1, description="of different people; later ones count no more")
    votes_per_person: PositiveInt | None = Field(10, description="none: any number, so one person may decide")

    @model_validator(mode="after")
    def _nobody_decides_alone(self) -> Self:
        test = self.sequential()  # which refuses what has no sense
        if self.votes_per_person is None:
            return self
        for outcome in (0.0, 1.0):
            test = self.sequential()
            for vote in range(self.votes_per_person):
                for _ in range(self.votes_per_question):  # others may have said the same
                    test.add(outcome, str(vote))
            if test.verdict != "open":
                raise ValueError(
                    f"votes_per_person = {self.votes_per_person} would let one person decide: "
                    f"{test.n} votes are enough for '{test.verdict}'. Allow fewer, or leave it out if that is meant."
                )
        return self

    def sequential(self) -> Sequential:
        return Sequential(self.bar, self.maximum, self.confidence, self.votes_per_question)


@dataclass(frozen=True)
class BlindVote:
    """`outcome`: 1 for the candidate, 0 for the champion, ½ for neither."""

    person: str
    question: str
    outcome: float


@dataclass(frozen=True)
class Counted:
    """How a trial stands. Set aside were votes `repeated` on a question, and those `beyond` a person's share."""

    test: Sequential
    people: int
    repeated: int
    beyond: int

    def figures(self) -> dict[str, Json]:
        return {**self.test.figures(), "people": self.people, "repeated": self.repeated, "beyond": self.beyond}


def count(votes: Iterable[BlindVote], settings: TrialSettings) -> Counted:
    """Count votes in the order in which they were cast. More of them never change a verdict that was reached."""
    test = settings.sequential()
    by_person, on_question = Counter[str](), Counter[str]()
    said: set[tuple[str, str]] = set()
    repeated = beyond = 0
    for vote in votes:
        if (vote.person, vote.question) in said or on_question[vote.question] >= settings.votes_per_question:
            repeated += 1
        elif settings.votes_per_person is not None and by_person[vote.person] >= settings.votes_per_person:
            beyond += 1
        else:
            said.add((vote.person, vote.question))
            by_person[vote.person] += 1
            on_question[vote.question] += 1
            test.add(vote.outcome, vote.question)
    return Counted(test, len(by_person), repeated, beyond)
