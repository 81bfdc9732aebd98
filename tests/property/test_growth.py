"""Random machines, and random events in any order: never more open than places, the last one never retired, no decision
about a place that is in the wrong state."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from batchctl.model.node import Footprint, Reading, Sizing, Slot, WorkerMemory
from batchctl.node.growth import Decision, Growth, Opened, Recycled, Retired
from tests.doubles.machine import STEP_S, Box, Machine, Work

MIB = 1 << 20


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    places = draw(st.integers(1, 6))
    taken, begin, length = draw(st.integers(0, 3000)), draw(st.integers(0, 40)), draw(st.integers(0, 60))
    return Box(
        memory=draw(st.integers(3500, 9000)),
        places=places,
        first=draw(st.integers(0, places)),
        reserve=draw(st.sampled_from([64, 256, 800])),
        gpus=draw(st.integers(0, 2)),
        gpu_memory=draw(st.integers(1000, 9000)),
        tells_gpu=draw(st.booleans()),
        foreign=lambda t: taken if begin <= t < begin + length else 0,
        stale=draw(st.booleans()),
    )


@st.composite
def works(draw: st.DrawFn) -> Work:
    large, every = draw(st.integers(0, 1500)), draw(st.integers(1, 20))
    return Work(
        batches=draw(st.integers(0, 120)),
        base=draw(st.integers(1, 1500)),
        init_s=draw(st.sampled_from([0.1, 1.0, 5.0])),
        run_s=draw(st.sampled_from([0.2, 1.0, 3.0])),
        noise=draw(st.sampled_from([0.0, 0.5])),
        peak=lambda k: large if k % every == every - 1 else 0,
        gpu=draw(st.integers(0, 3000)),
        saturates=draw(st.sampled_from([1.0, 3.0, 100.0])),
    )


# What is asserted in each step is in the machine; a single worker always fits, so every run comes to its end.
@settings(max_examples=60, deadline=None)
@given(box=boxes(), work=works(), auto=st.booleans(), seed=st.integers(0, 9))
def test_any_machine(box: Box, work: Work, auto: bool, seed: int) -> None:
    out = Machine(box, work, auto=auto, seed=seed).run()
    assert out.crew <= box.places
    assert all(times <= 1 + out.retired[slot] for slot, times in out.opened.items())
    assert len(out.reasons) <= 30


@settings(max_examples=60, deadline=None)
@given(
    memory=st.integers(1000, 9000),
    base=st.integers(1, 900),
    init=st.integers(1, 900),
    places=st.integers(1, 6),
    noise=st.sampled_from([0.0, 0.5]),
)
def test_a_crew_that_grew_from_a_pilot_leaves_the_reserve_alone(
    memory: int, base: int, init: int, places: int, noise: float
) -> None:
    box, work = Box(memory=memory, places=places, reserve=100), Work(batches=60, base=base, init=init, noise=noise)
    out = Machine(box, work).run()
    growth = init * STEP_S / work.init_s  # between two readings, which may miss the end of init()
    assert out.oom == 0
    assert out.lowest >= 100 - out.crew * growth - 1
    assert out.retired.total() <= 1
    roomy = min(places, int((memory - 100) // (max(base, init) * 1.1)))
    assert out.crew >= min(roomy, 4)  # 60 mini-batches are enough for that many


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ready", "scored", "gone", "starved", "init", "gpu", "look", "look", "look"]),
        st.integers(0, 3),
        st.integers(0, 900),  # MiB available
        st.integers(0, 400),  # MiB held
        st.integers(0, 5),  # waiting
        st.sampled_from([None, 5.0, 40.0, 60.0, 80.0]),
        st.sampled_from([0.1, 1.0, 30.0, 300.0]),  # seconds later
    ),
    max_size=60,
)


class Caller:
    """Does what is decided, and knows which processes there are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.lives: dict[int, int] = {}  # place -> incarnation of the worker that is there
        self.ready: set[int] = set()
        self.leaving: set[int] = set()
        self.killed: set[int] = set()
        self.recycling: set[int] = set()

    @property
    def open(self) -> set[int]:
        return set(self.lives) - self.leaving

    def do(self, decisions: Sequence[Decision], life: int) -> None:
        for decision in decisions:
            slot = decision.slot
            if isinstance(decision, Opened):
                assert slot not in self.lives
                self.lives[slot] = life
            elif isinstance(decision, Retired):
                assert slot in self.lives and slot not in self.killed
                assert slot not in self.leaving or decision.now
                self.leaving.add(slot)
                self.ready.discard(slot)
                if decision.now:
                    self.killed.add(slot)
                assert self.open, "the last one"
            else:
                assert isinstance(decision, Recycled)
                assert slot in self.ready and slot not in self.recycling
                self.recycling.add(slot)
            assert len(self.lives) <= self.count

    def gone(self, slot: int, life: int) -> None:
        for those in (self.ready, self.killed, self.recycling):
            those.discard(slot)
        if slot in self.leaving:
            self.leaving.discard(slot)
            del self.lives[slot]
        else:
            self.lives[slot] = life


@settings(max_examples=400, deadline=None)
@given(events=EVENTS, auto=st.booleans(), gpu=st.sampled_from([None, "G"]), count=st.integers(1, 4))
def test_any_events(
    events: list[tuple[str, int, int, int, int, float | None, float]], auto: bool, gpu: str | None, count: int
) -> None:
    slots = tuple(Slot(index, (index,), 1, gpu) for index in range(count))
    assumed = Footprint(300 * MIB, source="assumed")
    growth = Growth(Sizing(slots, (), first=2), auto=auto, reserve=200 * MIB, assumed=assumed)
    caller, now = Caller(count), 0.0
    caller.do(growth.begin(waiting=3, now=now), 1)
    for life, (event, slot, available, held, waiting, stalled, later) in enumerate(events, start=2):
        now += later
        there = slot in caller.lives
        if event == "look":
            memory = tuple(
                WorkerMemory(s, alive, held * MIB, held * MIB, held * MIB if gpu else None)
                for s, alive in caller.lives.items()
            )
            decisions = growth.look(
                Reading(available * MIB, stalled, memory, {"G": available * MIB}), waiting=waiting, now=now
            )
            caller.do(decisions, life)
            assert caller.open or not waiting
        elif event == "ready" and there and slot not in caller.leaving:
            growth.ready(slot, now=now)
            caller.ready.add(slot)
        elif event == "scored" and slot in caller.ready:
            growth.scored(slot, run_ns=available, items=held)
        elif event == "gone" and there:
            growth.gone(slot, now=now)
            caller.gone(slot, life)
        elif event == "gpu" and gpu and slot in caller.ready:
            caller.do(growth.starved(slot, in_init=False, now=now, gpu=True), life)
        elif event in {"starved", "init"} and there and (slot in caller.ready) == (event == "starved"):
            caller.do(growth.starved(slot, in_init=event == "init", now=now), life)
            growth.gone(slot, now=now)
            caller.gone(slot, life)
        assert growth.look_in(now=now) <= 1.0
    assert len(growth.reasons()) <= 30
