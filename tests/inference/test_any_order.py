"""Requests that come, are stepped and cancelled in any order, in chunks and with beginnings taken over from others."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from homeroom.inference.engine import Engine
from homeroom.inference.request import Completion, Request, Sampling
from homeroom.models.compiled import CompiledGPT

END, SLOTS, KEPT = 3, 3, 120
SYSTEM = [(7 * i) % 47 + 4 for i in range(36)]
TAILS = st.lists(st.integers(4, 50), min_size=1, max_size=12)


class Serving(RuleBasedStateMachine):
    model: CompiledGPT
    chunk: int | None
    alone: dict[Any, Completion]

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(self.model, end_id=END, slots=SLOTS, chunk=self.chunk, prefix_tokens=KEPT)
        self.asked: dict[str, Request] = {}
        self.told: dict[str, list[tuple[int, float]]] = {}
        self.reasons: dict[str, str] = {}
        self.patience: dict[str, int] = {}

    def work(self, request: Request) -> int:
        """In how many steps it is answered at the latest, once it is its turn."""
        return math.ceil(len(request.prompt_ids) / (self.chunk or 1000)) + request.sampling.max_tokens

    @rule(system=st.sampled_from([0, 20, 36]), tail=TAILS, seed=st.integers(0, 5), tokens=st.integers(1, 6))
    def submit(self, system: int, tail: list[int], seed: int, tokens: int) -> None:
        name = str(len(self.asked))
        request = Request(name, SYSTEM[:system] + tail, Sampling(seed=seed, max_tokens=tokens, temperature=seed % 2))
        before = [self.work(self.asked[other]) for other in self.asked if other not in self.reasons]
        self.patience[name] = sum(before) + self.work(request)
        self.asked[name], self.told[name] = request, []
        self.engine.submit(request)

    @rule()
    def step(self) -> None:
        events = self.engine.step()
        assert len(events) == len({event.request_id for event in events}) <= SLOTS
        for event in events:
            assert event.request_id not in self.reasons
            self.told[event.request_id].append((event.token_id, event.logprob))
            if event.finish_reason is not None:
                self.reasons[event.request_id] = event.finish_reason
        for name in self.asked:
            if name not in self.reasons and not self.told[name]:
                self.patience[name] -= 1
                assert self.patience[name] > 0, f"{name} starves"

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.asked)))
        event = self.engine.cancel(name)
        assert (event is None) == (name in self.reasons)
        if event is not None:
            self.reasons[name] = event.finish_reason or ""

    @invariant()
    def no_slot_leaks(self) -> None:
        here = [run.request.id for run in self.engine.scheduler.running]
        waiting = [request.id for request in self.engine.scheduler.waiting]
        assert len(here) <= SLOTS
        assert sorted(here + waiting) == sorted(self.asked.keys() - self.reasons.keys())
        assert len(self.engine.prefixes) <= KEPT

    def teardown(self) -> None:
        for _ in range(sum(map(self.work, self.asked.values()))):
            self.step()
        assert self.engine.idle
        assert self.asked.keys() == self.reasons.keys()
        for name, request in self.asked.items():
            expected = self.solo(request)
            said = list(zip(expected.token_ids, expected.logprobs, strict=True))
            if self.reasons[name] == "cancelled":
                said = said[: len(self.told[name])]
            else:
                assert self.reasons[name] == expected.finish_reason
            assert self.told[name] == said

    def solo(self, request: Request) -> Completion:
        key = (*request.prompt_ids, -1, request.sampling.seed, request.sampling.max_tokens)
        if key not in self.alone:
            (self.alone[key],) = Engine(self.model, end_id=END, slots=1).generate([request])
        return self.alone[key]


@pytest.mark.parametrize("chunk", [None, 5, 40])
def test_whatever_the_order_everybody_gets_the_own_answer(compiled: CompiledGPT, chunk: int | None) -> None:
    kind: Callable[..., Any] = type("Case", (Serving,), {"model": compiled, "chunk": chunk, "alone": {}})
    run_state_machine_as_test(kind, settings=settings(max_examples=25, stateful_step_count=30))
