"""Who may hold how much, what idle workers get from busy ones, who is replaced and which slots are closed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from batchctl.dispatch.slot_health import InitDecision
from batchctl.model.events import InitFailed, WorkerGone, WorkerReady
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from batchctl.run.crew import Crew
from tests.unit.run.stage import FAILURE, Clock, Engine

MS = 1_000_000


class Bench:
    """A crew whose workers keep what they are given; `waiting` is the queue."""

    def __init__(self, slots: int = 2, waiting: int = 1000) -> None:
        self.engine = Engine(Clock())
        self.engine.answers = lambda slot, lease: None
        self.crew = Crew(self.engine, [Slot(index, (), 1) for index in range(slots)])
        self.waiting = [Lease(number, number, 1, 1) for number in range(waiting)]
        for slot in range(slots):
            self.crew.open(slot)
            self.ready(slot)

    def ready(self, slot: int) -> None:
        self.crew.passed_init(WorkerReady(slot, 1, 1, 0.1))

    def take(self, count: int) -> Sequence[Lease]:
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def grant(self, *, one_each: bool = False) -> dict[int, int]:
        given = self.crew.grant(self.take, waiting=len(self.waiting), one_each=one_each)
        return {slot: len(leases) for slot, leases in given}

    def score(self, slot: int, run_ns: int, count: int = 1) -> None:
        for _ in range(count):
            self.engine.hands[slot].pop(0)
            self.crew.scored(slot, run_ns)


# name: how long run() takes -> leases that a worker holds then
CREDITS = {
    "not known": (None, 1),
    "0.1 ms": (MS // 10, 16),
    "1 ms": (MS, 16),
    "3 ms": (3 * MS, 4),
    "50 ms": (50 * MS, 2),
    "1 s": (1000 * MS, 1),
}


@pytest.mark.parametrize("case", CREDITS)
def test_credits(case: str) -> None:
    run_ns, held = CREDITS[case]
    bench = Bench()
    assert bench.grant() == {0: 1, 1: 1}
    if run_ns is not None:
        for slot in (0, 1):
            bench.score(slot, run_ns)
        bench.grant()
    assert [bench.engine.in_hand(slot) for slot in (0, 1)] == [held, held]
    assert bench.grant() == {}


def test_one_each_is_given_to_those_who_have_none() -> None:
    bench = Bench()
    bench.grant()
    for slot in (0, 1):
        bench.score(slot, MS // 10)
    assert bench.grant() == {0: 16, 1: 16}
    bench.score(0, MS // 10, 15)
    assert bench.grant(one_each=True) == {}
    bench.score(0, MS // 10)
    assert bench.grant(one_each=True) == {0: 1}
    bench.score(0, MS // 10)
    assert bench.grant() == {0: 16}


def test_half_a_window_is_enough_before_more_is_sent() -> None:
    bench = Bench(slots=1)
    bench.grant()
    bench.score(0, MS // 10)
    assert bench.grant() == {0: 16}
    bench.score(0, MS // 10, 7)
    assert bench.grant() == {}
    bench.score(0, MS // 10)
    assert bench.grant() == {0: 8}


def test_the_end_of_a_run_is_shared() -> None:
    bench = Bench(waiting=12)
    bench.grant()
    for slot in (0, 1):
        bench.score(slot, MS // 10)
    assert bench.grant() == {0: 5, 1: 5}


def test_an_idle_worker_gets_what_a_busy_one_has_not_started() -> None:
    bench = Bench(waiting=6)
    bench.grant()
    for slot in (0, 1):
        bench.score(slot, MS // 10)
    bench.grant()
    assert [bench.engine.in_hand(slot) for slot in (0, 1)] == [2, 2]
    bench.score(1, MS // 10, 2)
    assert bench.grant() == {1: 1}
    assert [bench.engine.in_hand(slot) for slot in (0, 1)] == [1, 1]
    held = [lease for hand in bench.engine.hands.values() for lease in hand]
    assert len(set(held)) == bench.crew.in_hand == 2
    bench.score(1, MS // 10)
    assert bench.grant() == {}  # the last one is in run: nobody can have it


def test_what_is_spare_is_given_out_before_the_queue_is_asked() -> None:
    bench = Bench(waiting=34)
    for _ in range(2):
        bench.grant()
        for slot in (0, 1):
            bench.score(slot, MS // 10, bench.engine.in_hand(slot))
    bench.engine.hands[0] = [Lease(90 + number, 90, 1, 1) for number in range(8)]
    bench.waiting = []
    assert bench.grant() == {1: 1}
    assert bench.crew.in_hand == 8  # none was lost: 1 in run, 1 given, 6 spare
    assert sum(bench.grant().values()) > 0
    assert bench.crew.in_hand == 8
    back = bench.crew.withdraw()
    assert bench.crew.in_hand + len(back) == 8


def test_ten_failures_in_a_row_recycle_the_worker() -> None:
    bench = Bench()
    for _ in range(9):
        bench.crew.charged(0, MS, died=False)
    bench.crew.scored(0, MS)
    for _ in range(9):
        bench.crew.charged(0, MS, died=False)
    assert ("stop", 0) not in bench.engine.did
    bench.crew.charged(0, MS, died=False)
    assert bench.engine.did[-1] == ("stop", 0)
    assert 0 not in bench.grant()  # it gets nothing more
    bench.crew.gone(WorkerGone(0, 1, True, "exited with code 0"))
    assert bench.engine.did[-1] == ("start", 0)


def test_what_a_recycled_worker_has_not_started_goes_to_others() -> None:
    bench = Bench()
    bench.grant()
    bench.engine.hands[0] = [Lease(90 + number, 90, 1, 1) for number in range(4)]
    for _ in range(10):
        bench.crew.charged(0, MS, died=False)
    bench.score(1, MS)
    bench.grant()
    assert [lease.batch for lease in bench.engine.hands[1]][:3] == [91, 92, 93]


def test_deaths_do_not_recycle_the_next_worker() -> None:
    bench = Bench()
    for _ in range(25):
        bench.crew.charged(0, MS, died=True)
    assert ("stop", 0) not in bench.engine.did


def test_a_new_worker_knows_how_long_run_takes() -> None:
    bench = Bench(slots=1)
    bench.grant()
    bench.score(0, MS // 10)
    bench.engine.die(0)
    bench.crew.gone(WorkerGone(0, 1, False, ""))
    bench.ready(0)
    assert bench.grant() == {0: 16}


def test_three_failed_inits_close_a_slot_and_the_last_slot_ends_the_run() -> None:
    bench = Bench()
    decisions = []
    for slot in (0, 0, 0, 1, 1, 1):
        bench.engine.die(slot)
        decisions.append(bench.crew.failed_init(InitFailed(slot, 1, FAILURE)))
        bench.crew.gone(WorkerGone(slot, 1, False, ""))
    restart = InitDecision.RESTART
    assert decisions == [restart, restart, InitDecision.CLOSE_SLOT, restart, restart, InitDecision.END_RUN]
    assert bench.crew.live == 0
    assert [slot for what, slot in bench.engine.did if what == "start"] == [0, 1, 0, 0, 1, 1]


def test_before_anybody_passed_init_the_first_failure_decides() -> None:
    crew = Crew(Engine(Clock()), [Slot(0, (), 1), Slot(1, (), 1)])
    crew.open(0)
    crew.open(1)
    assert crew.failed_init(InitFailed(1, 1, FAILURE)) is InitDecision.END_RUN


@pytest.mark.parametrize("how", ["dismiss", "kill"])
def test_the_end(how: str) -> None:
    bench = Bench()
    getattr(bench.crew, how)()
    assert bench.engine.did[2:] == [("stop" if how == "dismiss" else "kill", slot) for slot in (0, 1)]
    assert (bench.crew.ready, bench.crew.live, bench.grant()) == (0, 2, {})
    for slot in (0, 1):
        bench.crew.gone(WorkerGone(slot, 1, True, ""))
    assert bench.crew.live == 0
    assert len(bench.engine.did) == 4  # nobody was replaced


@pytest.mark.parametrize("now", [False, True])
def test_a_retired_place_stays_empty_until_it_is_opened_again(now: bool) -> None:
    bench = Bench()
    bench.grant()
    bench.engine.hands[1] = [Lease(90 + number, 90, 1, 1) for number in range(3)]
    bench.crew.retire(1, now=now)
    assert bench.engine.did[-1] == ("kill" if now else "stop", 1)
    bench.crew.gone(WorkerGone(1, 1, True, ""))
    assert (bench.crew.live, bench.crew.ready) == (1, 1)
    bench.score(0, MS)
    bench.grant()
    assert [lease.batch for lease in bench.engine.hands[0]][:2] == [91, 92]  # what it had not started
    bench.crew.open(1)
    assert bench.engine.did[-1] == ("start", 1)
    assert (bench.crew.live, bench.crew.most) == (2, 2)


def test_one_is_kept_and_it_is_the_last_that_became_ready() -> None:
    bench = Bench(slots=3)
    bench.engine.die(0)
    bench.crew.gone(WorkerGone(0, 1, False, ""))  # its successor is in init()
    assert bench.crew.keep_one() == [0, 1]
    assert bench.engine.did[-2:] == [("stop", 0), ("stop", 1)]
    for slot in (0, 1):
        bench.crew.gone(WorkerGone(slot, 1, True, ""))
    assert bench.crew.keep_one() == []
    assert (bench.crew.live, bench.crew.ready) == (1, 1)
    assert bench.grant() == {2: 1}


def test_who_is_on_his_way_out_is_not_the_one_that_is_kept() -> None:
    bench = Bench(slots=2)
    bench.engine.immortal = True  # takes his time
    assert bench.crew.keep_one() == [0]
    bench.engine.die(1)
    bench.crew.gone(WorkerGone(1, 1, False, "exited with code 1"))
    assert bench.engine.did[-1] == ("start", 1)
    assert bench.crew.keep_one() == []  # its successor, in init(), is the last
    assert (bench.crew.live, bench.crew.ready) == (2, 0)


def test_who_becomes_ready_while_he_is_told_to_leave_is_not_the_one_that_is_kept() -> None:
    bench = Bench(slots=2)
    bench.engine.immortal = True  # takes his time
    assert bench.crew.keep_one() == [0]
    bench.ready(0)  # it was said before the kill arrived
    assert bench.crew.ready == 1
    assert bench.crew.keep_one() == []
    assert ("stop", 1) not in bench.engine.did


def test_neighbours_share_a_gpu() -> None:
    engine = Engine(Clock())
    crew = Crew(engine, [Slot(index, (), 1, gpu) for index, gpu in enumerate(("a", "b", "a", "a", None))])
    for index in (0, 1, 2, 4):
        crew.open(index)
    assert (crew.neighbours(0), crew.neighbours(1), crew.neighbours(4)) == ((2,), (), ())
