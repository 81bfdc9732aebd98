"""The worker's loop: receive leases, call `run`, render the rows, answer.

The shared page says what happens before it happens. Leases are taken in the order in which they came. Results gather
in the outbox until half of the window is done (the pool can then send more while the rest is worked on), until 8 ms or
64 KiB have gathered, or until there is nothing left in hand and nothing to read: no result waits while the worker does.
"""

from __future__ import annotations

import _socket as socket
import os
import time
import zlib

from . import page as pages
from . import wire
from .config import Job
from .context import MiniBatchContext
from .failure import ContractError, describe, peak_memory
from .harvest import Harvest, remove_tree
from .input_check import SHARE, InputCheck
from .outbox import Outbox
from .plan_map import PlanMap
from .room import no_room
from .rows import Renderer, accept
from .script import Scorer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

    Lease = Tuple[int, ...]  # serial, batch, first, count, attempt

_READ = 256 << 10
_AHEAD = 4096  # paths that are made at once, for leases that follow each other in the plan


class Loop:
    """One worker's life after `init()`. `serve` returns when the pool says STOP or is gone."""

    def __init__(
        self,
        job: Job,
        script: Scorer,
        *,
        channel: socket.socket,
        page: pages.Page,
        outbox: Outbox,
        harvest: Harvest,
        incarnation: int,
    ) -> None:
        self._job = job
        self._script = script
        self._channel = channel
        self._page = page
        self._outbox = outbox
        self._harvest = harvest
        self._incarnation = incarnation
        self._renderer = Renderer(
            job.output_format, job.output_action, job.code, header=job.header, separator=script.separator
        )
        self._header = b""
        self._appends = job.output_action != "summary_only"
        self._plan: Optional[PlanMap] = None
        self._check = InputCheck(job.input_check, 0)  # until the plan is there
        self._window = 1

    def serve(self) -> bool:
        """Work until STOP (True) or until the pool has closed the channel (False)."""
        decoder = wire.Decoder()
        page, outbox, channel = self._page, self._outbox, self._channel
        while True:
            data = b""
            if outbox.gathered:
                try:
                    data = channel.recv(_READ, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    self._flush()
            if not data:
                page.move(pages.IDLE, time.monotonic_ns())
                try:
                    data = channel.recv(_READ)
                except ConnectionResetError:
                    return False
                if not data:
                    return False
            leases: List[Lease] = []
            stop = False
            for frame in decoder.feed(data):
                if frame.kind == wire.LEASES:
                    leases += wire.lease_records(frame.head)
                elif frame.kind == wire.STOP:
                    stop = True
                else:
                    raise wire.ProtocolError("a worker does not expect frames of kind %d" % frame.kind)
            if leases:
                self._score_all(leases)
            if stop:
                self._flush()
                return True

    def _flush(self) -> None:
        self._page.move(pages.SEND, time.monotonic_ns())
        self._outbox.flush()

    def _score_all(self, leases: List[Lease]) -> None:
        """The hot path: microseconds per mini-batch beside run(), so names are bound once, nothing built per item."""
        outbox, page, harvest, renderer = self._outbox, self._page, self._harvest, self._renderer
        put, is_void, clock, crc32 = page.put, page.is_void, time.monotonic_ns, zlib.crc32
        gathered = outbox.gathered
        pack, add, has_new, per_file = wire.SCORED_RECORD.pack, outbox.add, harvest.has_new, self._script.per_file
        render = renderer.render_tables if per_file else renderer.render
        run, with_context, appends, spill_over = (
            self._script.run,
            self._script.with_context,
            self._appends,
            self._job.spill_over,
        )
        plan = self._plan = self._plan or self._open_plan()
        partition, check = plan.partition, self._check
        # The pool's window as seen from here, forgotten slowly: half of it is sent as soon as it is done.
        self._window = max(len(leases) + len(gathered), self._window - 1)
        half = (self._window + 1) // 2
        voided: List[int] = []
        for lease, items in with_items(leases, plan):
            serial, batch, first, count, attempt = lease
            if is_void(serial):
                voided.append(serial)
                continue
            phase = "run"
            start = clock()
            put(pages.RUN, serial, start)
            try:
                held = check.before(items) if check.credit > 0 else None
                given = list(items) if held is not None else items  # the list is the script's to change
                result = run(given, MiniBatchContext(batch, partition(batch))) if with_context else run(given)
                if type(result) is not list:
                    result = accept(result, outbox.note)
                end = clock()
                check.credit += (end - start) >> SHARE
                if held is not None:
                    check.after(items, held)
                    end = clock()
                if outbox.stray:  # a child that the script forked, and that came back out of run()
                    os._exit(0)
                put(pages.RENDER, serial, end)
                phase = "render"
                rows = render(result)
                n_rows = len(result)
                phase = "stage"
                files = self._collect(lease) if has_new() else None
                if files or len(rows) > spill_over:
                    if renderer.header != self._header:
                        self._say_header()
                    self._answer_long(lease, rows, files or [], n_rows=n_rows, start_ns=start, end_ns=end)
                    continue
            except BaseException as error:
                self._fail(lease, phase, clock() - start, error)
                continue
            if renderer.header != self._header:
                self._say_header()
            if n_rows > count and not per_file:
                self._note_surplus(n_rows, count)
            if add(
                pack(
                    serial,
                    batch,
                    first,
                    count,
                    attempt,
                    len(rows),
                    crc32(rows),
                    n_rows if appends else 0,
                    n_rows if n_rows < count and not per_file else count,
                    end - start,
                    clock() - start,
                ),
                rows,
                start,
                end,
            ) or (len(gathered) >= half):
                put(pages.SEND, serial, end)
                outbox.flush()
            elif not outbox.watched:
                outbox.watch()
        if voided:
            outbox.say(wire.VOIDED, {"serials": voided})

    def _open_plan(self) -> PlanMap:
        plan = PlanMap(self._job.plan)
        self._check = InputCheck(self._job.input_check, plan.items)
        return plan

    def _say_header(self) -> None:
        self._header = self._renderer.header
        self._outbox.columns(self._header)

    def _note_surplus(self, n_rows: int, count: int) -> None:
        text = "run() returned %d rows for %d items; all are written, and no more than %d items count as succeeded"
        self._outbox.note("surplus", text % (n_rows, count, count))

    def _staged_name(self, lease: Lease) -> str:
        return "%d.%d.%d.%d.%d" % (self._job.epoch, self._incarnation, lease[1], lease[2], lease[4])

    def _collect(self, lease: Lease) -> List[Tuple[str, int]]:
        staged = self._staged_name(lease)
        try:
            return self._harvest.collect(staged)
        except BaseException:
            remove_tree(os.path.join(self._job.stage, staged))
            raise

    def _answer_long(
        self, lease: Lease, rows: bytes, files: List[Tuple[str, int]], *, n_rows: int, start_ns: int, end_ns: int
    ) -> None:
        """A result with files, or with more rows than a frame should hold. Raises what spilling raises."""
        serial, batch, first, count, attempt = lease
        job = self._job
        staged = self._staged_name(lease) if files else ""
        spill = ""
        try:
            if len(rows) > job.spill_over:
                spill = "%d.%d.%d" % (job.epoch, self._incarnation, serial)
                write_spill(os.path.join(job.spill, spill), rows)
            fields: Dict[str, Any] = {
                "serial": serial,
                "lease": [batch, first, count, attempt],
                "n_rows": n_rows if self._appends else 0,
                "ok": count if self._script.per_file else min(n_rows, count),
                "crc": zlib.crc32(rows),
                "length": len(rows),
                "run_ns": end_ns - start_ns,
                "busy_ns": time.monotonic_ns() - start_ns,
                "spill": spill,
                "staged": staged,
                "files": [list(entry) for entry in files],
            }
            if n_rows > count and not self._script.per_file:
                self._note_surplus(n_rows, count)
            self._page.put(pages.SEND, serial, time.monotonic_ns())
            try:
                self._outbox.say(wire.SCORED_LONG, fields, b"" if spill else rows)
            except wire.ProtocolError:
                raise ContractError("%d files of one mini-batch do not fit into one answer" % len(files)) from None
        except BaseException:
            if staged:
                remove_tree(os.path.join(job.stage, staged))
            if spill:
                _unlink(os.path.join(job.spill, spill))
            raise

    def _fail(self, lease: Lease, phase: str, run_ns: int, error: BaseException) -> None:
        """Say that the attempt failed. Its files go first: they must not pass for the next mini-batch's. Where they
        cannot be deleted this worker must not score another one: raises what deleting raised, after all is said."""
        if self._outbox.stray:
            os._exit(1)
        self._check.credit += run_ns >> SHARE
        fields: Dict[str, Any] = {"serial": lease[0], "lease": list(lease[1:]), "run_ns": run_ns, "phase": phase}
        fields.update(describe(error), peak=peak_memory())
        fields["errno"] = no_room(error, self._job.stage, self._job.spill)
        del error  # and with it the frames of run() and all that they hold
        stuck: Optional[OSError] = None
        try:
            if self._harvest.has_new():
                self._harvest.discard()
        except OSError as second:
            stuck = second
        self._page.put(pages.SEND, lease[0], time.monotonic_ns())
        self._outbox.say(wire.FAILED, fields)
        if stuck is not None:
            self._outbox.note("stuck", "the worker ends: files of a failed attempt could not be deleted: %s" % stuck)
            raise stuck


def with_items(leases: Sequence[Lease], plan: PlanMap) -> Iterator[Tuple[Lease, List[str]]]:
    """Each lease and the paths of its items, a fresh list. They are made for many leases at once, as far as the plan
    has those side by side: most of what a few paths cost does not depend on how many they are."""
    ahead: List[str] = []
    begin = 0  # the item that `ahead` begins with
    for place, lease in enumerate(leases):
        _, _, first, count, _ = lease
        at = first - begin
        if at < 0 or at + count > len(ahead):
            ahead, begin, at = plan.paths(first, _side_by_side(leases, place)), first, 0
        yield lease, ahead[at : at + count]


def _side_by_side(leases: Sequence[Lease], place: int) -> int:
    """Items of the lease at `place` and of those that follow it without a gap, up to `_AHEAD` altogether."""
    first, end = leases[place][2], 0
    for _, _, begin, count, _ in leases[place : place + _AHEAD]:
        if end and (begin != end or begin + count - first > _AHEAD):
            break
        end = begin + count
    return end - first


def write_spill(path: str, rows: bytes) -> None:
    """Rows to a file of our own, all of them or it raises. The coordinator syncs what it keeps, and deletes it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(rows)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
