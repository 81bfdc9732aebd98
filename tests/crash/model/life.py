"""One life of a coordinator on a modelled disk: create or recover, drive the job to its end, check every promise."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import NamedTuple

from batchctl.errors import NoSpaceError
from batchctl.model.records import Charged, Reopening
from batchctl.store.commit import Committer, Group, ProtocolError
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.documents import read_document
from batchctl.store.early import EarlyFinish
from batchctl.store.finish import Finished, finish, open_finished
from batchctl.store.ledger import Ledger
from batchctl.store.recover import Recovered, recover
from batchctl.store.reopen import reopen_finished
from batchctl.store.replay import read_records
from batchctl.store.state_directory import find, settle
from batchctl.store.verify import verify
from tests.crash.model.begun_early import begin_early
from tests.crash.model.tables import remembered
from tests.crash.model.workload import (
    BOUNDS,
    JOB,
    PLAN,
    RUN_ID,
    SETTINGS,
    Scenario,
    fails,
    group_of,
    in_item_order,
    next_leases,
    score,
    to_reopen,
    types_of,
)
from tests.doubles.disk import DIR, MemoryDisk


class Violation(AssertionError):
    """A promise was broken."""


class Acked(NamedTuple):
    """What has been promised so far: ranges committed and given up, charges, exit 0."""

    committed: frozenset[tuple[int, int]] = frozenset()
    quarantined: int = 0
    charges: frozenset[tuple[int, ...]] = frozenset()
    finished: bool = False
    generation: int = 0
    old: bytes = b""  # the final file that a retry will replace


class Result(NamedTuple):
    """What must be the same however often it crashed."""

    final: bytes
    published: tuple[tuple[str, bytes], ...]
    counts: tuple[int, ...]
    charges: tuple[tuple[int, ...], ...]
    extents: tuple[tuple[int, int, int, int], ...]


class Life:
    """`acked` is kept up to date as promises are made, for whoever takes a snapshot in between."""

    def __init__(self, disk: MemoryDisk, scenario: Scenario, *, acked: Acked, reverse: bool) -> None:
        self.disk = disk
        self.scenario = scenario
        self.layout = scenario.layout
        self.acked = acked
        self.reverse = reverse
        self.early: EarlyFinish | None = None
        self.phase = "create"

    def run(self, *, thorough: bool) -> Result:
        """To the end of the job. Raises whatever the store raises."""
        self.promise(settle(self.disk, self.layout) == self.layout, "the run lies elsewhere")
        state = run_state(self.disk, self.layout)
        created = state in {RunState.ABSENT, RunState.HALF_CREATED}
        if created:
            self.promise(not self.acked.committed, "the run vanished")
            number = self.disk.inodes  # no creation has that of another
            document, plan = {**JOB, "creation": number}, b"%s %d" % (PLAN, number)
            create_run(self.disk, self.layout, job_document=document, plan_chunks=[plan])
        self.promise(find(self.disk, self.layout.at(None)) == self.layout, "the way to the state directory is lost")
        found = dict(read_document(self.disk, self.layout.job))
        number = found.pop("creation")
        self.promise(found == JOB, "job.json is another one")
        self.promise(self.disk.read(self.layout.plan) == b"%s %d" % (PLAN, number), "the plan is another one")
        if self.acked.old:
            final = self.layout.final
            self.promise(self.disk.stat(final) is not None, "the old final file is gone")
            kept = state is RunState.FINISHED or self.disk.read(final) == self.acked.old
            self.promise(kept, "the old final file changed before the new one was sealed")
        if state is RunState.FINISHED:
            self.phase = "finished"
            done = open_finished(self.disk, self.layout, run_id=RUN_ID, bounds=BOUNDS, locked=True)
            self.promise(done.generation >= self.acked.generation, "a retry was forgotten")
            if done.generation or self.scenario.retry != "finished":
                charges = {tuple(record.lease) for record in done.records if isinstance(record, Charged)}
                return self._end(done.ledger, charges, thorough=thorough)
            self._reopen(done)
        self.promise(not self.acked.finished, "exit 0 was forgotten")
        recovered, charges = self._recover(created=created)
        self.phase = "drive"
        self._drive(recovered, charges)
        if self.scenario.retry == "open" and not recovered.generation and not recovered.done:
            recovered.committer.close(clean=True)
            recovered, charges = self._recover(again=True)
            self.phase = "drive"
            self._drive(recovered, charges)
        self.phase = "finish"
        with remembered() if self.scenario.table else nullcontext():
            try:
                self._finish(recovered)
            except NoSpaceError:
                self._finish(recovered)
        if self.scenario.retry == "finished" and not recovered.generation:
            return self.run(thorough=thorough)
        return self._end(recovered.ledger, charges, thorough=thorough)

    def _finish(self, recovered: Recovered) -> None:
        scenario = self.scenario
        finish(
            self.disk,
            self.layout,
            committer=recovered.committer,
            order=scenario.order,
            table=scenario.table,
            early=self.early,
        )

    def _reopen(self, done: Finished) -> None:
        self.phase = "reopen"
        ranges = to_reopen(done.records)
        old = self.disk.read(self.layout.final) if self.layout.rows else b""
        self.acked = self._without(ranges)._replace(old=old)
        reopen_finished(self.disk, self.layout, run_id=RUN_ID, bounds=BOUNDS, ranges=ranges)
        self.acked = self.acked._replace(generation=1)

    def _without(self, ranges: list[Reopening]) -> Acked:
        """What stays promised when these are to be scored again."""
        again = {(one.first, one.count) for one in ranges}
        return self.acked._replace(committed=self.acked.committed - again, quarantined=0, finished=False)

    def _recover(self, *, again: bool = False, created: bool = False) -> tuple[Recovered, set[tuple[int, ...]]]:
        """Open the run; `again`: to score again, before its end, what had come to little."""
        self.phase = "recover"
        ranges: list[Reopening] = []
        if again:
            ranges = to_reopen(read_records(self.disk, self.layout, run_id=RUN_ID))
            self.acked = self._without(ranges)
        recovered = recover(
            self.disk,
            self.layout,
            run_id=RUN_ID,
            bounds=BOUNDS,
            boot_id="b",
            version="1",
            settings=SETTINGS,
            on_collision=self.scenario.on_collision,
            reopening=ranges,
            created=created,
        )
        charged = [tuple(record.lease) for record in recovered.records if isinstance(record, Charged)]
        charges = set(charged)
        self.promise(len(charges) == len(charged), "a failure was charged twice")
        committed = frozenset((extent.first, extent.items) for extent in recovered.ledger.extents())
        self.promise(recovered.generation >= self.acked.generation, "a retry was forgotten")
        self.promise(self.acked.committed <= committed, "an acknowledged commit was lost")
        self.promise(self.acked.quarantined <= recovered.ledger.quarantined, "a quarantine was lost")
        self.promise(self.acked.charges <= charges, "a charged failure was lost")
        self.acked = self.acked._replace(
            committed=committed,
            quarantined=recovered.ledger.quarantined,
            charges=frozenset(charges),
            generation=recovered.generation,
        )
        return recovered, charges

    def promise(self, kept: bool, what: str) -> None:
        if not kept:
            raise Violation(what)

    def _drive(self, recovered: Recovered, charges: set[tuple[int, ...]]) -> None:
        committer, generation = recovered.committer, recovered.generation
        ledger = committer.ledger
        counted = Counter((first, count) for _, first, count, _ in charges)
        sequence = self.scenario.sequence[::-1] if self.reverse else self.scenario.sequence
        size = 13 if self.reverse else self.scenario.group  # later lives: few large groups, for speed
        stale = None
        while not ledger.complete:
            todo = [
                lease
                for batch in sequence
                for lease in next_leases(batch, ledger=ledger, charges=counted, generation=generation)
            ][:size]
            leases = [lease for lease, give_up in todo if not give_up]
            if leases and (not self.reverse or stale is None):
                self._patiently(committer, Group(claims=leases))
            scored = [
                score(self.disk, self.scenario, lease=lease, epoch=committer.epoch)
                for lease in leases
                if not fails(lease)
            ]
            failed = [lease for lease in leases if fails(lease)]
            given_up = [lease for lease, give_up in todo if give_up]
            given_up += [lease for lease in failed if lease.count == 1 and lease.batch == 2 and not generation]
            columns = b"" if committer.columns else self.scenario.columns
            types = types_of(scored, fixed=committer.types) if self.scenario.table else ()
            self._patiently(committer, group_of(scored, failed, given_up, columns=columns, types=types))
            charges.update(tuple(lease) for lease in failed)
            counted.update((lease.first, lease.count) for lease in failed)
            self.acked = self.acked._replace(
                committed=self.acked.committed | {(one.lease.first, one.lease.count) for one in scored},
                quarantined=ledger.quarantined,
                charges=frozenset(charges),
            )
            if self.scenario.early and self.early is None and 2 * ledger.committed >= ledger.items:
                self.early = begin_early(self.disk, self.scenario, committer=committer)
            fresh = stale is None or not self.reverse
            stale = next((one for one in scored if not one.files and not one.spill), stale)
            if stale and fresh:
                self._say_again(committer, stale)

    def _patiently(self, committer: Committer, group: Group) -> None:
        """A full disk is waited for: the same group again."""
        before = (committer.ledger.committed, committer.ledger.quarantined)
        try:
            committed = committer.commit(group)
        except NoSpaceError:
            self.promise(
                before == (committer.ledger.committed, committer.ledger.quarantined), "a group that did not fit counts"
            )
            if self.early:
                self.early.give_up()
            committed = committer.commit(group)
        if self.early:
            self.early.follow(committed)

    def _say_again(self, committer: Committer, stale: object) -> None:
        """A worker of old says once more what is committed already."""
        try:
            committer.commit(Group(scored=[stale]))  # type: ignore[list-item]
        except ProtocolError:
            return
        except ValueError as error:
            raise Violation(f"a stale result was written: {error}") from error
        raise Violation("a stale result was committed")

    def _end(self, ledger: Ledger, charges: set[tuple[int, ...]], *, thorough: bool) -> Result:
        self.acked = self.acked._replace(finished=True)
        self.phase = "end"
        if self.reverse:
            self._survives()  # a first life is crashed here instead
        if thorough:
            found = verify(self.disk, self.layout, run_id=RUN_ID, bounds=BOUNDS)
            self.promise(found.sound and found.finished and not found.open_items, f"verify: {found.problems}")
        view = {name: self.disk.files[ino].view for name, ino in self.disk.names.items() if ino != DIR}
        own, final = tuple(f"{folder}/" for folder in self.layout.folders), str(self.layout.final)
        leftover = [
            name
            for name in view
            if name.startswith(f"{self.layout.out}/{self.layout.output_file_name}.")
            or "/stage/" in name
            or "/parts/" in name
            or "/spill/" in name
        ]
        self.promise(not leftover, f"left over: {leftover}")
        rows = view.pop(final, b"")
        if self.scenario.order == "completion" and self.scenario.table:
            rows = in_item_order(rows)
        elif self.scenario.order == "completion":
            rows = b"".join(sorted(rows.splitlines(keepends=True)))
        published = sorted((name, data) for name, data in view.items() if not name.startswith(own))
        extents = tuple((e.first, e.items, e.length, e.crc) for e in ledger.extents())
        counts = (ledger.committed, ledger.quarantined, ledger.ok, ledger.failed, ledger.n_rows)
        return Result(rows, tuple(published), counts, tuple(sorted(charges)), extents)

    def _survives(self) -> None:
        """Exit 0 was said: a power cut that loses all it can must change nothing that matters."""
        disk, locks = self.disk, {str(self.layout.lock), str(self.layout.state_lock)}
        for name, ino in disk.names.items():
            if ino == DIR or name in locks:
                continue
            state = disk.files[ino]
            self.promise(disk.durable_names.get(name) == ino and state.durable == state.view, f"{name} is not durable")
        if self.scenario.rows:
            self.promise(str(self.layout.final) in disk.durable_names, "the final file is not durable")
