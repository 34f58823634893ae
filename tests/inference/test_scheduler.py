import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from homeroom.inference.request import Request
from homeroom.inference.scheduler import Running, Scheduler


class SchedulerMachine(RuleBasedStateMachine):
    """Beside the scheduler stand who should wait, who runs, and a cache that obeys its moves."""

    @initialize(slots=st.integers(1, 4))
    def begin(self, slots):
        self.scheduler = Scheduler(slots)
        self.submitted = 0
        self.waiting: list[str] = []
        self.running: set[str] = set()
        self.cache: dict[int, str] = {}

    @rule()
    def submit(self):
        self.scheduler.submit(Request(str(self.submitted), [1]))
        self.waiting.append(str(self.submitted))
        self.submitted += 1

    @rule(data=st.data())
    @precondition(lambda self: self.waiting or self.running)
    def submit_again(self, data):
        name = data.draw(st.sampled_from(self.waiting + sorted(self.running)))
        with pytest.raises(ValueError, match="already waiting or running"):
            self.scheduler.submit(Request(name, [1]))

    @rule(at_once=st.integers(1, 5))
    def admit(self, at_once):
        free = self.scheduler.slots - len(self.running)
        first = len(self.scheduler.running)
        admitted = self.scheduler.admit(at_once) if at_once > 1 else self.scheduler.admit()
        names = [request.id for request in admitted]
        if self.running and len(names) < at_once and len(self.waiting) >= at_once:
            assert not names
            assert free < at_once
        else:
            assert names == self.waiting[:free]  # first come, first served, and no slot stays empty
        self.waiting = self.waiting[len(names) :]
        self.running |= set(names)
        self.scheduler.running += [Running(request, []) for request in admitted]
        self.cache |= dict(enumerate(names, first))

    @rule(data=st.data())
    @precondition(lambda self: self.running)
    def release(self, data):
        name = data.draw(st.sampled_from(sorted(self.running)))
        slot = self.scheduler.slot_of(name)
        assert slot is not None
        moved = self.scheduler.release(slot)
        if moved is not None:
            source, target = moved
            assert target == slot
            self.cache[target] = self.cache[source]
        self.running.remove(name)
        assert self.scheduler.slot_of(name) is None

    @rule(data=st.data())
    @precondition(lambda self: self.waiting)
    def drop(self, data):
        name = data.draw(st.sampled_from(self.waiting))
        assert self.scheduler.drop_waiting(name)
        assert not self.scheduler.drop_waiting(name)
        self.waiting.remove(name)
        self.scheduler.submit(Request(name, [2]))  # its name is free again, at the end of the line
        self.waiting.append(name)

    @rule(data=st.data())
    @precondition(lambda self: self.running)
    def a_running_one_is_not_dropped(self, data):
        assert not self.scheduler.drop_waiting(data.draw(st.sampled_from(sorted(self.running))))

    @invariant()
    def agrees(self):
        names = [run.request.id for run in self.scheduler.running]
        assert len(names) <= self.scheduler.slots
        assert len(set(names)) == len(names)
        assert set(names) == self.running
        assert [request.id for request in self.scheduler.waiting] == self.waiting
        assert [self.cache[slot] for slot in range(len(names))] == names
        assert [self.scheduler.slot_of(name) for name in names] == list(range(len(names)))
        assert self.scheduler.idle == (not names and not self.waiting)

    def teardown(self):
        """No slot leaks: the rest runs to its end, and then every name is free."""
        if not hasattr(self, "scheduler"):
            return
        while not self.scheduler.idle:
            self.admit(at_once=1)
            self.scheduler.release(len(self.scheduler.running) - 1)
            self.running = {run.request.id for run in self.scheduler.running}
        for number in range(self.submitted):
            self.scheduler.submit(Request(str(number), [1]))


SchedulerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestScheduler = SchedulerMachine.TestCase


@pytest.mark.parametrize("slots", [0, -1])
def test_an_engine_without_slots_is_refused(slots):
    with pytest.raises(ValueError, match="at least one slot"):
        Scheduler(slots)


def test_a_running_request_is_as_long_as_what_stands_in_the_cache():
    request = Request("a", [1, 2, 3])
    assert Running(request, [], read=2).length == 2
    assert Running(request, [], [4], read=3).length == 3
    assert Running(request, [], [4, 5], read=3).cached_ids == [1, 2, 3, 4]
    assert Running(Request("a", [1, 2, 3]), [], [4, 5], read=3).length == 4
