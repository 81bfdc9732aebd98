"""What a fresh process does to itself: group, parent-death signal, cpus, thread caps, descriptors.

Everything that a machine may refuse is soft: it comes back as a sentence for the user. Only a vanished parent is fatal.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys

from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Container, List, MutableMapping, Optional, Sequence

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_OOM_SCORE, _MAX_OOM_SCORE = "/proc/self/oom_score_adj", 1000  # proc(5)
# A script that closes descriptors 0-20, as daemons do, must not close ours.
HIGH_FD = 200
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

try:
    import ctypes

    _libc: Optional[ctypes.CDLL] = ctypes.CDLL(None, use_errno=True)
except (ImportError, OSError):  # a Python built without libffi: orphans then end when they find their channel closed
    _libc = None


def die_with(parent: int) -> None:
    """Ask to be killed when `parent` dies, and leave at once if it is gone already (asked in that order: no gap)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(wire.EXIT_NO_POOL)


def keep_freed_memory() -> None:
    """Let glibc keep what a script gives back, up to 64 MiB, instead of returning it to the kernel each time.

    A script reads file after file into buffers of the same size. Whether glibc unmaps such a buffer, or trims the heap,
    at every free depends on what happened to be freed first, and then every page of the next one is a fault again
    (measured: six times as many faults, twice the system time). What the user's environment says of malloc stands.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is None or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that it allows; larger ones are mapped and unmapped as before
    mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def forget_ourselves() -> None:
    """Take the zip (or folder) that our package was imported from off sys.path."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != ours]


def own_group() -> None:
    """Become the leader of a process group; a terminal's Ctrl-C then reaches only the coordinator."""
    try:
        os.setpgid(0, 0)
    except OSError:  # already a session leader, which is a group's leader too
        pass


class ProcessRefused(Exception):
    """The kernel gives this account no process more; the message says why, in its words."""


def fork() -> int:
    """os.fork. ProcessRefused in place of OSError: it is no fault of the script's that is about to run."""
    try:
        return os.fork()
    except OSError as error:
        raise ProcessRefused(
            "no process can be started: %s (the limit on processes: ulimit -u; TasksMax= of a unit)" % error.strerror
        ) from None


def plain_signals() -> None:
    """Signal handling as a script expects it, whatever was inherited."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def move_high(fd: int) -> int:
    """A close-on-exec copy of `fd` at 200 or above (as high as the limit allows); `fd` itself is closed."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = HIGH_FD if soft == resource.RLIM_INFINITY else max(3, min(HIGH_FD, soft - 16))
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return moved


def close_others(keep: Container[int]) -> None:
    """Close every descriptor that is not in `keep`: other workers' and the server's own."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:  # the one that listed the folder
                pass


def cap_threads(environment: MutableMapping[str, str], threads: int) -> None:
    """Set the caps that numeric libraries read when they are loaded; whatever the user has set stands."""
    if threads > 0:
        for name in THREAD_VARIABLES:
            environment.setdefault(name, str(threads))


def pin(cpus: Sequence[int]) -> List[str]:
    """Run on these cpus only; none named: anywhere. Returns what went wrong, in words."""
    if not cpus:
        return []
    try:
        os.sched_setaffinity(0, cpus)
    except (OSError, ValueError) as error:
        return ["this worker is not pinned to cpus %s: %s" % (",".join(map(str, cpus)), error)]
    return []


def prefer_for_oom(more: Optional[int]) -> List[str]:
    """Let the kernel take a worker before the coordinator when memory runs out: raise our score above the one that the
    fork server has from there, which is 1000 at most already where a container is the first to go."""
    if more is None:
        return []
    try:
        with open(_OOM_SCORE, encoding="ascii") as handle:
            score = min(_MAX_OOM_SCORE, int(handle.read()) + more)
        with open(_OOM_SCORE, "w", encoding="ascii") as handle:
            handle.write("%d\n" % score)
    except (OSError, ValueError) as error:
        return ["oom_score_adj is not set: %s" % error]
    return []


def mask_gpu(environment: MutableMapping[str, str], gpu: Optional[str]) -> None:
    """Show one GPU by its uuid, or none (""); None leaves the mask as it is."""
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
