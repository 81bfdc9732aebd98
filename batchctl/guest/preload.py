"""Modules imported once, in the fork server, for all workers to share.

    server --fork--> understudy: imports them    all went well: it is the server from here on, with its socket and its
       |                                         requests; the one that it was forked from waits and ends as it ends
       `--<-- refused: it ends, and the next understudy does without that module

So a module that starts threads, touches the GPU, crashes or hangs never touches the server, and none that is well is
imported twice. Numeric libraries are held to one thread while they are loaded, for those that start their threads
then; `threads.py` raises that in the workers. An understudy looks as a worker does at its import: sys.path, argv,
logging. What modules print is kept, and printed again by every worker, in whose log it would be without a preload.

What only a preload needs is imported only for one: this code is compiled anew in each run.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
import warnings

from . import limits, wire
from .config import MLFLOW, Job
from .failure import describe
from .garbage import collecting_rarely
from .script import settle_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Tuple

# An import from a cold network disk takes minutes; a hung one would hold up the run without end.
PATIENCE_S = 300.0
_LOOK_MS = 200
_KEPT = 64 << 10  # bytes of what modules printed
_SIGNALS = (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class Preloaded:
    """What this server has imported. `fds`: descriptors that the modules hold open; `said`: what they printed."""

    def __init__(self) -> None:
        self.modules: List[str] = []
        self.refused: Dict[str, str] = {}
        self.fds: FrozenSet[int] = frozenset()
        self.said = b""

    def bring(self, job: Job, *, busy: bool = False) -> List[Tuple[str, str]]:
        """Import what `job` asks for and this server neither has nor refused; (module, reason) of each refused.

        Returns in another process than it was called in, where something was imported. `busy`: there are workers
        already, whom that process could not reap.
        """
        wanted = [name for name in dict.fromkeys(job.preload) if name not in self.modules + list(self.refused)]
        if busy:
            self.refused.update((name, "workers are running already") for name in wanted)
            wanted = []
        if wanted:
            import tempfile  # noqa: F401 - as the others: where it cannot be had, the request has failed

            from . import forkable, threads  # noqa: F401 - here, so that workers have them from the server
        while wanted:
            read_fd, write_fd = os.pipe()
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                os.close(read_fd)
                self._become_server(job, wanted, write_fd, parent=parent)
                break
            os.close(write_fd)
            refusal = _hear(read_fd, pid)
            os.close(read_fd)
            if refusal is None:
                _stand_by(pid)
            else:
                _end(pid)
                name, reason = refusal
                name = name or wanted[0]  # it did not come so far as to begin with any
                self.refused[name] = reason
                wanted.remove(name)
        return [(name, self.refused[name]) for name in dict.fromkeys(job.preload) if name in self.refused]

    def _become_server(self, job: Job, wanted: List[str], report: int, *, parent: int) -> None:
        """The understudy's part: returns as the server, or never."""
        import tempfile

        from . import forkable

        try:
            limits.own_group()
            limits.die_with(parent)
            handlers = [(number, signal.getsignal(number)) for number in _SIGNALS]
            wakeup = signal.set_wakeup_fd(-1)
            with tempfile.TemporaryFile() as said:
                streams = [os.dup(fd) for fd in (1, 2)]
                for fd in (1, 2):
                    os.dup2(said.fileno(), fd)
                before = forkable.Before()
                refusal = _import_all(job, wanted, report)
                if refusal:
                    _tell(report, {"refused": refusal})
                    os._exit(0)
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                for fd, saved in zip((1, 2), streams):
                    os.dup2(saved, fd)
                    os.close(saved)
                length = os.fstat(said.fileno()).st_size
                self.said += os.pread(said.fileno(), _KEPT, max(0, length - _KEPT))
                self.fds |= before.new_fds()
            self.modules += wanted
            for number, handler in handlers:  # modules may have taken them
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
            if forkable.has_threads():  # known ones, else we were not here: newer Pythons would warn at every worker
                warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
            _tell(report, {"done": True})
            os.close(report)
        except BaseException as error:
            try:
                _tell(report, {"refused": ["", "this interpreter cannot: %s: %s" % (type(error).__name__, error)]})
            finally:
                os._exit(wire.EXIT_BROKEN)

    def settle(self, environment: Mapping[str, str]) -> List[str]:
        """In a new worker whose environment stands: what the modules need to be as if it had imported them itself.
        What could not be done, in words."""
        if not self.modules:
            return []
        from . import forkable, threads

        sys.stdout.flush()
        os.write(1, self.said)
        trouble = [forkable.reopen(fd) for fd in sorted(self.fds)]
        trouble += threads.raise_caps(environment)
        # The random module sees to itself at a fork (Python 3.7); numpy's global state would be the same in all.
        random = sys.modules.get("numpy.random")
        if random is not None:
            try:
                random.seed()
            except Exception as error:
                trouble.append("numpy.random is not seeded anew: %s" % error)
        return [text for text in trouble if text]


def _import_all(job: Job, wanted: List[str], report: int) -> List[str]:
    """Import these modules as a worker would, but for their threads; [module, reason] of the first that is refused."""
    from . import forkable

    _look_like_a_worker(job)
    before = {name: os.environ.get(name) for name in limits.THREAD_VARIABLES}
    for name in limits.THREAD_VARIABLES:
        os.environ[name] = "1"
    for name in wanted:
        _tell(report, {"begins": name})
        now = forkable.Before()
        try:
            with collecting_rarely():
                importlib.import_module(name)
            reason = now.reason()
        except BaseException as error:  # SystemExit, too: what a module raises is no reason to end the server
            reason = _in_words(name, error)
        if reason:
            return [name, reason]
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return []


def _look_like_a_worker(job: Job) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if job.scorer == MLFLOW:  # as MlflowScorer does it, before anything imports mlflow
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        settle_in([], [job.script, *job.argv], job.logging_level)
    else:
        settle_in([job.code, os.path.dirname(job.script)], [job.script, *job.argv], job.logging_level)


def _in_words(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and (name + ".").startswith(error.name + "."):
        return "%s has no module of that name" % sys.executable
    found = describe(error)
    return ("importing it raised %(error)s: %(message)s\n%(traceback)s" % found).rstrip("\n")


def _tell(fd: int, what: Dict[str, Any]) -> None:
    os.write(fd, json.dumps(what).encode("ascii") + b"\n")


def _hear(fd: int, pid: int) -> Optional[Tuple[str, str]]:
    """(module, why it is refused); None when all are imported."""
    name, pending = "", b""
    deadline = time.monotonic() + PATIENCE_S
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        ended = _has_ended(pid)
        if not poll.poll(0 if ended else _LOOK_MS):
            if ended:
                return name, "the process that imported it %s" % ended
            if time.monotonic() > deadline:
                return name, "it is not imported after %d s" % PATIENCE_S
            continue
        piece = os.read(fd, 1 << 16)
        if not piece:
            poll.unregister(fd)
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            said = json.loads(line.decode("ascii"))
            if "begins" in said:
                name, deadline = said["begins"], time.monotonic() + PATIENCE_S
            elif "refused" in said:
                refused, reason = said["refused"]
                return str(refused), str(reason)
            else:
                return None


def _has_ended(pid: int) -> str:
    """How, in words; "" while it lives. Its number stays its own."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return ""
    if found.si_code == os.CLD_EXITED:
        return "left with exit code %d" % found.si_status
    try:
        return "was killed by %s" % signal.Signals(found.si_status).name
    except ValueError:  # a real-time signal
        return "was killed by signal %d" % found.si_status


def _end(pid: int) -> None:
    """Kill an understudy and what it has left in its group."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # nobody is left, or it has not come so far as to lead a group
            pass
    os.waitpid(pid, 0)


def _stand_by(pid: int) -> None:
    """The server is another process now: keep nothing of it, and end when it ends, as it ends. Returns never."""
    status: Optional[int] = None
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        limits.close_others({0, 1, 2})
        _pid, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), os.WTERMSIG(status))
    finally:
        os._exit(wire.EXIT_BROKEN if status is None or os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
