import pytest

from homeroom.serving import limits
from homeroom.serving.limits import Attempts, Buckets, Pace, by_address, duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_requests_may_come_at_once_and_then_as_they_flow_in() -> None:
    clock = Clock()
    buckets = Buckets(3, clock)
    taken = [buckets.take("ann") for _ in range(4)]
    assert [one.allowed for one in taken] == [True, True, True, False]
    assert [one.remaining for one in taken] == [2, 1, 0, 0]
    assert taken[3].wait == pytest.approx(20)
    assert taken[3].full == pytest.approx(60)
    assert buckets.take("bob").allowed  # whose requests are his own
    clock.now += 19.9
    assert not buckets.take("ann").allowed  # and being refused costs nothing
    clock.now += 0.2
    assert buckets.take("ann").allowed
    clock.now += 3600
    assert [buckets.take("ann").allowed for _ in range(4)] == [True, True, True, False]


def test_callers_that_come_once_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_CALLERS", 100)
    clock = Clock()
    buckets = Buckets(2, clock)
    for number in range(1000):
        clock.now += 0.001
        buckets.take(f"caller {number}")
        assert len(buckets._buckets) <= 100
    clock.now += 3600
    buckets.take("ann")
    assert list(buckets._buckets) == ["ann"]


def test_when_to_come_back_follows_from_recent_answers_and_who_waits() -> None:
    pace = Pace()
    assert pace.until_room(unfinished=8, slots=2) == 1.0  # nothing is known yet
    for seconds in (8.0, 10.0, 90.0):
        pace.ended(seconds)
    assert pace.until_room(unfinished=2, slots=2) == 1.0
    assert pace.until_room(unfinished=4, slots=2) == pytest.approx(10 * 2 / 4)
    assert pace.until_room(unfinished=100, slots=1) == pytest.approx(9.9)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0084, "8ms"), (1, "1s"), (1.5, "1.5s"), (59.9, "59.9s"), (60, "1m0s"), (360, "6m0s")],
)  # fmt: skip
def test_a_reset_is_written_as_openai_writes_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_address_is_a_caller() -> None:
    assert by_address("10.0.0.1") != by_address("10.0.0.2")
    assert by_address("2001:db8::1") == by_address("2001:db8::ffff:1") != by_address("2001:db8:0:1::1")
    assert by_address("testclient") == "testclient"


def test_wrong_passwords_are_slowed_where_they_come_from_and_nowhere_else() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    assert [attempts.take("ann", "10.0.0.1") for _ in range(5)] == [0, 0, 0, 0, 1]
    waits = []
    for _ in range(10):
        clock.now += attempts.take("ann", "10.0.0.1")
        assert attempts.take("ann", "10.0.0.1") == 0
        waits.append(attempts.take("ann", "10.0.0.1"))
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert [attempts.take("ann", "10.0.0.1") for _ in range(100)] == [60] * 100  # asking too early delays no further
    for elsewhere in (("ann", "10.0.0.2"), ("bob", "10.0.0.1")):
        assert [attempts.take(*elsewhere) for _ in range(2)] == [0, 0]
    clock.now += 60
    assert attempts.take("ann", "10.0.0.1") == 0
    attempts.right("ann", "10.0.0.1")
    assert [attempts.take("ann", "10.0.0.1") for _ in range(5)] == [0, 0, 0, 0, 1]
    clock.now += limits.QUIET_SECONDS + 2
    assert [attempts.take("ann", "10.0.0.1") for _ in range(5)] == [0, 0, 0, 0, 1]


def test_one_address_cannot_try_name_after_name() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits = [attempts.take(f"name {number}", "2001:db8::1") for number in range(limits.SIGN_INS_PER_MINUTE + 1)]
    assert [wait > 0 for wait in waits] == [False] * limits.SIGN_INS_PER_MINUTE + [True]
    assert attempts.take("another", "2001:db8::2") > 0  # the same network
    assert attempts.take("another", "2001:db8:1::1") == 0
    attempts.right("name 0", "2001:db8::1")
    assert attempts.take("name 0", "2001:db8::1") > 0  # who has one account cannot try on with its help
    clock.now += 60 / limits.SIGN_INS_PER_MINUTE + 0.1
    assert attempts.take("another", "2001:db8::1") == 0


def test_who_tries_is_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_CALLERS", 20)
    clock = Clock()
    attempts = Attempts(clock)
    for number in range(100):
        clock.now += 1
        for _ in range(5):
            attempts.take("ann", f"10.0.0.{number}")
        assert len(attempts._tried) <= 20
    assert attempts.take("ann", "10.0.0.99") > 0
