"""A crew that grows and shrinks: whole runs on a machine on paper, and the rules one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from batchctl.model.node import Footprint, Reading, Sizing, Slot, WorkerMemory
from batchctl.node.growth import Growth, Opened, Recycled, Retired
from tests.doubles.machine import Box, Machine, Outcome, Work

MIB, GIB = 1 << 20, 1 << 30
REMEMBERED = Footprint(1000 * MIB, source="remembered")


class Case(NamedTuple):
    box: Box
    work: Work
    expect: Callable[[Outcome], bool]
    said: str = ""  # a phrase among the reasons
    auto: bool = True
    assumed: Footprint | None = None


def between(low: float, high: float) -> Callable[[float], int]:
    """All but 2 GiB of 16 taken by others from `low` to `high` seconds."""
    return lambda t: 14_336 if low <= t < high else 0


def said(out: Outcome, phrase: str) -> bool:
    return phrase in "\n".join(out.reasons)


SCENARIOS: dict[str, Case] = {
    "grows to all places": Case(
        Box(), Work(), lambda o: o.crew == 8 and not o.retired, "8 workers: all places are open"
    ),
    "memory binds": Case(
        Box(memory=4096), Work(base=1000), lambda o: o.crew == 3 and o.lowest >= 256, "a 4th would be 160 MiB short"
    ),
    "just not enough for the margin": Case(
        Box(memory=256 + 2050), Work(base=1000), lambda o: o.crew == 1, "a 2nd would leave 50 MiB"
    ),
    "a single place": Case(Box(places=1), Work(), lambda o: o.crew == 1 and o.opened == {0: 1}),
    "the first wave starts at once": Case(Box(first=5), Work(batches=5), lambda o: o.crew == 5 and o.seconds < 4),
    "no more workers than mini-batches": Case(Box(first=5), Work(batches=3), lambda o: o.crew == 3),
    "no growth when nothing waits any more": Case(Box(), Work(batches=1), lambda o: o.crew == 1),
    "80 % of memory in init": Case(
        Box(memory=4096), Work(init=3276, base=300), lambda o: o.crew == 1 and not o.oom, "1 worker: memory"
    ),
    "80 % of memory in init, and a first wave of two": Case(
        Box(memory=4096, first=2), Work(init=3276, base=300, init_s=20),
        lambda o: o.last_crew == 1 and not o.oom and o.killed == 1, "kept in reserve",
    ),
    "the tenth file is large": Case(
        Box(memory=4096), Work(peak=lambda k: 1200 if k == 9 else 0), lambda o: o.crew == 4 and not o.oom,
        "a 5th would be 3.1 GiB short",
    ),
    "the tenth file is large, room for all": Case(
        Box(memory=16_384), Work(peak=lambda k: 1200 if k == 9 else 0), lambda o: o.crew == 8 and not o.oom
    ),
    "an outlier of the remembered size is reckoned with": Case(
        Box(memory=4096, first=3), Work(peak=lambda k: 800 if k == 9 else 0), lambda o: o.crew == 3 and not o.retired,
        "1000 MiB each", assumed=REMEMBERED,
    ),
    "what was remembered was too little": Case(
        Box(memory=4096, first=4), Work(base=1500), lambda o: o.last_crew <= 2, "(measured, peak of", assumed=REMEMBERED
    ),
    "a foreign process takes memory for a while": Case(
        Box(foreign=between(60, 120)), Work(batches=2000, base=1000),
        lambda o: 0 < o.reopened <= 8 and o.last_crew == 8, "started again: memory was plentiful for 30 s",
    ),
    "a foreign process stays": Case(
        Box(foreign=between(60, 1e9)), Work(batches=2000, base=1000), lambda o: o.last_crew == 1 and o.reopened <= 8
    ),
    "a foreign process comes and goes": Case(
        Box(places=3, memory=4096, foreign=lambda t: 2500 if t % 80 < 20 and t > 80 else 0),
        Work(batches=6000, base=1000), lambda o: o.reopened <= 10,
    ),
    "stalling that rises": Case(
        Box(memory=2056, stalled=lambda t: min(60.0, max(0.0, t - 60))), Work(base=200, batches=1000),
        lambda o: sum(o.retired.values()) >= 1, "memory stalls everybody",
    ),
    "stalling where memory is plentiful is somebody else's": Case(
        Box(stalled=lambda t: min(60.0, t)), Work(), lambda o: not o.retired
    ),
    "stalling that is steady": Case(
        Box(memory=2056, stalled=lambda t: 50.0), Work(base=200, batches=1000), lambda o: not o.retired
    ),
    "disk-bound: throughput ends at 4": Case(
        Box(places=16), Work(batches=4000, saturates=4), lambda o: 4 < o.crew <= 8, "(throughput by run() time)"
    ),
    "disk-bound and noisy": Case(
        Box(places=16), Work(batches=4000, saturates=4, noise=0.3), lambda o: 4 < o.crew <= 8, "growth stopped at"
    ),
    "a script that uses all cpus by itself": Case(
        Box(places=8), Work(batches=2000, serial=True), lambda o: o.crew <= 4, "the last 2 added nothing"
    ),
    "noise alone stops nobody": Case(
        Box(places=16), Work(batches=4000, noise=0.8), lambda o: o.crew == 16 and not said(o, "stopped")
    ),
    "few mini-batches: no waiting for proof": Case(
        Box(places=16), Work(batches=150), lambda o: o.crew == 16 and o.seconds < 30
    ),
    "throughput that stops beyond the first wave only": Case(
        Box(places=4, first=4), Work(batches=2000, saturates=1), lambda o: o.crew == 4 and not said(o, "stopped")
    ),
    "a leak of 5 MiB": Case(
        Box(places=1), Work(leak=5, batches=600), lambda o: o.recycled == 3 and not o.retired, "(5.0 MiB each)"
    ),
    "a leak under run()s that breathe": Case(
        Box(places=2), Work(leak=5, batches=1000, peak=lambda k: 300 * (k % 3)), lambda o: o.recycled >= 2
    ),
    "a leak where memory is short": Case(
        Box(places=2, memory=1024), Work(leak=5, batches=400), lambda o: o.recycled >= 2 and not o.oom
    ),
    "a leak in every worker": Case(Box(places=4), Work(leak=5, batches=2000), lambda o: o.recycled >= 4 and not o.oom),
    "growth that ends is no leak": Case(
        Box(places=2), Work(batches=600, kept=lambda k: 900 if k >= 5 else 0), lambda o: not o.recycled
    ),
    "files of changing size are no leak": Case(
        Box(places=2), Work(batches=600, peak=lambda k: 100 * (k * 7 % 11)), lambda o: not o.recycled
    ),
    "explicit: all at once, as asked": Case(
        Box(places=4), Work(), lambda o: o.opened == dict.fromkeys(range(4), 1), "4 workers: as asked; 200 MiB each",
        auto=False,
    ),
    "explicit: more than fit": Case(
        Box(places=4, memory=2048), Work(base=600), lambda o: o.last_crew <= 2 and sum(o.retired.values()) >= 1,
        "warning: 4 workers do not fit", False,
    ),
    "explicit: nothing is opened beyond": Case(Box(places=2), Work(), lambda o: o.crew == 2, auto=False),
    "explicit: throughput does not matter": Case(
        Box(places=6), Work(batches=2000, saturates=2), lambda o: o.crew == 6 and not o.retired, auto=False
    ),
    "killed for memory before anybody looked": Case(
        Box(memory=2048, places=4), Work(base=100, init_s=0.5, peak=lambda k: 900 if k >= 3 else 0),
        lambda o: o.oom <= 5 and o.last_crew <= 2,
    ),
    "one GPU, four fit": Case(
        Box(gpus=1, places=4), Work(gpu=3000), lambda o: o.on_gpu == 4, "4 workers: all places are open"
    ),
    "one GPU, two fit": Case(
        Box(gpus=1, places=4, gpu_memory=8192), Work(gpu=3000), lambda o: o.on_gpu == 2, "are left on it / 2.9 GiB each"
    ),
    "two GPUs, one each fits": Case(
        Box(gpus=2, places=8, first=2, gpu_memory=5000), Work(gpu=3000), lambda o: o.on_gpu == 1 and o.crew == 2
    ),
    "a GPU that tells nothing bears one": Case(
        Box(gpus=2, places=8, first=1, tells_gpu=False), Work(gpu=3000), lambda o: o.on_gpu == 1 and o.crew == 2,
        "GPU-0: no second worker, what a worker holds on it cannot be told",
    ),
    "late readings of ended workers say nothing": Case(
        Box(places=2, stale=True), Work(leak=5, batches=1000), lambda o: 2 <= o.recycled <= 8
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_run(name: str) -> None:
    case = SCENARIOS[name]
    out = Machine(case.box, case.work, auto=case.auto, assumed=case.assumed).run()
    assert case.expect(out), out
    assert said(out, case.said), out.reasons
    assert len(out.reasons) <= 30


# The rules one by one: 2 or 3 places, 8 GiB, reserve 1 GiB, 1 GiB assumed.


def crew(count: int, *, gpu: str | None = None, auto: bool = False, first: int = 0) -> Growth:
    slots = tuple(Slot(index, (index,), 1, gpu) for index in range(count))
    return Growth(Sizing(slots, (), first=first), auto=auto, reserve=GIB, assumed=Footprint(GIB, source="assumed"))


def working(count: int, *, gpu: str | None = None, each: int = GIB) -> Growth:
    """A crew of which everybody is ready, at work and measured, at second 10; worker 0 is the oldest."""
    growth = crew(count, gpu=gpu)
    growth.begin(waiting=100, now=0.0)
    for slot in range(count):
        growth.ready(slot, now=1.0)
        growth.scored(slot, run_ns=10**9, items=10)
    assert growth.look(seen(count, each=each), waiting=100, now=10.0) == []
    return growth


def seen(count: int, *, available: float = 5, each: int = GIB, gpu: int | None = None, life: int = 1) -> Reading:
    held = tuple(WorkerMemory(slot, life, each, each, gpu) for slot in range(count))
    return Reading(int(available * GIB), None, held, {"G": 4 * GIB} if gpu else {})


def test_the_pilot_is_measured_before_a_second_starts() -> None:
    growth = crew(3, auto=True)
    assert growth.begin(waiting=9, now=0.0) == [Opened(0, "pilot")]
    assert growth.look(seen(1), waiting=9, now=1.0) == []
    growth.ready(0, now=1.0)
    assert growth.look(seen(1), waiting=9, now=2.0) == []
    assert growth.footprint is None
    growth.scored(0, run_ns=5, items=1)
    (opened,) = growth.look(seen(1), waiting=9, now=3.0)
    assert opened == Opened(1, "memory 5.0 GiB free for them / 1.0 GiB each (measured, peak of 1 worker); "
                               "a 2nd would leave 3.0 GiB")  # fmt: skip
    assert growth.footprint == Footprint(GIB)


def test_a_worker_that_is_replaced_is_no_growth() -> None:
    growth = working(2)
    growth.gone(0, now=11.0)
    assert growth.look(seen(2, life=2), waiting=100, now=12.0) == []
    growth.ready(0, now=13.0)
    assert growth.look(seen(2, life=2), waiting=100, now=14.0) == []
    assert growth.reasons()[0].startswith("2 workers: as asked")


def test_one_low_look_is_not_pressure_and_the_youngest_goes_after_two() -> None:
    growth = working(3)
    assert growth.look(seen(3, available=0.9), waiting=9, now=11.0) == []
    assert growth.look(seen(3, available=1.1), waiting=9, now=12.0) == []
    assert growth.look(seen(3, available=0.9), waiting=9, now=13.0) == []
    decisions = growth.look(seen(3, available=0.9), waiting=9, now=14.0)
    assert decisions == [Retired(2, "922 MiB available, 1.0 GiB are kept in reserve", False)]
    assert "worker 2 retired after 14 s: 922 MiB available, 1.0 GiB are kept in reserve" in growth.reasons()


def test_who_leaves_slowly_is_killed_when_memory_runs_out_and_nobody_follows_before_two_seconds() -> None:
    growth = working(3)
    low, out = seen(3, available=0.9), seen(3, available=0.2)
    assert growth.look(low, waiting=9, now=11.0) == []
    assert [d.slot for d in growth.look(low, waiting=9, now=12.0)] == [2]
    assert growth.look(low, waiting=9, now=13.0) == []
    assert growth.look(out, waiting=9, now=14.0) == [Retired(2, "205 MiB available, 1.0 GiB are kept in reserve", True)]
    assert growth.look(out, waiting=9, now=15.0) == []
    growth.gone(2, now=15.5)
    assert growth.look(out, waiting=9, now=17.0) == []
    assert [d.slot for d in growth.look(out, waiting=9, now=17.6)] == [1]
    growth.gone(1, now=18.0)
    assert growth.look(out, waiting=9, now=30.0) == []  # the last one stays


def test_who_is_in_init_goes_first_and_at_once() -> None:
    growth = working(3)
    growth.gone(0, now=11.0)  # the oldest place, but its worker starts anew
    low = seen(3, available=0.9, life=2)
    growth.look(low, waiting=9, now=12.0)
    assert [(d.slot, isinstance(d, Retired) and d.now) for d in growth.look(low, waiting=9, now=13.0)] == [(0, True)]


def test_quiet_doubles_after_a_relapse() -> None:
    growth = working(2)
    now, waits = 20.0, []
    for _ in range(3):
        out, fine = seen(2, available=0.2, life=99), seen(1, available=5, life=99)
        assert [d.slot for d in growth.look(out, waiting=9, now=now)] == [1]
        growth.gone(1, now=now)
        began, opened = now, []
        while not opened:
            now += 1.0
            opened = growth.look(fine, waiting=9, now=now)
        waits.append(now - began)
        growth.ready(1, now=now)
        growth.scored(1, run_ns=1, items=1)
        now += 5
    assert waits == [30.0, 60.0, 120.0]


STARVED: dict[str, tuple[int, bool, bool, list[tuple[int, bool]]]] = {
    # workers, in init(), reported after its end -> retired: place, at once
    "one of two": (2, False, False, [(1, True)]),
    "one of two in init()": (2, True, False, [(1, True)]),
    "its end came first": (2, False, True, [(1, True)]),
    "the last one": (1, False, False, []),
    "the last one in init()": (1, True, False, []),
}


@pytest.mark.parametrize("name", STARVED)
def test_killed_for_memory(name: str) -> None:
    count, in_init, late, expected = STARVED[name]
    growth, slot = working(count), count - 1
    if in_init:
        growth.gone(slot, now=11.0)
    growth.look(seen(count, each=2 * GIB, life=2), waiting=9, now=12.0)
    if late:
        growth.gone(slot, now=13.0)
    decisions = growth.starved(slot, in_init=in_init, now=13.0)
    assert [(d.slot, d.now) for d in decisions if isinstance(d, Retired)] == expected
    if not late:
        growth.gone(slot, now=13.1)
    assert growth.footprint == Footprint(2 * GIB)
    # 3 GiB are free beside the reserve: 1.1 x 2 GiB would fit, after a kill it is 1.35 x.
    assert growth.look(seen(1, available=3.5, each=2 * GIB, life=3), waiting=9, now=60.0) == []
    again = growth.look(seen(1, available=4, each=2 * GIB, life=3), waiting=9, now=61.0)
    assert [d.slot for d in again] == [slot for slot, _ in expected]
    assert f"was killed for memory in {'init' if in_init else 'run'}(), holding 2.0 GiB" in "\n".join(growth.reasons())


def test_out_of_gpu_memory_recycles_the_worker_and_retires_its_neighbour() -> None:
    growth = working(2, gpu="G")
    decisions = growth.starved(0, in_init=False, now=11.0, gpu=True)
    assert decisions == [
        Recycled(0, "it ran out of GPU memory"),  # without figures, which would make a note of each
        Retired(1, "its neighbour on G, worker 0, ran out of GPU memory", False),
    ]
    assert working(1, gpu="G").starved(0, in_init=True, now=11.0, gpu=True) == []


def test_a_gpu_that_somebody_else_fills_ends_no_run_that_has_others() -> None:
    slots = tuple(Slot(index, (index,), 1, gpu) for index, gpu in enumerate(("G", "H")))
    growth = Growth(Sizing(slots, (), gpus=2, first=2), auto=True, reserve=GIB, assumed=Footprint(GIB, None, "assumed"))
    growth.begin(waiting=9, now=0.0)
    decisions = growth.starved(1, in_init=True, now=1.0, gpu=True)
    assert decisions == [Retired(1, "it ran out of GPU memory in init()", True)]
    growth.gone(1, now=1.0)
    assert growth.starved(0, in_init=True, now=1.0, gpu=True) == []  # the last


def test_a_place_that_is_given_up_is_never_opened_again_and_the_others_go_on() -> None:
    growth = working(2)
    growth.gone(1, now=11.0)
    growth.given_up(1, now=12.0)
    assert growth.look(seen(1, life=2), waiting=9, now=60.0) == []
    assert growth.reasons()[0].startswith("1 worker: no place is left to be opened")


def test_looks_are_frequent_while_workers_start_and_after_a_first_mini_batch() -> None:
    growth = crew(1)
    assert growth.look_in(now=0.0) == 0.0
    growth.begin(waiting=9, now=0.0)
    growth.look(Reading(4 * GIB), waiting=8, now=1.0)
    assert growth.look_in(now=1.0) == pytest.approx(0.1)
    growth.ready(0, now=1.05)
    assert growth.look_in(now=1.5) == pytest.approx(0.5)
    growth.scored(0, run_ns=1, items=1)
    assert growth.look_in(now=1.5) == 0.0
    growth.look(Reading(4 * GIB), waiting=8, now=1.5)  # a reading that does not show it
    assert growth.look_in(now=1.5) == pytest.approx(1.0)


def test_what_happens_often_is_counted() -> None:
    growth = working(2)
    for turn in range(50):
        for slot in (0, 1):
            growth.starved(slot, in_init=False, now=20.0 + turn)  # the first is retired, then there is but one
            growth.gone(slot, now=20.0 + turn)
    assert "and 96 more memory shortages" in growth.reasons()
    assert len(growth.reasons()) < 12
