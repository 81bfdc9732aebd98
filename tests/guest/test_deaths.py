"""How workers die, and that each death is told with its status while the page says what the worker was doing."""

from __future__ import annotations

import os
import signal

import pytest
from guest_driver import Server, wait_until_gone

from batchctl.guest import page as pages
from batchctl.guest import wire

HEAD = "import ctypes, os, signal, sys, time\n"
ECHO = "def run(mini_batch):\n    return mini_batch\n"

DEATHS = {
    "os._exit": ("os._exit(1)", 1),
    "SIGKILLs itself": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(1000)", -signal.SIGTERM),
    "segfault": ("ctypes.string_at(0)", -signal.SIGSEGV),
    "abort": ("os.abort()", -signal.SIGABRT),
}


@pytest.mark.parametrize("case", DEATHS)
def test_death_in_run(server: Server, case: str) -> None:
    statement, code = DEATHS[case]
    worker = server.worker(f"{HEAD}def run(b):\n    if len(b) > 1: {statement}\n    return b\n")
    other = server.fork()
    other.ready()
    worker.lease((0, 0, 1), (0, 0, 2), (0, 0, 1))
    assert os.waitstatus_to_exitcode(server.exited(worker)) == code
    found = worker.page.look()
    assert (found.state, found.serial) == (pages.RUN, 2)
    if case == "segfault":
        assert b"Segmentation fault" in worker.log()
    assert other.one(3) == server.items[3].encode() + b"\n"


def test_death_in_init_is_seen_on_the_page(server: Server) -> None:
    server.job(HEAD + "def init(): os._exit(9)\n" + ECHO)
    worker = server.fork()
    assert os.waitstatus_to_exitcode(server.exited(worker)) == 9
    assert worker.page.look().state == pages.INIT


def test_stopped_worker_can_be_killed(server: Server) -> None:
    worker = server.worker(f"{HEAD}def run(b):\n    print('here')\n    os.kill(os.getpid(), signal.SIGSTOP)\n")
    worker.lease((0, 0, 1))
    worker.log(b"here\n")
    os.killpg(worker.pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(server.exited(worker)) == -signal.SIGKILL
    assert worker.page.look().state == pages.RUN


def test_spinning_in_c_cannot_hold_off_the_kill(server: Server) -> None:
    worker = server.worker(f"{HEAD}def run(b):\n    print('here')\n    sum(range(10 ** 15))\n")
    worker.lease((0, 0, 1))
    worker.log(b"here\n")
    os.killpg(worker.pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(server.exited(worker)) == -signal.SIGTERM


def test_closing_low_descriptors_harms_nothing(server: Server) -> None:
    script = f"""{HEAD}
def init():
    os.closerange(0, 21)
def run(b):
    handles = [open(os.devnull) for _ in range(20)]
    return b
def shutdown():
    os.closerange(0, 21)
"""
    worker = server.worker(script)
    for first in range(5):
        assert worker.one(first) == server.items[first].encode() + b"\n"
    worker.stop()
    assert server.exited(worker) == 0


def test_failure_is_told_with_low_descriptors_closed(server: Server) -> None:
    worker = server.worker(f"{HEAD}def run(b):\n    os.closerange(0, 21)\n    raise ValueError('x')\n")
    assert worker.fail()["message"] == "x"
    assert worker.fail()["message"] == "x"


def test_script_that_closes_our_channel_ends(server: Server) -> None:
    worker = server.worker(f"{HEAD}def run(b):\n    os.closerange(3, 1000)\n    return b\n")
    worker.lease((0, 0, 1))
    assert os.waitstatus_to_exitcode(server.exited(worker)) == wire.EXIT_NO_POOL


def test_child_that_outlives_the_worker_is_killed_with_its_group(server: Server) -> None:
    script = f"""{HEAD}
def run(b):
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    print("child", pid)
    os._exit(1)
"""
    worker = server.worker(script)
    worker.lease((0, 0, 1))
    assert os.waitstatus_to_exitcode(server.exited(worker)) == 1
    child = int(worker.log().split()[-1])
    wait_until_gone(child)


def test_death_is_reported_though_a_stranger_holds_the_streams(server: Server) -> None:
    script = f"""{HEAD}
def run(b):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        print("child", os.getpid(), flush=True)
        time.sleep(1000)
    time.sleep(1000)
"""
    worker = server.worker(script)
    worker.lease((0, 0, 1))
    child = int(worker.log(b"\n").split()[-1])
    os.kill(worker.pid, signal.SIGKILL)
    try:
        assert os.waitstatus_to_exitcode(server.exited(worker)) == -signal.SIGKILL
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("how", ["returns", "raises", "exits"])
def test_a_forked_child_that_comes_back_out_of_run_never_answers(server: Server, how: str) -> None:
    ending = {"returns": "return ['child']", "raises": "raise ValueError('child')", "exits": "sys.exit(3)"}[how]
    script = f"""{HEAD}
def run(b):
    pid = os.fork()
    if pid == 0:
        {ending}
    os.waitpid(pid, 0)
    return ["parent"]
"""
    worker = server.worker(script)
    for _ in range(3):
        assert worker.one() == b"parent\n"
    worker.stop()
    assert server.exited(worker) == 0


# name: what the child does that the script forked, and where: {} is what it does, behind `if os.fork() == 0:`
WAYS = {"goes on": "pass", "raises": "raise ValueError('child')", "exits": "sys.exit(3)"}
PLACES = {
    "import": "{fork}\n" + ECHO,
    "init": "def init():\n    {fork}\n" + ECHO,
    "shutdown": ECHO + "def shutdown():\n    {fork}\n",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
def test_a_forked_child_that_comes_back_out_of_the_script_never_speaks(server: Server, place: str, way: str) -> None:
    """It comes back first, with all that the worker would do next; the worker waits for it and says how it ended."""
    marker = server.root / "told"
    fork = f"fork(lambda: exec({WAYS[way]!r}))" if way != "goes on" else "fork(lambda: None)"
    script = f"""{HEAD}import atexit
def fork(child):
    pid = os.fork()
    if pid == 0:
        return child()
    with open({str(marker)!r}, "w") as file:
        file.write("%d " % os.waitpid(pid, 0)[1])
me = os.getpid()
atexit.register(lambda: os.getpid() == me or os.write(1, b"called by the child"))
{PLACES[place].format(fork=fork)}"""
    worker = server.worker(script)
    if place != "shutdown":
        assert worker.page.look().state == pages.IDLE
    assert worker.one() == server.items[0].encode() + b"\n"
    worker.stop()
    assert not worker.frames
    assert server.exited(worker) == 0
    assert marker.read_text() == "0 "
    assert worker.log() == b""


def test_multiprocessing_inside_a_script(server: Server) -> None:
    script = f"""{HEAD}
import multiprocessing
def double(x): return 2 * x
def run(b):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(double, [1, 2, 3])
"""
    worker = server.worker(script)
    assert worker.one() == b"2\n4\n6\n"
    assert worker.one() == b"2\n4\n6\n"


def test_where_no_thread_can_be_started_results_are_sent_at_once(server: Server) -> None:
    """No stack of that size can be had, which is told as a limit on processes is."""
    gate = server.root / "open"
    script = f"""{HEAD}import threading
def init():
    threading.stack_size(1 << 46)
def run(b):
    while b[0] == {server.items[1]!r} and not os.path.exists({str(gate)!r}):
        time.sleep(0.002)
    return b
"""
    worker = server.worker(script)
    worker.lease(*[(0, number, 1) for number in range(6)])
    rows = [rows for _, rows in worker.scored()]
    gate.touch()
    rows += [rows for _, rows in worker.scored(5)]
    assert rows == [item.encode() + b"\n" for item in server.items[:6]]


def test_flood_of_output_is_drained_and_nothing_else(server: Server) -> None:
    worker = server.worker("def run(b):\n    print('x' * (1 << 20))\n    return b\n")
    worker.lease((0, 0, 1))
    assert len(worker.log(b"x\n")) == (1 << 20) + 1
    assert len(worker.scored()) == 1


def test_signals_are_plain_in_the_worker(server: Server) -> None:
    script = HEAD + (
        "def run(b):\n"
        "    names = ['SIGTERM', 'SIGHUP', 'SIGCHLD', 'SIGQUIT', 'SIGINT']\n"
        "    return [str(signal.getsignal(getattr(signal, n))) for n in names] + [signal.pthread_sigmask(0, ())]\n"
    )
    rows = server.worker(script).one().decode().splitlines()
    assert all("DFL" in row or row == "0" for row in rows[:4])
    assert "default_int_handler" in rows[4]
    assert rows[5] == "set()"
