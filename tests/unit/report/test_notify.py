"""Notifier against a socket of our own: what is said, how often, and that nothing it meets ends a run."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from batchctl.model.progress import Progress, RunState
from batchctl.report.notify import LEAVING_S, STATUS_INTERVAL_S, Notifier

MOMENT = Progress("r", RunState.RUNNING, 1, 7, 100, 12, 0, 10, 1, 12, 3.0, 4.0, 22.0)


class Listener:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """The messages that have arrived since the last call."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(8192).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@batchctl-test-{os.getpid()}"
    found = Listener(address)
    yield found
    found.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_life_in_order(listener: Listener, clock: Clock) -> None:
    with Notifier(listener.address, watchdog_s=0.0, clock=clock) as notifier:
        notifier.starting("listing the inputs")
        notifier.ready()
        notifier.ready()
        notifier.progress(MOMENT)
        notifier.stopping(within_s=60.0)
        notifier.stopping(within_s=10.0)
    notifier.close()
    extended = [f"EXTEND_TIMEOUT_USEC={int((seconds + LEAVING_S) * 1e6)}" for seconds in (60, 10)]
    assert listener.heard() == [
        "STATUS=listing the inputs\nEXTEND_TIMEOUT_USEC=3600000000",
        "READY=1",
        "STATUS=running 12/100 (12.0%) 4.0/s eta 22s",
        f"STOPPING=1\n{extended[0]}",
        extended[1],
    ]


@pytest.mark.parametrize(
    ("ready", "last"), [pytest.param(True, ["STOPPING=1"], id="ready"), pytest.param(False, [], id="never ready")]
)
def test_the_end_is_told_once_where_the_start_was(
    listener: Listener, clock: Clock, ready: bool, last: list[str]
) -> None:
    notifier = Notifier(listener.address, watchdog_s=0.0, clock=clock)
    if ready:
        notifier.ready()
    listener.heard()
    notifier.close()
    notifier.close()
    assert listener.heard() == last


def test_the_status_line_has_a_bounded_rate(listener: Listener, clock: Clock) -> None:
    with Notifier(listener.address, watchdog_s=0.0, clock=clock) as notifier:
        said = 0
        for _ in range(3000):  # 30 s in steps of 10 ms
            if notifier.due():
                notifier.progress(MOMENT)
            clock.now += 0.01
            said += len(listener.heard())
        assert said == 30 / STATUS_INTERVAL_S
        notifier.progress(MOMENT._replace(state=RunState.PAUSED))
        assert listener.heard() == ["STATUS=paused 12/100 (12.0%)"], "a change of state is told at once"


def test_the_watchdog_is_fed_faster_than_it_bites(listener: Listener, clock: Clock) -> None:
    with Notifier(listener.address, watchdog_s=3.0, clock=clock) as notifier:
        notifier.ready()
        assert listener.heard() == ["READY=1", "WATCHDOG=1"]
        fed = []
        for _ in range(1200):
            clock.now += 0.01
            notifier.alive()
            fed += [clock.now] * len(listener.heard())
        gaps = [later - earlier for earlier, later in pairwise(fed)]
        assert len(fed) in (11, 12)
        assert max(gaps) <= 1.5


def test_the_end_is_fed_by_a_thread_that_close_ends(listener: Listener, clock: Clock) -> None:
    notifier = Notifier(listener.address, watchdog_s=0.06, clock=clock)
    listener._socket.setblocking(True)
    listener._socket.settimeout(20.0)
    notifier.ending()
    notifier.ending()
    assert [listener._socket.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5, "no loop turns, and still it is fed"
    notifier.close()
    listener._socket.setblocking(False)
    listener.heard()
    assert notifier._feeder is not None
    assert not notifier._feeder.is_alive()


@pytest.mark.parametrize(
    ("environ", "listens", "watchdog_s"),
    [
        pytest.param({}, False, 0.0, id="nothing"),
        pytest.param({"NOTIFY_SOCKET": "/run/n"}, True, 0.0, id="path"),
        pytest.param({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "2000000"}, True, 2.0, id="watchdog"),
        pytest.param({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, True, 0.0, id="not us"),
        pytest.param(
            {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, True, 2.0, id="us"
        ),
        pytest.param({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "-3"}, True, 0.0, id="nonsense"),
        pytest.param({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1"}, True, 0.03, id="shorter than can be fed"),
        pytest.param({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": str(2**64 - 1)}, True, 0.0, id="infinity"),
        pytest.param({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "9" * 5000}, True, 0.0, id="more digits than int takes"),
        pytest.param({"NOTIFY_SOCKET": "vsock:2:9"}, False, 0.0, id="another family"),
        pytest.param({"NOTIFY_SOCKET": "relative"}, False, 0.0, id="relative"),
    ],
)
def test_what_is_asked_for(environ: dict[str, str], listens: bool, watchdog_s: float, clock: Clock) -> None:
    environ["PATH"] = "/bin"
    with Notifier.of(environ, clock=clock) as notifier:
        assert (notifier._socket is not None) == listens
        assert notifier._feed_every * 3 == pytest.approx(watchdog_s)
    assert environ == {"PATH": "/bin"}, "the variables are this process's alone"


@pytest.mark.parametrize(
    "address", [pytest.param("/nowhere/notify", id="gone"), pytest.param("/" + "x" * 300, id="too long for a socket")]
)
def test_a_listener_that_is_not_there_ends_nothing(address: str, clock: Clock) -> None:
    with Notifier(address, watchdog_s=1.0, clock=clock) as notifier:
        notifier.starting("x")
        notifier.ready()
        notifier.progress(MOMENT, force=True)
        notifier.stopping(within_s=1.0)


def test_what_must_arrive_goes_out_with_the_next_message(tmp_path: Path, clock: Clock) -> None:
    address = str(tmp_path / "late")
    with Notifier(address, watchdog_s=0.0, clock=clock) as notifier:
        notifier.ready()
        late = Listener(address)
        notifier.progress(MOMENT)
        assert late.heard() == ["READY=1\nSTATUS=running 12/100 (12.0%) 4.0/s eta 22s"]
    assert late.heard() == ["STOPPING=1"]
    late.close()


def test_a_listener_that_does_not_read_holds_nothing_up(listener: Listener, clock: Clock) -> None:
    with Notifier(listener.address, watchdog_s=0.0, clock=clock) as notifier:
        for _ in range(2000):  # far more than a socket's queue holds
            notifier.progress(MOMENT, force=True)
        assert 0 < len(listener.heard()) < 2000
