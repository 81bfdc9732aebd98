"""The near side of a worker: serials, what can be taken back, and what becomes of leases when it has died."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from batchctl.engine.worker import Phase, Worker
from batchctl.guest import page, wire
from batchctl.model.events import Event, InitFailed, LeaseFailed, LeasesReturned, LeasesScored, WorkerReady
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from batchctl.model.outcome import FailureKind, Shortage
from tests.contract.engine_bench import Sink

LEASES = [Lease(number, number * 10, 10, 1) for number in range(8)]


class Far:
    """A worker whose far end is played by the test: `worker` is ours, `channel` and `page` are the process's."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.worker = Worker(Slot(3, (), 1), 7, 5, log_sink=self.sink, started_ns=page.now_ns())
        self.channel = socket.socket(fileno=os.dup(self.worker.ends.channel.fileno()))
        self.page = page.Page(self.worker.ends.page)
        self.log = os.dup(self.worker.ends.log)
        self.worker.ends.close()
        self.decoder = wire.Decoder()

    def serials(self) -> list[int]:
        frames = self.decoder.feed(self.channel.recv(1 << 16))
        return [record[0] for frame in frames for record in wire.lease_records(frame.head)]

    def say(self, kind: int, head: bytes = b"{}", body: bytes = b"", *, epoch: int = 7, incarnation: int = 5) -> None:
        self.channel.sendall(wire.encode(kind, epoch, incarnation, head, body))

    def score(self, serial: int) -> None:
        self.say(wire.SCORED, wire.SCORED_RECORD.pack(serial, *LEASES[serial - 1], 0, 0, 0, 10, 5, 6))

    def heard(self) -> list[Event]:
        events: list[Event] = []
        self.worker.read_channel(events)
        return events

    def buried(self, *, charge: bool = True, cause: str = "it fell", shortage: Shortage = Shortage.NONE) -> list[Event]:
        events: list[Event] = []
        self.worker.conclude(events, cause=cause, charge=charge, shortage=shortage)
        assert not self.worker.outstanding
        return events


@pytest.fixture
def far() -> Iterator[Far]:
    found = Far()
    found.worker.phase, found.worker.ready = Phase.READY, True
    yield found
    found.worker.close()
    found.channel.close()
    found.page.close()
    os.close(found.log)


def test_serials_count_from_one_over_all_sends(far: Far) -> None:
    far.worker.send(LEASES[:2])
    far.worker.send(LEASES[2:3])
    assert far.serials() == [1, 2, 3]
    assert far.worker.outstanding == dict(enumerate(LEASES[:3], 1))


# name: (serial that the page shows, answered, leases taken back, serials void then)
TAKING = {
    "nothing begun": (0, [], [1, 2, 3, 4], [1, 2, 3, 4]),
    "the first is in run": (1, [], [2, 3, 4], [2, 3, 4]),
    "two answered, the third in run": (3, [1, 2], [4], [4]),
    "all begun": (4, [1, 2], [], []),
    "all answered": (4, [1, 2, 3, 4], [], []),
}


@pytest.mark.parametrize("case", TAKING)
def test_take_back(far: Far, case: str) -> None:
    reached, answered, back, void = TAKING[case]
    far.worker.send(LEASES[:4])
    far.page.put(page.RUN, reached, page.now_ns())
    for serial in answered:
        far.score(serial)
    events = far.heard() if answered else []
    assert len(events) == len(answered)
    assert far.worker.take_back() == tuple(LEASES[serial - 1] for serial in back)
    assert [serial for serial in range(1, 9) if far.page.is_void(serial)] == void
    assert sorted(far.worker.outstanding) == sorted(set(range(1, 5)) - set(back) - set(answered))


def test_what_was_taken_back_before_stays_void(far: Far) -> None:
    far.worker.send(LEASES[:3])
    far.page.put(page.RUN, 1, page.now_ns())
    far.worker.take_back()
    far.worker.send(LEASES[3:5])
    assert not far.page.is_void(4)
    far.worker.take_back()
    assert [serial for serial in range(1, 9) if far.page.is_void(serial)] == [2, 3, 4, 5]
    far.worker.send(LEASES[5:6])
    assert not far.page.is_void(6)
    far.score(2)  # begun at that very moment: its answer is dropped
    assert far.heard() == []


# name: (state, serial on the page, phase, charge) -> (charged serial or None, unsent, returned)
DEATHS = {
    "in run": (page.RUN, 2, Phase.READY, True, (2, [1], [3, 4])),
    "in render": (page.RENDER, 2, Phase.READY, True, (None, [1, 2], [3, 4])),
    "in send": (page.SEND, 4, Phase.READY, True, (None, [1, 2, 3, 4], [])),
    "idle, nothing begun": (page.IDLE, 0, Phase.READY, True, (None, [], [1, 2, 3, 4])),
    "in run, told to stop": (page.RUN, 2, Phase.STOPPING, True, (2, [1], [3, 4])),
    "in run, on our order": (page.RUN, 2, Phase.KILLED, False, (None, [1, 2], [3, 4])),
    "in a run that was taken back": (page.RUN, 9, Phase.READY, True, (None, [1, 2, 3, 4], [])),
}


@pytest.mark.parametrize("case", DEATHS)
def test_what_becomes_of_leases_at_a_death(far: Far, case: str) -> None:
    state, serial, phase, charge, (charged, unsent, returned) = DEATHS[case]
    far.worker.send(LEASES[:4])
    far.page.put(state, serial, page.now_ns())
    far.worker.phase = phase
    events = far.buried(charge=charge)
    failed = [event.lease for event in events if isinstance(event, LeaseFailed)]
    assert failed == ([LEASES[charged - 1]] if charged else [])
    back = [event for event in events if isinstance(event, LeasesReturned)]
    assert sorted(lease for event in back if event.unsent for lease in event.leases) == [LEASES[n - 1] for n in unsent]
    assert [lease for event in back if not event.unsent for lease in event.leases] == [LEASES[n - 1] for n in returned]


# name: (state, serial on the page, phase, charge, its fault) -> those who are counted for it
ANSWERS = {
    "in run: who is charged answers for all": (page.RUN, 2, Phase.READY, True, "", []),
    "in render: what it rendered": (page.RENDER, 3, Phase.READY, True, "", [3]),
    "in render, on our order: what it had begun": (page.RENDER, 3, Phase.KILLED, False, "", [1, 2, 3]),
    "in render of what was taken back: what it had begun": (page.RENDER, 9, Phase.READY, True, "", [1, 2, 3, 4]),
    "in send: what it had begun": (page.SEND, 2, Phase.READY, True, "", [1, 2]),
    "idle, nothing begun: all": (page.IDLE, 0, Phase.READY, True, "", [1, 2, 3, 4]),
    "broke the protocol, in run by now: what it had begun": (page.RUN, 3, Phase.READY, True, "frames", [1, 2]),
    "broke the protocol, in render by now: what it had begun": (page.RENDER, 3, Phase.READY, True, "frames", [1, 2, 3]),
}


@pytest.mark.parametrize("state", [page.RUN, page.RENDER])
def test_what_was_short_of_memory_answers_for_the_others(far: Far, state: int) -> None:
    far.worker.send(LEASES[:4])
    far.page.put(state, 2, page.now_ns())
    far.worker.phase = Phase.READY
    failed, *back = far.buried(shortage=Shortage.MEMORY)
    assert isinstance(failed, LeaseFailed)
    assert failed.lease == LEASES[1]
    assert [event.cleared for event in back if isinstance(event, LeasesReturned)] == [True, True]


def test_a_late_worker_that_moved_on_has_nobody_who_answers_for_its_end(far: Far) -> None:
    far.worker.send(LEASES[:3])
    far.page.put(page.RUN, 1, page.now_ns())
    far.worker.phase = Phase.READY
    far.worker.mark_late("it is late")
    far.page.put(page.RUN, 2, page.now_ns())
    back = [event for event in far.buried() if isinstance(event, LeasesReturned)]
    assert [(event.leases, event.cleared) for event in back] == [(tuple(LEASES[:2]), False), (tuple(LEASES[2:3]), True)]


@pytest.mark.parametrize("case", ANSWERS)
def test_who_has_to_answer_for_a_death(far: Far, case: str) -> None:
    state, serial, phase, charge, fault, counted = ANSWERS[case]
    far.worker.send(LEASES[:4])
    far.page.put(state, serial, page.now_ns())
    far.worker.phase, far.worker.fault = phase, fault
    back = [event for event in far.buried(charge=charge) if isinstance(event, LeasesReturned)]
    assert [lease for event in back if not event.cleared for lease in event.leases] == [LEASES[n - 1] for n in counted]


def test_what_it_had_sent_counts_and_what_it_printed_is_told(far: Far) -> None:
    far.worker.send(LEASES[:2])
    far.score(1)
    far.page.put(page.RUN, 2, page.now_ns())
    os.write(far.log, b"the last words\n")
    scored, failed = far.buried(cause="killed by SIGSEGV")
    assert isinstance(scored, LeasesScored)
    assert isinstance(failed, LeaseFailed)
    assert failed.failure.kind is FailureKind.LOST
    assert (failed.failure.message, failed.failure.traceback) == ("killed by SIGSEGV", "the last words\n")


def test_a_late_worker_is_charged_for_the_late_lease_only(far: Far) -> None:
    for moved_on in (False, True):
        far.worker.send(LEASES[:2])
        far.page.put(page.RUN, 1 + 2 * moved_on, page.now_ns())
        far.worker.phase = Phase.READY
        far.worker.mark_late("it is late")
        if moved_on:
            far.page.put(page.RUN, 4, page.now_ns())  # it came back just before the signal
        kinds = [type(event) for event in far.buried()]
        assert kinds == ([LeasesReturned] if moved_on else [LeaseFailed, LeasesReturned])


# name: (phase before it was late, what was said meanwhile, phase after it is forgiven)
FORGIVEN = {
    "ready": (Phase.READY, "", Phase.READY),
    "stopping": (Phase.STOPPING, "", Phase.STOPPING),
    "in init, and ready then": (Phase.STARTING, "", Phase.READY),
    "told to stop meanwhile": (Phase.READY, "stop", Phase.STOPPING),
    "told to stop in init": (Phase.STARTING, "stop", Phase.STOPPING),
    "killed meanwhile": (Phase.READY, "kill", Phase.KILLED),
}


@pytest.mark.parametrize("case", FORGIVEN)
def test_a_late_worker_that_comes_back(far: Far, case: str) -> None:
    before, said, after = FORGIVEN[case]
    far.worker.phase = before
    far.worker.mark_late("it is late")
    if said == "stop":
        far.worker.tell_to_stop()
        assert far.worker.phase is Phase.LATE
    elif said == "kill":
        far.worker.phase = Phase.KILLED
    far.worker.forgive()
    assert far.worker.phase is after


# name: (phase when it says that it is ready, told to leave) -> is anybody told?
READY = {
    "in time": (Phase.STARTING, False, True),
    "late": (Phase.LATE, False, True),
    "killed": (Phase.KILLED, False, False),
    "late, and told to leave": (Phase.LATE, True, False),
}


@pytest.mark.parametrize("case", READY)
def test_who_is_told_to_leave_or_killed_is_not_ready_for_anybody(far: Far, case: str) -> None:
    far.worker.phase, told, heard = READY[case]
    far.worker.ready, far.worker.told_ns = False, page.now_ns() if told else 0
    far.say(wire.READY, b'{"init_s": 1.5, "import_s": 0.5}')
    assert [type(event) for event in far.heard()] == ([WorkerReady] if heard else [])
    assert far.worker.ready


@pytest.mark.parametrize(("epoch", "incarnation"), [(6, 5), (7, 4)])
def test_an_old_voice_is_not_heard(far: Far, epoch: int, incarnation: int) -> None:
    far.worker.send(LEASES[:1])
    far.say(wire.BYE, epoch=epoch, incarnation=incarnation)
    with pytest.raises(wire.ProtocolError):
        far.heard()
    far.score(1)
    far.worker.fault = "it broke the protocol"
    assert [type(event) for event in far.buried()] == [LeasesReturned]  # nor anything that follows


def test_ready_and_init_failed(far: Far) -> None:
    far.worker.phase, far.worker.ready = Phase.STARTING, False
    far.say(wire.READY, b'{"init_s": 0.5}')
    assert far.heard() == [WorkerReady(3, 5, 0, 0.5)]
    assert far.worker.phase is Phase.READY
    far.say(wire.INIT_FAILED, b'{"error": "E", "message": "m"}')
    assert far.heard() == []
    (failed,) = far.buried()
    assert isinstance(failed, InitFailed)
    assert failed.failure.error == "E"


# name: (phase, charge, kind of the InitFailed that is told, or None)
DEATHS_IN_INIT = {
    "by itself": (Phase.STARTING, FailureKind.LOST),
    "past init_timeout": (Phase.LATE, FailureKind.TIMED_OUT),
    "on our order": (Phase.KILLED, None),
}


@pytest.mark.parametrize("case", DEATHS_IN_INIT)
def test_a_death_in_init(far: Far, case: str) -> None:
    phase, kind = DEATHS_IN_INIT[case]
    far.worker.phase, far.worker.ready = phase, False
    events = far.buried()
    assert [event.failure.kind for event in events if isinstance(event, InitFailed)] == ([kind] if kind else [])


def test_a_worker_that_hears_nothing_is_told_apart_from_one_that_died(far: Far) -> None:
    with pytest.raises(wire.ProtocolError, match="full"):
        for _ in range(100_000):
            far.worker.send(LEASES)
    far.channel.close()
    far.worker.send(LEASES)  # its death will be reported


def test_a_flood_is_read_in_rounds(far: Far) -> None:
    os.set_blocking(far.log, False)
    sent = 0
    try:
        while True:
            sent += os.write(far.log, b"x" * 65536)
    except BlockingIOError:
        pass
    assert far.worker.read_log()
    assert 0 < far.sink.size < sent
    while far.sink.size < sent:
        assert far.worker.read_log()
