"""Brigades among honest voters, without any training: what of their votes is set aside, and what the lessons then say.

    python -m bench.brigades [--seeds 3] [--people 30] [--votes 700]

Honest people are wrong one time in ten and come over a week, half of them once. To their votes brigades add 30 % of
all: `burst` (ten accounts say the opposite of what is true within an hour), `down` (everything down within an hour),
`one_model` (one model's answers down, the other's up), `slow` (the opposite, spread over the week), `hidden` (as
`burst`, but every second vote is honest) and `mixed` (a third each of the first, the second and `slow`).

`set_aside` is the share of the brigade's votes that count for nothing, `brigade_weight` the mean weight of all of them,
`honest_lost` the share of honest votes that count for nothing. `right` is the share of the lessons (thumbs, by their
weight) that say of an answer what is true, `right_unweighed` the same where every vote counts whole.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from homeroom.data.judgements import weigh
from homeroom.data.preferences import Thumb, harvest

HOUR, WEEK = 3600.0, 7 * 86400.0
NOISE, SHARE, ACCOUNTS, PER_ANSWER, GOOD = 0.1, 0.3, 10, 3, 0.6
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
Numbers = np.random.Generator


@dataclass(frozen=True)
class Cast:
    """A vote as the workspace would give it."""

    user: str
    number: int  # of the answer
    value: int
    seconds: float
    better_answer: str | None = None
    finish_reason: str | None = "stop"
    token_ids: tuple[int, ...] | None = None
    edit_id: str | None = None
    written = False

    @property
    def history(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"{self.number // 2:05d}?"}]

    @property
    def answer(self) -> str:
        return f"{self.number:05d}"

    @property
    def model_id(self) -> str:
        return f"model {self.number % 2}"

    @property
    def at(self) -> str:
        return (MONDAY + timedelta(seconds=self.seconds)).isoformat()

    @property
    def message_id(self) -> str:
        return self.answer

    @property
    def vote_id(self) -> str:
        return f"{self.user} {self.answer}"


def crowd(rng: Numbers, people: int, votes: int) -> tuple[list[Cast], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Honest votes, and which answers are good."""
    truth = rng.random(votes // PER_ANSWER) < GOOD
    cast = []
    for number, share in enumerate(rng.dirichlet(np.full(people, 1.0))):
        once, begin = rng.random() < 0.5, rng.uniform(0, WEEK)
        for answer in rng.permutation(len(truth))[: max(1, round(share * votes))].tolist():
            up = bool(truth[answer]) != (rng.random() < NOISE)
            at = begin + rng.uniform(0, HOUR) if once else rng.uniform(0, WEEK)
            cast.append(Cast(f"person {number}", answer, 1 if up else -1, at))
    return cast, truth


Says = Callable[[int, int], bool]
"""Whether an account votes this answer up; the second number counts its votes."""


def brigade(rng: Numbers, name: str, answers: int, votes: int, says: Says, spread: float) -> list[Cast]:
    begin = rng.uniform(0, WEEK - spread)
    return [
        Cast(f"{name} {account}", answer, 1 if says(answer, place) else -1, begin + rng.uniform(0, spread))
        for account in range(ACCOUNTS)
        for place, answer in enumerate(rng.permutation(answers)[: max(1, votes // ACCOUNTS)].tolist())
    ]


def attack(rng: Numbers, kind: str, truth: Sequence[bool], votes: int) -> list[Cast]:
    def lie(answer: int, _: int) -> bool:
        return not truth[answer]

    if kind == "mixed":
        return [cast for part in ("burst", "down", "slow") for cast in attack(rng, part, truth, votes // 3)]
    says, spread = {
        "burst": (lie, HOUR),
        "down": (lambda answer, place: False, HOUR),
        "one_model": (lambda answer, place: answer % 2 == 1, HOUR),
        "slow": (lie, WEEK),
        "hidden": (lambda answer, place: bool(truth[answer]) == (place % 2 == 0), HOUR),
    }[kind]
    return brigade(rng, kind, len(truth), votes, says, spread)


def right(thumbs: Sequence[Thumb], truth: Sequence[bool]) -> float:
    agreeing = sum(one.weight for one in thumbs if one.liked == bool(truth[int(one.answer.text)]))
    return agreeing / sum(one.weight for one in thumbs)


def measure(kind: str, seed: int, people: int, votes: int) -> dict[str, float]:
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    honest, truth = crowd(rng, people, votes)
    false = [] if kind == "none" else attack(rng, kind, truth.tolist(), round(len(honest) * SHARE / (1 - SHARE)))
    cast = honest + false
    weighed = weigh(cast)
    lessons, plain = (
        harvest(cast, [], 0.2, lambda _: 0.9, weights=weights).thumbs for weights in (weighed.weights, None)
    )
    of_honest, of_false = np.array(weighed.weights[: len(honest)]), np.array(weighed.weights[len(honest) :])
    found = {
        "honest_lost": float((of_honest == 0).mean()),
        "honest_weight": float(of_honest.mean()),
        "right": right(lessons, truth.tolist()),
        "right_unweighed": right(plain, truth.tolist()),
    }
    if false:
        found |= {"set_aside": float((of_false == 0).mean()), "brigade_weight": float(of_false.mean())}
    return found


KINDS = ["none", "burst", "down", "one_model", "slow", "hidden", "mixed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--votes", type=int, default=700)
    given = parser.parse_args()
    begun = time.perf_counter()
    by_kind: dict[str, dict[str, float]] = {}
    worst: dict[str, list[float]] = {"right": [], "gain": [], "honest_lost": []}
    for kind in KINDS:
        runs = [measure(kind, seed, given.people, given.votes) for seed in range(given.seeds)]
        by_kind[kind] = {name: round(sum(run[name] for run in runs) / len(runs), 3) for name in runs[0]}
        worst["right"] += [run["right"] for run in runs]
        worst["gain"] += [run["right"] - run["right_unweighed"] for run in runs]
        worst["honest_lost"] += [run["honest_lost"] for run in runs]
        print(f"{kind:10}", "  ".join(f"{name} {value:.3f}" for name, value in by_kind[kind].items()), flush=True)
    print(
        json.dumps(
            {
                "right_min": round(min(worst["right"]), 3),
                "right_gain_min": round(min(worst["gain"]), 3),
                "honest_lost_max": round(max(worst["honest_lost"]), 3),
                "kinds": by_kind,
                "seconds": round(time.perf_counter() - begun, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
