"""How often one caller may ask or try a password, and when one who was refused should come back."""

import ipaddress
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_CALLERS = 10_000
LONGEST_WAIT = 60.0
SIGN_INS_PER_MINUTE = 20  # from one address
FREE_SIGN_INS = 3
QUIET_SECONDS = 900.0


@dataclass(frozen=True)
class Taken:
    """`wait`: seconds until there is a request to take; `full`: until all of them are there again."""

    allowed: bool
    limit: int
    remaining: int
    wait: float
    full: float

    def headers(self) -> dict[str, str]:
        """By OpenAI's names; the reset as their servers write it: 8ms, 1.5s, 6m0s."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": duration(self.full),
        }


class Buckets:
    """A token bucket for each caller: a minute's requests at once, then as many as flow in."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # (requests left, when that was so)

    def take(self, caller: str) -> Taken:
        now = self._clock()
        left = self._left(self._buckets.get(caller, (float(self._limit), now)), now)
        allowed = left >= 1
        left -= allowed
        if caller not in self._buckets and len(self._buckets) >= MOST_CALLERS:
            self._forget(now)
        self._buckets[caller] = (left, now)
        seconds = 60 / self._limit
        return Taken(allowed, self._limit, int(left), max(0.0, 1 - left) * seconds, (self._limit - left) * seconds)

    def _left(self, bucket: tuple[float, float], now: float) -> float:
        return min(float(self._limit), bucket[0] + (now - bucket[1]) * self._limit / 60)

    def _forget(self, now: float) -> None:
        """A full bucket says nothing. If all callers are at it at once, those longest silent begin anew."""
        full = [name for name, bucket in self._buckets.items() if self._left(bucket, now) >= self._limit]
        oldest = sorted(self._buckets, key=lambda name: self._buckets[name][1])[: MOST_CALLERS // 10]
        for name in full or oldest:
            del self._buckets[name]


class Attempts:
    """How often a password may be tried: of one name from one address after a delay that doubles, up to a minute.

    Only there: whoever tries Ann's name elsewhere does not delay Ann. A try that comes too early is not looked at and
    delays nothing further, and one that is right ends the delay: nobody is shut out for longer than a minute at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses = Buckets(SIGN_INS_PER_MINUTE, clock)
        self._tried: dict[tuple[str, str], tuple[int, float]] = {}  # (how often, until when none may be)

    def take(self, name: str, host: str) -> float:
        """0: it may be tried, and counts as wrong until `right` is called. Else the seconds until the next may be."""
        now, address = self._clock(), by_address(host)
        count, until = self._tried.get((name, address), (0, now))
        if now < until:
            return until - now
        taken = self._addresses.take(address)
        if not taken.allowed:
            return taken.wait
        if now - until > QUIET_SECONDS:
            count = 0
        if len(self._tried) >= MOST_CALLERS:
            self._forget(now)
        delay = 0.0 if count < FREE_SIGN_INS else min(LONGEST_WAIT, 2.0 ** min(30, count - FREE_SIGN_INS))
        self._tried[name, address] = (count + 1, now + delay)
        return 0.0

    def right(self, name: str, host: str) -> None:
        self._tried.pop((name, by_address(host)), None)

    def _forget(self, now: float) -> None:
        quiet = [pair for pair, (_, until) in self._tried.items() if now - until > QUIET_SECONDS]
        oldest = sorted(self._tried, key=lambda pair: self._tried[pair][1])[: MOST_CALLERS // 10]
        for pair in quiet or oldest:
            del self._tried[pair]


class Pace:
    """How long recent answers took, from question to end, and what follows for who comes now."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=32)

    def ended(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def until_room(self, unfinished: int, slots: int) -> float:
        """Seconds until nobody waits for a slot any more.

        Little's law: while N answers are unfinished and each takes W seconds, they end at N / W a second.
        """
        waiting = max(0, unfinished - slots)
        if not waiting or not self._seconds:
            return 1.0
        return min(LONGEST_WAIT, statistics.median(self._seconds) * waiting / unfinished)


def by_address(host: str) -> str:
    """One network with IPv6 has 2**64 addresses for each of its machines, and is one caller."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network(f"{host}/64", strict=False)) if address.version == 6 else host


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:.4g}s"
