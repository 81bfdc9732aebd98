"""The only door to child processes and the environment they get.

Children are started with `posix_spawn` from the caller's thread: the fork server must come from the coordinator's main
thread, because the parent-death signal follows the thread that started the child. Whoever spawns also reaps
(`reap_children`): the coordinator is a child subreaper, so strangers orphaned below it arrive here too. `fork_helper`
makes the one other kind of child: a copy of ourselves that helps with system calls and lives as long as its `Helper`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchctl import frozen
from batchctl.named_tuple import NamedTuple

if TYPE_CHECKING:  # `ctypes` and `socket` are loaded once the user's interpreter has been started: 4 ms each
    import socket

_PR_SET_PDEATHSIG = 1
_ENDING_MS = 20  # how long threads may take to end
_PR_SET_CHILD_SUBREAPER = 36
RUN_ID_VARIABLE = "BATCHCTL_RUN_ID"
# They tell an interpreter where it is installed: true of ours at best, and wrong for any other.
_OF_AN_INTERPRETER = ("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: ours, less what the packaged file left in it, plus `extra`."""
    found = dict(os.environ)
    frozen.clean(found)  # a child that sees its leftovers loads our libraries instead of its own
    for name in _OF_AN_INTERPRETER:
        found.pop(name, None)
    found.update(extra)
    return found


def spawn(argv: Sequence[str], env: Mapping[str, str], *, pass_fds: Sequence[int] = (), stderr: int = 2) -> int:
    """Start `argv[0]` (an absolute path) in a process group of its own and return its pid.

    The child's standard input is /dev/null, its standard output and error are `stderr`; `pass_fds` are inherited under
    their own numbers, nothing else that we opened is. Raises OSError when the program cannot be started.
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


class Helper(NamedTuple):
    """A copy of this process at the other end of `channel` (SOCK_SEQPACKET). Whoever made it calls `end`."""

    pid: int
    channel: socket.socket

    def end(self) -> None:
        """Kill it, reap it (by its pid: `reap_children` must not be called while a helper lives), close the channel."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def usable_cpus() -> int:
    """Cpus that this process may run on."""
    return len(os.sched_getaffinity(0))


def fork_helper(serve: Callable[[socket.socket], None]) -> Helper | None:
    """Fork a child that runs `serve(channel)` and ends when that returns or raises; None where it cannot be had.

    A fork without exec copies the locks of other threads in whatever state they are, so it is refused when there is
    any other thread (native ones too: /proc is asked). The coordinator has one thread until a run begins. The child
    keeps no descriptor but its channel (a lock or the fork server's socket in it would outlive us), has the default
    signal handling, dies with the thread that made it, and never returns into the caller's frames: no `finally`, no
    exit handler and no buffered output of ours happens twice.
    """
    import ctypes
    import socket

    try:
        if not _alone():
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: the child should not load anything
    parent, cpu = os.getpid(), _current_cpu()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # no handler of ours runs in the child
    try:
        pid = os.fork()
        if pid == 0:
            _be_helper(serve, theirs, parent=parent, cpu=cpu, prctl=prctl)
    except OSError:
        ours.close()
        return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    return Helper(pid, ours)


def _alone() -> bool:
    """Has this process one thread? Those that `together` has no use for any more may have yet to end."""
    for _ in range(_ENDING_MS):
        if _threads() == 1:
            return True
        time.sleep(0.001)
    return _threads() == 1


def _threads() -> int:
    """Threads of this process, native ones included."""
    return len(os.listdir("/proc/self/task"))


def _current_cpu() -> int:
    """The cpu that we run on; -1 where /proc does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[36])
    return -1


def _step_aside(cpu: int) -> None:
    """Leave a cpu, our parent's when it forked us, to it.

    A message over a socket wakes its reader on the sender's cpu, so that the two would share one (measured: always on a
    busy machine of two cpus, and then a helper is worth nothing).
    """
    others = os.sched_getaffinity(0) - {cpu}
    if others:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, others)


def _be_helper(
    serve: Callable[[socket.socket], None], channel: socket.socket, *, parent: int, cpu: int, prctl: Callable[..., int]
) -> None:
    """The child's whole life."""
    try:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return  # it died before we could ask to die with it
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        for name in os.listdir("/proc/self/fd"):
            if int(name) != channel.fileno():
                with contextlib.suppress(OSError):  # that of the listing itself
                    os.close(int(name))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _step_aside(cpu)
        serve(channel)
    finally:
        os._exit(0)


def become_subreaper() -> bool:
    """Let orphans of our descendants become our children, so that none is left behind. False where prctl refuses."""
    import ctypes

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
    except (ProcessLookupError, PermissionError):  # what is left in it has changed its user: not ours to end
        return False
    return True


def kill_process(pid: int, number: int) -> bool:
    """Send a signal to one process; False when it is gone."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def is_stopped(pid: int) -> bool:
    """Is the process stopped (SIGSTOP, a debugger)? A stopped process handles no signal but SIGKILL."""
    return _state(pid) in (b"T", b"t")


def has_ended(pid: int) -> bool:
    """Is the process gone, or dead and not reaped yet? One that was killed may take its time for either."""
    return _state(pid) in (b"", b"Z", b"X", b"x")


def _state(pid: int) -> bytes:
    """The letter of proc(5); none where the process is gone, `?` where that cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
    except OSError:
        return b"?"
    return text.rpartition(b")")[2].split()[0]


def peak_memory(pid: int) -> int | None:
    """The most bytes that the process ever had resident (VmHWM); None where it is gone or cannot be asked."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines() if pid > 0 else ():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) << 10
    return None


def _carriers(run_id: str) -> tuple[list[int], bool]:
    """Pids, other than ours, whose environment carries this run's id; and whether one could not be read yet.

    In the middle of an exec a process shows no environment for a moment. It has an executable, which tells it from a
    kernel thread and from the dead.
    """
    wanted = f"{RUN_ID_VARIABLE}={run_id}".encode()
    ours = os.getpid()
    found, unsure = [], False
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == ours:
            continue
        try:
            text = Path(f"/proc/{entry.name}/environ").read_bytes()
            if not text:
                os.stat(f"/proc/{entry.name}/exe")
                unsure = True
        except OSError:
            continue  # gone, a kernel thread, or not ours to read: then it cannot be ours to end
        if wanted in text.split(b"\0"):
            found.append(int(entry.name))
    return found, unsure


def end_leftovers(run_id: str) -> int:
    """Kill every process of this run that is still alive (a crashed coordinator's, a script's stray children).

    Returns how many were killed. Looks until none is found, because a process may fork while it is being looked at.
    """
    killed: set[int] = set()  # one that gets no cpu to die on is found again
    for _ in range(20):
        carriers, unsure = _carriers(run_id)
        found = [pid for pid in carriers if kill_process(pid, signal.SIGKILL)]
        if not found and not unsure:
            break
        killed.update(found)
        await_end(found, seconds=2.0)
        reap_children()
    return len(killed)


def await_end(pids: Iterable[int], *, seconds: float) -> None:
    """Return when these processes (our children or not) have ended, or after `seconds`."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
            try:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            finally:
                os.close(fd)
