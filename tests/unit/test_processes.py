"""The door to child processes, with real children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchctl import processes
from tests.contract.engine_bench import alive, children, wait_for

FROZEN = {"LD_LIBRARY_PATH": "/tmp/_MEI1", "LD_LIBRARY_PATH_ORIG": "/usr/lib", "_MEIPASS2": "x", "PYTHONHOME": "y"}

# name: (our environment, extra, what must come of it; None: absent)
ENVIRONMENTS = {
    "as it is": ({"A": "1"}, {}, {"A": "1"}),
    "extra wins": ({"A": "1"}, {"A": "2", "B": "3"}, {"A": "2", "B": "3"}),
    "the user's library path is the user's": ({"LD_LIBRARY_PATH": "/opt"}, {}, {"LD_LIBRARY_PATH": "/opt"}),
    "of a frozen binary": (
        {**FROZEN, "_PYI_ARCHIVE_FILE": "z", "PYINSTALLER_X": "w", "_BATCHCTL_LAUNCHER": "3 /opt/batchctl"},
        {},
        {
            "LD_LIBRARY_PATH": "/usr/lib",
            "LD_LIBRARY_PATH_ORIG": None,
            "_MEIPASS2": None,
            "PYTHONHOME": None,
            "_PYI_ARCHIVE_FILE": None,
            "PYINSTALLER_X": None,
            "_BATCHCTL_LAUNCHER": None,
        },
    ),
    "extra may bring back what is scrubbed": ({"PYTHONHOME": "y"}, {"PYTHONHOME": "z"}, {"PYTHONHOME": "z"}),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_child_environment(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, extra, expected = ENVIRONMENTS[case]
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    found = processes.child_environment(extra)
    assert {name: found.get(name) for name in expected} == expected


def test_a_frozen_binary_without_a_library_path_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/cache/tree/_internal")
    monkeypatch.delenv("LD_LIBRARY_PATH_ORIG", raising=False)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", "/cache/tree/_internal", raising=False)
    assert "LD_LIBRARY_PATH" not in processes.child_environment({})
    # start() has cleaned our own environment by then: what is left is the user's.
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt")
    assert processes.child_environment({})["LD_LIBRARY_PATH"] == "/opt"


def spawned(code: str, *, environment: dict[str, str] | None = None, stderr: int = 2, fds: tuple[int, ...] = ()) -> int:
    env = {**os.environ, **(environment or {})}
    return processes.spawn([sys.executable, "-SE", "-c", code], env, pass_fds=fds, stderr=stderr)


def is_open(fd: int) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_spawn_gives_a_group_plain_signals_and_no_descriptor_but_those_passed() -> None:
    ours, theirs = socket.socketpair()
    stranger = os.open("/dev/null", os.O_RDONLY)
    given = {fd for fd in range(3, 1024) if is_open(fd) and os.get_inheritable(fd)}
    assert stranger not in given
    told = (
        "import os, signal, socket, sys\n"
        f"s = socket.socket(fileno={theirs.fileno()})\n"
        "plain = all(signal.getsignal(n) == signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGHUP))\n"
        "fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "s.sendall(repr((os.getpgrp() == os.getpid(), plain, os.readlink('/proc/self/fd/0'), fds)).encode())\n"
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        pid = spawned(told, fds=(theirs.fileno(),))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not os.get_inheritable(theirs.fileno())
    group, plain, stdin, fds = eval(ours.recv(4096))
    assert os.waitpid(pid, 0)[1] == 0
    assert (group, plain, stdin) == (True, True, "/dev/null")
    inherited = {fd for fd in map(int, os.listdir("/proc/self/fd")) if fd in given}  # from whoever started us
    listing = 1
    assert len(set(fds) - {0, 1, 2, theirs.fileno()} - inherited) <= listing
    for end in (ours, theirs):
        end.close()
    os.close(stranger)


def test_spawn_sends_both_streams_to_one_place() -> None:
    read_end, write_end = os.pipe()
    pid = spawned("import os; os.write(1, b'one '); os.write(2, b'two')", stderr=write_end)
    os.waitpid(pid, 0)
    os.close(write_end)
    assert os.read(read_end, 100) == b"one two"
    os.close(read_end)


def test_what_cannot_be_spawned_is_an_os_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        processes.spawn(["/nowhere/python"], {})


def test_reap_children_tells_each_once() -> None:
    processes.reap_children()
    pids = {spawned(f"import os; os._exit({code})"): code for code in (0, 3)}
    found: dict[int, int] = {}

    def all_told() -> bool:
        found.update(processes.reap_children())
        return found.keys() >= pids.keys()

    wait_for(all_told, "both to be reaped")
    assert {pid: os.waitstatus_to_exitcode(found[pid]) for pid in pids} == pids
    assert processes.reap_children() == []


def test_signals_to_those_who_are_gone() -> None:
    pid = spawned("pass")
    processes.await_end([pid], seconds=10)
    os.waitpid(pid, 0)
    assert not processes.kill_process(pid, 9)
    assert not processes.kill_group(pid, 9)
    assert not processes.is_stopped(pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process that it may then not signal")
def test_signals_to_those_who_changed_their_user() -> None:
    pid = spawned("import signal\nwhile True: signal.pause()")
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os._exit(processes.kill_process(pid, 9) * 2 + processes.kill_group(pid, 9))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert processes.kill_group(pid, 9)
    os.waitpid(pid, 0)


def test_is_stopped() -> None:
    pid = spawned("import signal\nwhile True: signal.pause()")
    assert not processes.is_stopped(pid)
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    assert processes.is_stopped(pid)
    assert processes.kill_process(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_await_end_waits_for_the_dead_and_not_for_the_living() -> None:
    ended, living = spawned("pass"), spawned("import signal\nwhile True: signal.pause()")
    processes.await_end([ended, 1 << 22], seconds=10)
    assert not alive(ended)
    began = time.monotonic()
    processes.await_end([living, living], seconds=0.05)
    assert 0.04 < time.monotonic() - began < 60
    assert alive(living)
    os.kill(living, signal.SIGKILL)
    processes.await_end([living], seconds=10)
    assert not alive(living)
    for pid in (ended, living):
        os.waitpid(pid, 0)


def test_leftovers_are_known_by_the_run_id() -> None:
    mine, other = os.urandom(8).hex(), os.urandom(8).hex()
    processes.become_subreaper()
    stay = "import os, signal, sys\nif os.fork(): os.fork()\nelse: os.setsid()\nos.write(1, b'.')\n"
    stay += "while True: signal.pause()\n"
    read_end, write_end = os.pipe()
    first = spawned(stay, environment={processes.RUN_ID_VARIABLE: mine}, stderr=write_end)
    innocent = spawned(stay, environment={processes.RUN_ID_VARIABLE: other}, stderr=write_end)
    os.close(write_end)
    said = b""
    while len(said) < 6:
        said += os.read(read_end, 10)
    assert processes.end_leftovers(mine) == 3
    assert not alive(first)
    assert alive(innocent)
    assert processes.end_leftovers(mine) == 0
    assert processes.end_leftovers(other) == 3
    os.close(read_end)
    wait_for(lambda: not processes.reap_children() and not {first, innocent} & children(), "all to be reaped")


def test_a_run_that_nobody_carries_ends_nobody() -> None:
    assert processes.end_leftovers(os.urandom(8).hex()) == 0


def test_ours_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = os.urandom(8).hex()
    code = f"from batchctl import processes; print(processes.end_leftovers({run_id!r}))"
    environment = {**os.environ, processes.RUN_ID_VARIABLE: run_id}
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=root
    )
    assert (ran.returncode, ran.stdout) == (0, "0\n")
