"""Made crowds for the tests of trust: honest voters of several habits, and brigades among them."""

from types import SimpleNamespace

import numpy as np
import pytest

from homeroom.data.crowd import CastVote

HOUR, DAY = 3600.0, 86400.0


def honest(rng, people, votes, per_answer=3.0, days=7.0, noise=(0.05, 0.3), good=0.6, one_thumb=0.15):
    """`people` cast about `votes` votes, `per_answer` of them on each answer.

    Half of them visit once, the others come on several days. Each is wrong by a rate of their own, and some have only
    one thumb: they vote when they like (or dislike) an answer, and not otherwise.
    """
    answers = max(2, round(votes / per_answer))
    truth = rng.random(answers) < good
    made = []
    activity = rng.dirichlet(np.full(people, 1.0))
    for number in range(people):
        wrong = rng.uniform(*noise)
        thumb = rng.choice([-1, 1]) if rng.random() < one_thumb else 0
        once, begin = rng.random() < 0.5, rng.uniform(0, days) * DAY
        for answer in rng.permutation(answers)[: max(1, round(activity[number] * votes))]:
            value = 1 if truth[answer] != (rng.random() < wrong) else -1
            if thumb in (0, value):
                at = begin + rng.uniform(0, HOUR) if once else rng.uniform(0, days) * DAY
                made.append(cast(f"person {number}", answer, value, at))
    return made, truth


def brigade(rng, truth, accounts, votes, kind, days=7.0, noise=0.1, targets=None):
    """Accounts that together cast `votes` votes within an hour: the "opposite" of what is true, or one "direction"."""
    begin = rng.uniform(0, days) * DAY
    pool = np.arange(len(truth)) if targets is None else rng.permutation(len(truth))[:targets]
    made = []
    for number in range(accounts):
        for answer in rng.permutation(pool)[: max(1, votes // accounts)]:
            value = -1 if kind == "direction" or truth[answer] != (rng.random() < noise) else 1
            made.append(cast(f"brigade {number}", answer, value, begin + rng.uniform(0, HOUR)))
    return made


def cast(person, answer, value, at=0.0, model="m"):
    return CastVote(person, f"q{int(answer) // 2}", f"a{int(answer)}", value, at, model)


@pytest.fixture(scope="session")
def crowds():
    return SimpleNamespace(honest=honest, brigade=brigade, cast=cast, HOUR=HOUR, DAY=DAY)
