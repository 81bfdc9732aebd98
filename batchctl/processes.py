"""The only door to child processes and the environment they get.

Children are started with `posix_spawn` from the caller's thread: the fork server must come from the coordinator's main
thread, because the parent-death signal follows the thread that started the child. Whoever spawns also reaps
(`reap_children`): the coordinator is a child subreaper, so strangers orphaned below it arrive here too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
RUN_ID_VARIABLE = "BATCHCTL_RUN_ID"
# What the frozen binary's boot loader leaves behind; a child that sees it loads our libraries instead of its own.
_LEFTOVERS = ("_MEIPASS2", "PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__", "LD_LIBRARY_PATH_ORIG")
_LEFTOVER_PREFIXES = ("_PYI_", "PYINSTALLER_")


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: ours, less what the frozen binary left in it, plus `extra`."""
    found = dict(os.environ)
    if getattr(sys, "frozen", False) or "LD_LIBRARY_PATH_ORIG" in found:
        original = found.pop("LD_LIBRARY_PATH_ORIG", None)
        if original is None:
            found.pop("LD_LIBRARY_PATH", None)
        else:
            found["LD_LIBRARY_PATH"] = original
    for name in list(found):
        if name in _LEFTOVERS or name.startswith(_LEFTOVER_PREFIXES):
            del found[name]
    found.update(extra)
    return found


def spawn(argv: Sequence[str], env: Mapping[str, str], *, pass_fds: Sequence[int] = (), stderr: int = 2) -> int:
    """Start `argv[0]` (an absolute path) in a process group of its own and return its pid.

    The child's standard input is /dev/null, its standard output and error are `stderr`; `pass_fds` are inherited under
    their own numbers, nothing else is. Raises OSError when the program cannot be started.
    """
    for fd in pass_fds:
        os.set_inheritable(fd, True)
    try:
        return os.posix_spawn(
            argv[0],
            list(argv),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, stderr, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ],
            setpgroup=0,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
        )
    finally:
        for fd in pass_fds:
            os.set_inheritable(fd, False)


def become_subreaper() -> bool:
    """Let orphans of our descendants become our children, so that none is left behind. False where prctl refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def reap_children() -> list[tuple[int, int]]:
    """(pid, wait status) of every child that has ended since the last call; never blocks."""
    found: list[tuple[int, int]] = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            found.append((pid, status))
    return found


def kill_group(group: int, number: int) -> bool:
    """Send a signal to a process group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def kill_process(pid: int, number: int) -> bool:
    """Send a signal to one process; False when it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def is_stopped(pid: int) -> bool:
    """Is the process stopped (SIGSTOP, a debugger)? A stopped process handles no signal but SIGKILL."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return text.rpartition(b")")[2].split()[0] in (b"T", b"t")


def _carriers(run_id: str) -> Iterator[int]:
    """Pids, other than ours, whose environment carries this run's id."""
    wanted = f"{RUN_ID_VARIABLE}={run_id}".encode()
    ours = os.getpid()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == ours:
            continue
        try:
            text = Path(f"/proc/{entry.name}/environ").read_bytes()
        except OSError:
            continue  # gone, or not ours to read: then it cannot be ours to end
        if wanted in text.split(b"\0"):
            yield int(entry.name)


def end_leftovers(run_id: str) -> int:
    """Kill every process of this run that is still alive (a crashed coordinator's, a script's stray children).

    Returns how many were killed. Looks until none is found, because a process may fork while it is being looked at.
    """
    killed = 0
    for _ in range(20):
        found = [pid for pid in _carriers(run_id) if kill_process(pid, signal.SIGKILL)]
        if not found:
            break
        killed += len(found)
        for pid in found:
            with contextlib.suppress(OSError), contextlib.closing(_PidFd(pid)) as handle:
                handle.wait(2.0)
        reap_children()
    return killed


class _PidFd:
    """A pidfd to wait on with a limit; the process need not be our child."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def wait(self, seconds: float) -> None:
        """Return when the process has ended or after `seconds`."""
        import select

        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll(int(seconds * 1000))

    def close(self) -> None:
        os.close(self._fd)
