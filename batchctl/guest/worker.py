"""A forked worker, from its first instruction to its last: become a worker, import the script, init(), loop,
shutdown().

Its channel speaks frames, its standard output and error are the pool's log pipe: what users print never meets the
protocol.
"""

from __future__ import annotations

import _socket as socket
import atexit
import faulthandler
import importlib.util
import io
import os
import sys
import threading
import time

from . import limits, wire
from . import page as pages
from .config import MLFLOW, Fork, Job
from .entry_script import EntryScriptFinder, Place
from .failure import describe
from .harvest import Harvest, NoHarvest, remove_predecessors
from .loop import Loop
from .named_tuple import NamedTuple
from .outbox import Outbox
from .preload import Preloaded
from .room import make_folders
from .rows import Renderer
from .script import Scorer, Script, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, MutableMapping, Optional


class Descriptors(NamedTuple):
    """What travels with a FORK frame."""

    channel: int
    page: int
    log: int


def live(job: Job, fork: Fork, descriptors: Descriptors, *, server: int, preloaded: Preloaded) -> None:
    """The whole life of the worker. Returns never: the process leaves by os._exit, past the fork server's frames."""
    status = wire.EXIT_BROKEN
    try:
        status = _live(job, fork, descriptors, server, preloaded)
    except BaseException as error:
        _tell_log("batchctl: a worker broke down\n" + describe(error)["traceback"])
    finally:
        os._exit(status)


def _live(job: Job, fork: Fork, descriptors: Descriptors, server: int, preloaded: Preloaded) -> int:
    limits.own_group()
    limits.die_with(server)
    limits.plain_signals()
    channel_fd, dump_fd = _arrange_descriptors(descriptors)
    page = pages.Page(descriptors.page)
    page.put(pages.STARTING, 0, time.monotonic_ns())
    limits.close_others({0, 1, 2, channel_fd, dump_fd} | preloaded.fds)
    channel = socket.socket(fileno=channel_fd)
    channel.setblocking(True)
    faulthandler.enable(file=dump_fd)
    faulthandler.register(wire.DUMP_SIGNAL, file=dump_fd, all_threads=True)

    outbox = Outbox(
        channel,
        epoch=fork.epoch,
        incarnation=fork.incarnation,
        linger_ms=job.linger_ms,
        linger_bytes=job.linger_bytes,
    )
    os.register_at_fork(after_in_child=outbox.disown)  # before anything of the script's is run: its import may fork
    limits.keep_freed_memory()
    trouble = limits.pin(fork.cpus) + limits.prefer_for_oom(fork.oom_score_adj)
    direct = job.own_files == "direct"
    work, out = os.path.join(fork.home, "cwd"), job.out if direct else os.path.join(fork.home, "out")
    remove_predecessors(fork.home)
    make_folders((fork.home, work, out), outbox.note)
    os.chdir(work)
    _set_environment(os.environ, job, fork, out)
    trouble += preloaded.settle(os.environ)
    for text in trouble:
        outbox.note(text.split(":")[0], text)

    harvest = (NoHarvest if direct else Harvest)(out, job.stage, outbox.note)
    _offer_modules(job, Place(os.path.dirname(job.script), work, out, os.path.join(job.logs, "user"), fork.slot))
    started = _start_script(job, page, outbox, harvest)
    if started is None:
        return wire.EXIT_INIT_FAILED
    loop = Loop(job, started, channel=channel, page=page, outbox=outbox, harvest=harvest, incarnation=fork.incarnation)
    if not loop.serve():
        return wire.EXIT_NO_POOL
    _shut_down(started, page, outbox)
    _tell_unpublished(harvest)
    outbox.say(wire.BYE, {})
    return 0


def _arrange_descriptors(descriptors: Descriptors) -> List[int]:
    """Standard streams onto the log pipe and /dev/null; the channel and a copy of the log out of the script's reach."""
    dump_fd = limits.move_high(os.dup(descriptors.log))
    channel_fd = limits.move_high(descriptors.channel)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptors.log, 1)
    os.dup2(descriptors.log, 2)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    # A pipe is block-buffered by default: the last words before a crash would be lost. A print of a name that is not
    # UTF-8 must not fail an item.
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
    sys.__stdout__, sys.__stderr__, sys.__stdin__ = sys.stdout, sys.stderr, sys.stdin  # type: ignore[misc]
    return [channel_fd, dump_fd]


def _stream(fd: int, mode: str) -> io.TextIOWrapper:
    raw = io.FileIO(fd, mode, closefd=False)
    buffer = io.BufferedWriter(raw) if mode == "w" else io.BufferedReader(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _set_environment(environment: MutableMapping[str, str], job: Job, fork: Fork, out: str) -> None:
    environment.update(job.env)
    limits.cap_threads(environment, fork.threads)
    limits.mask_gpu(environment, fork.gpu)
    environment["AZUREML_BI_OUTPUT_PATH"] = out


def _offer_modules(job: Job, place: Place) -> None:
    """What a script may import beside its own: EntryScript; an mlflow that is there knows where to record."""
    sys.meta_path.append(EntryScriptFinder(place))
    if "MLFLOW_TRACKING_URI" not in os.environ and _is_installed("mlflow"):
        os.environ["MLFLOW_TRACKING_URI"] = _file_uri(os.path.join(job.mlruns, "worker-%03d" % place.slot))
        # Newer versions refuse folders otherwise; their databases need packages that not every mlflow comes with.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")


def _is_installed(name: str) -> bool:
    """Found by looking, nothing is run. A folder without a module in it, as a script's may be called, is none."""
    try:
        found = importlib.util.find_spec(name)
    except Exception:  # whatever finders an environment has installed may raise
        return False
    return found is not None and found.origin is not None


def _file_uri(path: str) -> str:
    from urllib.parse import quote  # not needed by most workers

    return "file://" + quote(os.fsencode(path))


def _start_script(job: Job, page: pages.Page, outbox: Outbox, harvest: Harvest) -> Optional[Scorer]:
    """Import, check and init() the script and say READY; None after INIT_FAILED was said."""
    phase = "import"
    began = time.monotonic_ns()
    try:
        page.put(pages.INIT, 0, began)
        if job.scorer == MLFLOW:
            from .mlflow_scorer import MlflowScorer  # compiled anew from the zip at each start: scripts do without

            script: Scorer = MlflowScorer(job)
            phase = "contract"
        else:
            module = load(job.script, job.code, job.argv, job.logging_level)
            _leave_if_stray(outbox)
            phase = "contract"
            script = Script(module)
        Renderer(job.output_format, job.output_action, job.code, header=job.header)  # a damaged settings file shows now
        phase = "init"
        imported = time.monotonic_ns()
        if script.init is not None:
            script.init()
        _leave_if_stray(outbox)
        harvest.after_init()
    except BaseException as error:
        _leave_if_stray(outbox)
        fields: Dict[str, object] = {"kind": "failed", "phase": phase}
        found = describe(error)
        fields.update(found)
        _tell_log("batchctl: %s failed\n%s" % (phase, found["traceback"] or found["message"] + "\n"))
        _flush_streams()
        outbox.say(wire.INIT_FAILED, fields)
        return None
    now = time.monotonic_ns()
    page.put(pages.IDLE, 0, now)
    outbox.say(wire.READY, {"init_s": (now - began) / 1e9, "import_s": (imported - began) / 1e9})
    return script


def _leave_if_stray(outbox: Outbox) -> None:
    """A child that the script forked has come back out of it: what follows is the worker's alone."""
    if outbox.stray:
        os._exit(0)


def _shut_down(script: Scorer, page: pages.Page, outbox: Outbox) -> None:
    """shutdown(), then what an interpreter does at its end: executors are stopped, functions that the script registered
    with atexit are called. None of it can harm results that the pool has already."""
    page.move(pages.SHUTDOWN, time.monotonic_ns())
    for name, function in (
        ("shutdown()", script.shutdown),
        ("stopping an executor", _stop_executors),
        ("an atexit function", atexit._run_exitfuncs),
    ):
        if function is None:
            continue
        try:
            function()
        except BaseException as error:
            _leave_if_stray(outbox)
            found = describe(error)
            text = "%s raised %s: %s" % (name, found["error"], found["message"])
            outbox.say(wire.NOTE, {"kind": "shutdown", "text": text, "traceback": found["traceback"]})
        _leave_if_stray(outbox)
    _flush_streams()


def _stop_executors() -> None:
    """concurrent.futures tells its workers to leave here (from 3.9 on; before that by atexit, in time). Without it
    multiprocessing's own atexit function would wait for them for ever."""
    for function in reversed(getattr(threading, "_threading_atexits", ())):
        function()


def _tell_unpublished(harvest: Harvest) -> None:
    try:
        harvest.after_shutdown()
    except OSError as error:
        sys.stderr.write("batchctl: what shutdown() wrote could not be looked at: %s\n" % error)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the script closed it, or put there what cannot be flushed
            pass


def _tell_log(text: str) -> None:
    """Into the worker's log, which outlives the terminal; nowhere where the script closed or replaced that."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:
        pass
