"""Drives the real guest.pyz in a user's interpreter over real socket pairs, as the engine does: a server, its workers.

Everything waits on descriptors with a deadline; nothing sleeps.
"""

from __future__ import annotations

import array
import itertools
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchctl.engine.guest_zip import guest_zip
from batchctl.guest import page as pages
from batchctl.guest import wire
from batchctl.guest.plan_map import FORMAT, HEADER, MAGIC, PARTITIONED, SIZED

PATIENCE_S = float(os.environ.get("GUEST_PATIENCE_S", "60"))
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def interpreters() -> dict[str, str]:
    """CPython 3.8-3.13 that this machine has, one per minor version: pyenv's under ~, then python3.N on PATH."""
    found: dict[str, str] = {}
    for version in VERSIONS:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        system = shutil.which(f"python{version}", path=os.environ.get("PATH", "") + ":/usr/bin")
        for candidate in [*map(str, pyenv), *([system] if system else [])]:
            probe = "import sys; print('%s %d.%d' % (sys.implementation.name, *sys.version_info[:2]), sys.executable)"
            done = subprocess.run([candidate, "-c", probe], capture_output=True, text=True, check=False)
            said = done.stdout.strip()
            if said.startswith(f"cpython {version} "):
                found[version] = said.split(" ", 2)[2]  # a name on PATH may be a script that starts another one
                break
    return found


def build_pyz(path: Path) -> Path:
    """The zip as the engine makes it."""
    path.write_bytes(guest_zip())
    return path


def write_plan(
    path: Path,
    items: Sequence[str | bytes],
    batch_size: int = 10,
    partitions: tuple[Sequence[str], Sequence[Sequence[str | bytes]]] = ((), ()),
) -> Path:
    """A plan of these absolute paths, in mini-batches of `batch_size`; `partitions`: keys, and the values of each."""
    split = [os.path.split(os.fsencode(item)) for item in items]
    folders = list(dict.fromkeys(folder for folder, _ in split))
    runs = [(i, folder) for i, (folder, _) in enumerate(split) if i == 0 or split[i - 1][0] != folder]
    batches = [*range(0, len(items), batch_size), len(items)] if items else [0]

    def offsets(texts: Sequence[bytes]) -> bytes:
        return struct.pack(f"<{len(texts) + 1}I", *itertools.accumulate(map(len, texts), initial=0))

    def numbers(values: Sequence[int]) -> bytes:
        return struct.pack(f"<{len(values)}I", *values)

    names = [name for _, name in split]
    sections = [
        offsets(folders),
        b"".join(folders),
        numbers([first for first, _ in runs] + [len(items)]),
        numbers([folders.index(folder) for _, folder in runs]),
        offsets(names),
        b"".join(names),
        bytes(16 * len(items)),
        numbers(batches),
    ]
    keys, values = partitions
    if keys:
        texts = [os.fsencode(text) for text in (*keys, *itertools.chain.from_iterable(values))]
        sections += [offsets(texts), b"".join(texts)]
    at, places, body = (HEADER.size + 7) // 8 * 8, [], b""
    body = bytes(at - HEADER.size)
    for section in sections:
        places.append(HEADER.size + len(body))
        body += section + bytes(-len(section) % 8)
    counts = (
        MAGIC,
        PARTITIONED if keys else FORMAT,
        SIZED,
        len(folders),
        len(runs),
        len(items),
        len(batches) - 1,
        0,
        0,
    )
    head = HEADER.pack(*counts, *places[:8], HEADER.size + len(body), 0, len(keys))
    crc = zlib.crc32(head + body)
    path.write_bytes(HEADER.pack(*counts, *places[:8], HEADER.size + len(body), crc, len(keys)) + body)
    return path


class Peer:
    """One socket with a decoder, and the frames that came and were not asked for yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.decoder = wire.Decoder()
        self.frames: list[wire.Frame] = []
        self.ended = False

    def pump(self, deadline: float) -> None:
        ready, _, _ = select.select([self.sock], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"nothing more came; held: {self.frames}")
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self.ended = not data
        self.frames += self.decoder.feed(data)

    def expect(self, *kinds: int, patience: float = PATIENCE_S) -> wire.Frame:
        """The next frame of one of these kinds; frames of other kinds stay for later."""
        deadline = time.monotonic() + patience
        while True:
            for index, frame in enumerate(self.frames):
                if frame.kind in kinds:
                    return self.frames.pop(index)
            if self.ended:
                raise EOFError(f"the channel closed; held: {self.frames}")
            self.pump(deadline)


class Worker(Peer):
    """The pool's end of one worker: channel, page, log pipe."""

    def __init__(self, server: Server, sock: socket.socket, page: pages.Page, log: int, incarnation: int) -> None:
        super().__init__(sock)
        self.server = server
        self.page = page
        self.log_fd = log
        self.incarnation = incarnation
        self.pid = 0
        self.serial = 0
        self.logged = b""
        self.over = False

    def ready(self) -> dict[str, Any]:
        """READY's fields; an INIT_FAILED or a death is an AssertionError with what is known."""
        frame = self.expect(wire.READY, wire.INIT_FAILED)
        assert frame.kind == wire.READY, frame.json()
        return frame.json()

    def lease(self, *leases: tuple[int, int, int] | tuple[int, int, int, int]) -> list[int]:
        """Send (batch, first, count[, attempt]) leases in one frame; their serials."""
        head, serials = b"", []
        for batch, first, count, *attempt in leases:
            self.serial += 1
            serials.append(self.serial)
            head += wire.LEASE_RECORD.pack(self.serial, batch, first, count, attempt[0] if attempt else 1)
        self.send(wire.LEASES, head)
        return serials

    def send(self, kind: int, head: bytes = b"") -> None:
        self.sock.sendall(wire.encode(kind, self.server.epoch, self.incarnation, head))

    def scored(self, count: int = 1) -> list[tuple[tuple[int, ...], bytes]]:
        """(record, rows) of the next `count` results."""
        found: list[tuple[tuple[int, ...], bytes]] = []
        while len(found) < count:
            frame = self.expect(wire.SCORED, wire.FAILED)
            assert frame.kind == wire.SCORED, frame.json()
            at = 0
            for record in wire.scored_records(frame.head):
                rows = frame.body[at : at + record[5]]
                assert zlib.crc32(rows) == record[6]
                found.append((record, rows))
                at += record[5]
            assert at == len(frame.body)
        return found

    def one(self, first: int = 0, count: int = 1, *, batch: int = 0, attempt: int = 1) -> bytes:
        """Score one lease; its rows."""
        self.lease((batch, first, count, attempt))
        return self.scored()[0][1]

    def fail(self, first: int = 0, count: int = 1, *, batch: int = 0, attempt: int = 1) -> dict[str, Any]:
        """Score one lease that fails; FAILED's fields."""
        self.lease((batch, first, count, attempt))
        return self.expect(wire.FAILED).json()

    def stop(self) -> wire.Frame:
        self.send(wire.STOP)
        return self.expect(wire.BYE)

    def log(self, until: bytes = b"", patience: float = PATIENCE_S) -> bytes:
        """What the worker printed, up to and with `until`, or up to the end of the pipe."""
        deadline = time.monotonic() + patience
        while not until or until not in self.logged:
            ready, _, _ = select.select([self.log_fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{until!r} was not printed, but {self.logged!r}"
            piece = os.read(self.log_fd, 1 << 20)
            if not piece:
                assert not until, f"{until!r} was not printed, but {self.logged!r}"
                break
            self.logged += piece
        return self.logged

    def close(self) -> None:
        self.sock.close()
        self.page.close()
        os.close(self.log_fd)


class Server(Peer):
    """A fork server in one interpreter, with a run directory of its own under `root`."""

    def __init__(self, python: str, pyz: Path, *, environment: dict[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours)
        self.epoch = 7
        self.workers: list[Worker] = []
        self.incarnations = itertools.count(1)
        self.process = subprocess.Popen(
            [python, str(pyz), "serve", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **(environment or {})},
        )
        theirs.close()
        self.hello = self.expect(wire.HELLO).json()

    def enter(self, root: Path) -> Server:
        """Work under this run directory from now on."""
        self.root = root
        self.code = root / "code"
        self.script = self.code / "score.py"
        self.items = [str(root / "in" / f"item{i:03}") for i in range(100)]
        for folder in ("code", "spill", "stage", "OUT"):
            (root / folder).mkdir(exist_ok=True)
        return self

    def leave(self) -> None:
        """End what a test has left, so that the next one finds an idle server."""
        workers, self.workers = self.workers, []
        for worker in workers:
            if not worker.over:
                try:
                    os.killpg(worker.pid, signal.SIGKILL)
                except ProcessLookupError:  # it has ended by itself
                    pass
                self.exited(worker)
            worker.close()
        assert not self.frames, self.frames

    def job(self, script: str | bytes, **changes: Any) -> None:
        """Write the script, make the plan and configure the server."""
        self.script.write_bytes(script if isinstance(script, bytes) else script.encode())
        layout = {name: changes.pop(name) for name in ("batch_size", "partitions") if name in changes}
        plan = write_plan(self.root / "plan", changes.pop("items", self.items), **layout)
        body = changes.pop("body", b"")
        head = {
            "run_id": "test",
            "epoch": self.epoch,
            "plan": str(plan),
            "script": str(self.script),
            "code": str(self.code),
            "argv": ["--logging_level", "info"],
            "env": {},
            "logging_level": "info",
            "output_format": "azure",
            "output_action": "append_row",
            "spill": str(self.root / "spill"),
            "stage": str(self.root / "stage"),
            "out": str(self.root / "OUT"),
            "logs": str(self.root / "logs"),
            "mlruns": str(self.root / "mlruns"),
            "preload": [],
            "spill_over": 1 << 20,
            "linger_ms": 2,
            "linger_bytes": 65536,
            "timeout": 0,
            **changes,
        }
        self.sock.sendall(wire.encode_json(wire.JOB, self.epoch, 0, head, body))

    def fork(self, **changes: Any) -> Worker:
        """Ask for a worker and wait until it is forked."""
        incarnation = next(self.incarnations)
        channel, far = socket.socketpair()
        page_fd = os.memfd_create("page")
        os.truncate(page_fd, pages.SIZE)
        log, log_far = os.pipe()
        head = {
            "slot": incarnation - 1,
            "incarnation": incarnation,
            "epoch": self.epoch,
            "cpus": [],
            "threads": 1,
            "gpu": None,
            "oom_score_adj": 500,
            "home": str(self.root / "stage" / f"w{incarnation}"),
            **changes,
        }
        frame = wire.encode_json(wire.FORK, self.epoch, incarnation, head)
        fds = array.array("i", [far.fileno(), page_fd, log_far])
        sent = self.sock.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        self.sock.sendall(frame[sent:])
        worker = Worker(self, channel, pages.Page(page_fd), log, incarnation)
        far.close()
        os.close(page_fd)
        os.close(log_far)
        try:
            answer = self.expect(wire.FORKED, wire.SERVER_FAILED)
            assert answer.kind == wire.FORKED, answer.json()
        except BaseException:
            worker.close()
            raise
        worker.pid = answer.json()["pid"]
        self.workers.append(worker)  # not before: to kill group 0 is to kill ourselves
        return worker

    def worker(self, script: str | bytes, *, fork: dict[str, Any] | None = None, **changes: Any) -> Worker:
        """A ready worker with this script."""
        self.job(script, **changes)
        worker = self.fork(**(fork or {}))
        worker.ready()
        return worker

    def exited(self, worker: Worker) -> int:
        """The wait status of that worker, once it is reported."""
        while True:
            found = self.expect(wire.EXITED).json()
            if found["incarnation"] == worker.incarnation:
                assert found["pid"] == worker.pid
                worker.over = True
                return int(found["status"])

    def facts(self, script: Path, code: Path) -> dict[str, Any]:
        asked = {"script": str(script), "code": str(code)}
        self.sock.sendall(wire.encode_json(wire.FACTS, 0, 0, asked))
        answer = self.expect(wire.FACTS_FOUND, wire.SERVER_FAILED)
        assert answer.kind == wire.FACTS_FOUND, answer.json()
        return answer.json()

    def close(self) -> None:
        """Hang up; the server must then leave by itself, with every worker."""
        self.sock.close()
        try:
            assert self.process.wait(PATIENCE_S) == 0
        finally:
            self.process.kill()
            self.process.wait()
            for worker in self.workers:
                worker.close()


def wait_until_gone(pid: int) -> None:
    """Returns when that process, which is no child of ours, has ended; a pidfd tells, nothing polls."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([fd], [], [], PATIENCE_S)
        assert ready, f"process {pid} is still there"
    finally:
        os.close(fd)
