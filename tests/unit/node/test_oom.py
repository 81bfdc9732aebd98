"""Whom the OOM killer killed: a real kill in a real cgroup, and books written by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from batchctl.node.kernel_log import KernelLog
from batchctl.node.oom import OomWatch
from tests.unit.node.real_cgroups import real_group, run_in

# In a group of 64 MiB: a child that is killed for memory, one that somebody kills, one that ends by itself.
CHILD = """
import os, signal, sys
from batchctl.node.oom import OomWatch
watch = OomWatch(**({"log": KernelLog(from_now=True, device="/none")} if sys.argv[1:] else {}))
def ended(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status), watch.was_killed(pid)
print(ended(lambda: os.kill(os.getpid(), signal.SIGKILL)))
print(ended(lambda: bytearray(b"x") * (200 << 20)))
print(ended(lambda: os.kill(os.getpid(), signal.SIGKILL)))
print(ended(lambda: bytearray(b"x") * (200 << 20)))
"""


@pytest.mark.parametrize("log", ["with the kernel's log", "by the counters alone"])
def test_a_real_kill(log: str) -> None:
    code = CHILD if log.startswith("with") else "from batchctl.node.kernel_log import KernelLog" + CHILD
    arguments = [] if log.startswith("with") else ["blind"]
    with real_group("memory", {"memory.limit_in_bytes": str(64 << 20)}) as group:
        said = run_in(group, [sys.executable, "-c", code, *arguments]).decode().splitlines()
    assert said == ["(True, False)", "(True, True)", "(True, False)", "(True, True)"]


class Books:
    """The kernel's books, by hand: v2, in a group of its own."""

    def __init__(self, tmp_path: Path, *, vmstat: str = "oom_kill 5\n", events: str = "oom 0\noom_kill 2\n") -> None:
        self.files = {
            "/proc/self/cgroup": "0::/a\n",
            "/proc/self/mountinfo": "30 23 0:26 / /c rw - cgroup2 cgroup2 rw\n",
            "/proc/vmstat": vmstat,
            "/c/a/memory.events": events,
        }
        self.log = tmp_path / "kmsg"
        self.log.write_text("6,1,1,-;Out of memory: Killed process 9 (old) total-vm:1kB\n")

    def watch(self, *, log: bool = True) -> OomWatch:
        name = self.log if log else Path("/none")
        return OomWatch(read=self.files.get, log=KernelLog(from_now=True, device=str(name)))

    def kill(self, pid: int, *, inside: bool = True) -> None:
        """The kernel kills somebody, in our group or elsewhere."""
        for name in ("/proc/vmstat", "/c/a/memory.events")[: 1 + inside]:
            lines = self.files[name].splitlines()
            words = [line.split() for line in lines]
            self.files[name] = "".join(f"{key} {int(n) + (key == 'oom_kill')}\n" for key, n in words)
        with self.log.open("a") as handle:
            handle.write(f"6,2,2,-;Memory cgroup out of memory: Killed process {pid} (x) total-vm:1kB\n")


def test_a_kill_explains_one_death(tmp_path: Path) -> None:
    books = Books(tmp_path)
    watch = books.watch(log=False)
    assert watch.was_killed(7) is False
    books.kill(7)
    assert watch.was_killed(7) is True
    assert watch.was_killed(8) is False
    books.kill(8)
    books.kill(9)
    assert [watch.was_killed(pid) for pid in (8, 9, 10)] == [True, True, False]


def test_the_log_tells_a_strangers_kill_from_ours(tmp_path: Path) -> None:
    books = Books(tmp_path, events="")
    watch = books.watch()
    books.kill(1234, inside=False)
    assert watch.was_killed(7) is False
    books.kill(8)
    assert watch.was_killed(8) is True
    assert watch.was_killed(7) is False
    watch.close()


def test_a_strangers_kill_is_none_of_ours_where_our_own_group_keeps_books(tmp_path: Path) -> None:
    books = Books(tmp_path)
    watch = books.watch(log=False)
    books.kill(1234, inside=False)
    assert watch.was_killed(7) is False
    books.kill(8)
    assert watch.was_killed(8) is True


def test_a_killed_child_of_a_worker_does_not_explain_the_workers_death(tmp_path: Path) -> None:
    books = Books(tmp_path)
    watch = books.watch()
    books.kill(99)
    assert watch.was_killed(7) is False
    watch.close()


def test_a_line_that_is_not_written_yet_means_nothing(tmp_path: Path) -> None:
    books = Books(tmp_path)
    watch = books.watch()
    books.files["/c/a/memory.events"] = "oom_kill 3\n"
    assert watch.was_killed(7) is True
    watch.close()


def test_books_that_cannot_be_read(tmp_path: Path) -> None:
    books = Books(tmp_path, vmstat="nr_free_pages 1\n", events="")
    assert books.watch().was_killed(7) is None


def test_books_that_appear_later_are_no_kill(tmp_path: Path) -> None:
    books = Books(tmp_path, events="")
    watch = books.watch(log=False)
    books.files["/c/a/memory.events"] = "oom_kill 3\n"
    assert watch.was_killed(7) is False
