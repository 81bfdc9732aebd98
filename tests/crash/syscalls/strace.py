"""strace as the tool of this family: what the coordinator calls, and one of those calls met by a signal or an error.

How one call is hit, and no other process than the coordinator:

- A point is named by thread, call, path and number: the third fdatasync of checkpoint.log by the flusher. strace takes
  `-P PATH` with `-e inject=CALL:...:when=N`, counts only the calls that touch that path (by name or by descriptor), and
  counts them per thread.
- Without `-f` strace follows the one thread it was given: neither the flusher nor the fork server and its workers. So a
  point of the main thread is `strace ... batchctl run`. For the flusher the command is started alone; the script's
  `init()` waits at a FIFO until `strace -p TID` sits on the only other thread, so no result is committed before. (What
  a resume concludes without any worker may be: such a call is not met, and counted as that.)
- `signal=KILL` is sent as the thread stops on entering the call. The kernel then gives the call up (a fatal signal is
  pending as the tracer lets go): it has no effect. What a kill after a call leaves is what one before the thread's
  next call finds; as every call that changes anything is a point, the kills after are the kills before, one further.
- `error=E` replaces the call by none and makes it return E.
- The undisturbed run is read with `-f -b execve`: the threads of the coordinator, and each child until it becomes the
  fork server.
- Threads that help (`Disk.together`, `Disk.aside`) come and go; they open, read and sync, no more. Their calls are no
  points: to a kill they are the calls of whoever waits for them (a sync or a read changes nothing that is seen), and
  a failure of each is dealt by tests/unit/store/test_failed_syncs.py and test_growing.py.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAIN, FLUSHER = "main", "flusher"
LIMIT_S = 60.0
_POLL_S = 0.001
WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "copy_file_range", "sendfile", "ftruncate", "truncate"})
NAMES = frozenset(
    {"rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat"}
    | {"unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat"}
)
CHANGES = WRITES | NAMES
SYNCS = frozenset({"fsync", "fdatasync"})
READS = frozenset({"read", "pread64", "getdents64", "newfstatat", "statfs"})
OPENS = frozenset({"openat"})
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_PATH = re.compile(r'(?<=\d)<([^<>]*)>|"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the coordinator: the `nth` (from 1) of this `name` by this thread that touches `path` (relative to
    the place's `here`). `creates`: an open that may create."""

    thread: str
    name: str
    path: str
    nth: int
    creates: bool = False

    def __str__(self) -> str:
        return f"{self.thread} {self.name} {self.path} #{self.nth}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a life under a tracer ended. `hit`: the fault was dealt. `code`: as subprocess has it."""

    hit: bool
    code: int
    said: str


class Hangs(Exception):
    """A life took longer than `LIMIT_S`."""


def unavailable() -> str:
    """Why strace cannot be used here, "" where it can: it must trace a child and attach to a stranger."""
    strace = shutil.which("strace")
    if strace is None:
        return "no strace here"
    probe = [strace, "-qq", "-f", "-b", "execve", "-P", "/", "-e", "trace=getdents64", "-o", "/dev/null", "true"]
    if subprocess.run(probe, check=False, capture_output=True, timeout=20).returncode != 0:
        return "strace may not trace here, or knows no -b execve"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            tracer = _attach(sleeper.pid, ["-e", "trace=none", "-o", "/dev/null"])
            if tracer is None:
                return "strace may not attach here (kernel.yama.ptrace_scope)"
            with tracer:
                tracer.terminate()
        finally:
            sleeper.kill()
    return ""


def listen(command: Sequence[str], *, env: Mapping[str, str], here: Path, log: Path) -> tuple[int, list[Call], str]:
    """Run it undisturbed: exit code, the calls on `here` and below, in order, and what it said."""
    calls = ",".join(sorted(CHANGES | SYNCS | READS | OPENS))
    words = ["strace", "-f", "-b", "execve", "-qq", "-y", "-s", "0", "-e", f"trace={calls}", "-e", "signal=none"]
    done = subprocess.run(
        [*words, "-o", str(log), *command], check=False, capture_output=True, text=True, env=env, timeout=LIMIT_S
    )
    return done.returncode, list(calls_in(log.read_text(encoding="utf-8", errors="replace"), here)), done.stderr


def calls_in(text: str, here: Path) -> Iterator[Call]:
    threads: dict[str, str] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    lines = [found.groups() for line in text.splitlines() if (found := _LINE.match(line))]
    workers = {tid for tid, name, _ in lines if name in CHANGES}
    for tid, name, rest in lines:
        thread = threads.setdefault(tid, MAIN if not threads else "")
        arguments = rest.rpartition(") = ")[0] or rest
        inside = [path for path in map(_of_match, _PATH.finditer(arguments)) if _is_below(path, here)]
        if not inside:
            continue
        if not thread and tid not in workers:
            continue  # it helps with syncs
        if not thread:
            thread = threads[tid] = FLUSHER
            if list(threads.values()).count(FLUSHER) > 1:
                raise AssertionError("a third thread of the coordinator touches the run: the flusher is not alone")
        for path in dict.fromkeys(inside):
            seen[thread, name, path] += 1
        if name == "newfstatat" and '""' in arguments:  # fstat: counted by strace, no point of ours
            continue
        relative = Path(inside[0]).relative_to(here).as_posix()
        yield Call(thread, name, relative, seen[thread, name, inside[0]], creates="O_CREAT" in arguments)


def _of_match(found: re.Match[str]) -> str:
    return found[1] or found[2] or ""


def _is_below(path: str, here: Path) -> bool:
    return path == str(here) or path.startswith(f"{here}/")


def strike(
    command: Sequence[str],
    call: Call,
    fault: str,
    *,
    env: Mapping[str, str],
    here: Path,
    scratch: Path,
    log: Path,
) -> Ended:
    """Live one life in which that call meets `fault` (signal=KILL, error=EIO): once, if it is made at all."""
    words = [
        "-P",
        str(here / call.path),
        "-e",
        f"trace={call.name}",
        "-e",
        f"inject={call.name}:{fault}:when={call.nth}",
    ]
    words = ["-qq", *words, "-o", str(log)]
    log.unlink(missing_ok=True)
    if call.thread == MAIN:
        code, said = _wait(_start(["strace", *words, *command], env))
    else:
        with _gate(scratch) as opener:
            process = _start(command, env)
            tid = _other_thread(process)
            tracer = _attach(tid, words) if tid else None
            os.write(opener, b"g" * 64)  # for each worker that there will be
            code, said = _wait(process)
            if tracer is not None:
                with tracer:  # it ends with the thread
                    pass
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    mark = "+++ killed by SIGKILL +++" if fault == "signal=KILL" else "(INJECTED)"
    return Ended(mark in text, code, said)


def live(command: Sequence[str], *, env: Mapping[str, str]) -> tuple[int, str]:
    """The command as it is: exit code and what it said."""
    return _wait(_start(command, env))


def _start(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=subprocess.PIPE, env=env, process_group=0)


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    with process:
        try:
            _, said = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # strace and what it traces
            _, said = process.communicate()
            raise Hangs(f"still running after {LIMIT_S:.0f} s; it said: {_tail(said)}") from None
    return process.returncode, _tail(said)


def _tail(said: bytes) -> str:
    return said.decode(errors="replace")[-1500:].strip()


@contextmanager
def _gate(scratch: Path) -> Iterator[int]:
    """A FIFO that the script's init() reads a byte from; a descriptor to write it."""
    gate = scratch / "gate"
    os.mkfifo(gate)
    opener = os.open(gate, os.O_RDWR)  # never blocks; what is written stays until it is read
    try:
        yield opener
    finally:
        os.close(opener)
        gate.unlink()


def _other_thread(process: subprocess.Popen[bytes]) -> int:
    """The flusher, once there is a worker: whoever helped with the syncs of a start is gone by then, and it is there.
    0 where the process ended without."""
    while process.poll() is None:
        try:
            below = [pid for server in _children(process.pid) for pid in _children(server)]
            if any(
                os.getpgid(pid) == pid for pid in below
            ):  # a worker leads its group; who looks at the script does not
                threads = [int(name) for name in os.listdir(f"/proc/{process.pid}/task")]
                if others := [tid for tid in threads if tid != process.pid]:
                    return others[0]
        except OSError:  # one of them has just gone
            pass
        time.sleep(_POLL_S)
    return 0


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _attach(tid: int, words: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """strace on that one thread, already attached; None where it may not or the thread has gone."""
    quiet = [word for word in words if word != "-qq"]
    tracer = subprocess.Popen(["strace", *quiet, "-p", str(tid)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if b"attached" in said and b"Operation not permitted" not in said:
        return tracer
    with tracer:
        tracer.kill()
    return None
