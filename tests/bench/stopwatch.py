"""One command, measured from outside: wall and CPU seconds, its own peak memory, and what others took meanwhile."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.tree import Watch, end_strays

_TICK = os.sysconf("SC_CLK_TCK")
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Lap:
    """`cpu_s` is that of the command and all that it waited for; `peak_mb` its largest process's (0.0: not known).

    `others` is the CPU that other programs took while it ran, in cores. `code` is the exit status, negative a signal.
    `tree_mb` is the peak PSS of all its processes together, where that was asked for.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    others: float
    code: int
    said: str
    tree_mb: float = 0.0


class TooLongError(Exception):
    """The command did not end in time and was killed."""


def lap(
    argv: Sequence[str],
    *,
    log: Path,
    env: dict[str, str] | None = None,
    limit_s: float = 600.0,
    watch: Callable[[int, float], None] | None = None,
    tree: bool = False,
) -> Lap:
    """Run `argv` to its end. `watch(pid, seconds)` is called about every 10 ms while it runs.

    Without `watch` the caller sleeps in the kernel until the end, so that nothing disturbs what is measured. `tree` has
    a thread look at all its processes (see tree.py) for a fiftieth of a core at most.
    """
    os.sync()
    before, busy = resource.getrusage(resource.RUSAGE_CHILDREN), _busy()
    with log.open("wb") as sink:
        start = time.perf_counter()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, sink.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, sink.fileno(), 2),
        ]
        pid = os.posix_spawn(argv[0], list(argv), env or dict(os.environ), file_actions=actions)
        peak = 0.0
        seen_s = tree_mb = 0.0
        if tree:
            with Watch(limit_s) as looks:
                _, status, usage = os.wait4(pid, 0)
                wall = time.perf_counter() - start
            if looks.late:
                end_strays()
                raise TooLongError(f"{argv[0]} took more than {limit_s:.0f} s")
            seen_s, tree_mb = looks.cpu_s, looks.peak_mb
        elif watch is None:
            _, status, usage = os.wait4(pid, 0)
            wall = time.perf_counter() - start
        else:
            while True:
                found, status, usage = os.wait4(pid, os.WNOHANG)
                if found:
                    break
                seconds = time.perf_counter() - start
                peak = max(peak, high_water_mb(pid))
                watch(pid, seconds)
                if seconds > limit_s:
                    os.kill(pid, 9)
                    os.wait4(pid, 0)
                    raise TooLongError(f"{argv[0]} took more than {limit_s:.0f} s")
                time.sleep(_POLL_S)
            wall = time.perf_counter() - start
    if tree:
        end_strays()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = max(seen_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Counts the children that it waited for, too, and is never less than ours was at the spawn: an upper bound, which
    # adds what the last poll was too early for.
    own = usage.ru_maxrss / 1024
    peak = own if own > high_water_mb(os.getpid()) else peak
    others = max(0.0, _busy() - busy - cpu) / wall
    said = log.read_text(encoding="utf-8", errors="replace")
    return Lap(wall, cpu, peak, others, os.waitstatus_to_exitcode(status), said[-4000:], tree_mb)


def high_water_mb(pid: int) -> float:
    """Peak resident memory of one process so far, in MB (MiB); 0.0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def _busy() -> float:
    """CPU seconds spent by everything on the machine, the hypervisor's share included."""
    with open("/proc/stat") as handle:
        ticks = [int(word) for word in handle.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / _TICK
