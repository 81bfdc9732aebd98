"""The loop: events in, decisions from `dispatch`, leases out, outcomes into the journal.

    engine.poll -> events -> file queue / crew -> journal -> (flusher thread) -> committed -> counts -> threshold

Everything here happens on the coordinator's main thread. Only what is committed counts. A run winds down in one of two
ways: a *drain* finishes what is leased (until `grace`), an *abort* kills the workers; both commit what came back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.slot_health import InitDecision
from batchctl.engine.base import Engine
from batchctl.errors import BatchctlError, InitFailedError
from batchctl.model.events import (
    ColumnsSeen,
    EngineLost,
    Event,
    GuestWarned,
    InitFailed,
    LeaseFailed,
    LeasesReturned,
    LeasesScored,
    WorkerForked,
    WorkerGone,
    WorkerReady,
)
from batchctl.model.job import JobSpec
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored, Shortage
from batchctl.model.progress import RunState
from batchctl.run.columns import Columns, ColumnTypes
from batchctl.run.crew import Crew
from batchctl.run.ending import Conducted, Ending, Phase, excess_so_far, init_error
from batchctl.run.foreman import Foreman
from batchctl.run.journal import Journal
from batchctl.run.refusals import Refusals
from batchctl.run.signals import StopSignals
from batchctl.run.telling import Teller
from batchctl.store.commit import Group
from batchctl.store.publish import FilesRefusedError

_DISMISS_S = 30.0  # what shutdown() may take when all is done
_SERVERS_LOST_IN_A_ROW = 3
_MAX_WAIT_S = 0.25
_KILL_S = 10.0  # what the kernel may take to end killed workers before they are left behind

ChangedInputs = Callable[[Sequence[Lease]], BatchctlError | None]


class Conductor:
    """Runs one epoch. `changed` (resumes only) looks at the inputs of leases before they are handed out. `near_end` is
    called again and again, on this thread; with True when each worker has its last lease: nothing is left but to wait.
    """

    def __init__(
        self,
        *,
        spec: JobSpec,
        engine: Engine,
        queue: FileQueue,
        crew: Crew,
        foreman: Foreman,
        journal: Journal,
        teller: Teller,
        signals: StopSignals,
        columns: Columns | ColumnTypes,
        changed: ChangedInputs | None,
        near_end: Callable[[bool], None],
        mask: Callable[[Failure], Failure],
        clock: Callable[[], float],
    ) -> None:
        self._spec = spec
        self._engine = engine
        self._queue = queue
        self._crew = crew
        self._foreman = foreman
        self._journal = journal
        self._teller = teller
        self._signals = signals
        self._columns = columns
        self._changed = changed
        self._near_end = near_end
        self._mask = mask
        self._clock = clock
        self._phase = Phase.RUNNING
        self._why: Conducted | BatchctlError | None = None
        self._deadline = 0.0
        self._refusals = Refusals()
        self._servers_lost = 0
        self._signals_seen = 0

    def run(self) -> Conducted:
        """Until every item is done or the run is stopped; the workers have been told to leave then (`see_off`). Raises
        BatchctlError when it cannot go on; then they are gone."""
        self._teller.state = RunState.STARTING
        self._judge()  # a resume of a run that has failed already starts nobody
        if self._phase is Phase.RUNNING and not self._queue.finished:
            self._foreman.start(waiting=self._queue.counts.waiting)
        while not self._is_over():
            now = self._clock()
            for event in self._engine.poll(min(_MAX_WAIT_S, self._journal.due_in(now), self._foreman.due_in(now))):
                self._take(event)
            self._pump()
            self._heed_signals()
            if self._phase is Phase.RUNNING:
                self._grant()
                self._foreman.look(waiting=self._queue.counts.waiting, shareable=self._queue.shareable)
                self._near_end(not self._queue.shareable and 0 < self._crew.in_hand <= self._crew.live)
            self._teller.tick()
        why = self._why or Conducted(Ending.ALL_DONE, "")  # what happens while the workers leave changes nothing
        self._crew.dismiss()
        if isinstance(why, BatchctlError):
            self.see_off()
            raise why
        return why

    # --- the end ------------------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._phase is Phase.RUNNING:
            return self._queue.finished and self._journal.empty
        if self._phase is Phase.DRAINING and self._clock() >= self._deadline:
            self._abort()
        self._journal.give_up_pause()
        draining = self._phase is Phase.DRAINING
        held = self._crew.in_hand if draining else self._crew.live and self._clock() < self._deadline
        return not held and self._journal.empty

    def _stop(self, why: Conducted | BatchctlError, *, drain: bool) -> None:
        """Wind down. The first reason stands."""
        self._foreman.rest()
        if self._why is None:
            self._why = why
        if not drain:
            self._abort()
        elif self._phase is Phase.RUNNING:
            self._phase = Phase.DRAINING
            self._teller.winding_down(within_s=self._spec.grace)
            self._deadline = self._clock() + self._spec.grace
            self._crew.withdraw()  # they stay unfinished: the next epoch leases them

    def _abort(self) -> None:
        if self._phase is not Phase.ABORTING:
            self._phase = Phase.ABORTING
            self._teller.winding_down(within_s=_KILL_S)
            self._deadline = self._clock() + _KILL_S
            self._crew.kill()

    def _heed_signals(self) -> None:
        if self._signals.count == self._signals_seen or self._signals.first is None:
            return
        self._signals_seen = self._signals.count
        name = self._signals.first.name
        ending = Ending.INTERRUPTED if name == "SIGINT" else Ending.STOPPED
        if self._phase is Phase.RUNNING:
            told = f"{name}: finishing what is under way (at most {self._spec.grace:g} s; once more to stop now)"
            self._teller.note(told)
            self._stop(Conducted(ending, f"stopped by {name}"), drain=True)
        if self._signals.count > 1:
            self._abort()

    def see_off(self, *, now: bool = False) -> None:
        """Wait while the workers call `shutdown()` and leave; whatever is left after a while (`now`: all) is killed."""
        if now:
            self._abort()
        deadline = self._clock() + (_DISMISS_S if self._phase is Phase.RUNNING else 5.0)
        killed = False
        while self._crew.live:
            self._teller.alive()
            for event in self._engine.poll(0.1):
                self._take(event)
            if self._clock() >= deadline or self._signals.count > max(1, self._signals_seen):
                if killed:
                    break
                self._teller.note("some workers did not leave in time and were killed", level="warning")
                self._crew.kill()
                killed, deadline = True, self._clock() + 5.0

    # --- events -------------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        match event:
            case LeasesScored(slot, incarnation, scored):
                self._take_scored(slot, incarnation, scored)
            case LeaseFailed(slot, incarnation, lease, failure, run_ns):
                if failure.shortage is Shortage.NONE:
                    self._charge(slot, incarnation, lease, failure, run_ns)
                else:
                    self._take_shortage(slot, incarnation, lease, failure, run_ns)
            case LeasesReturned():
                self._take_returned(event)
            case ColumnsSeen(_, incarnation, header):
                self._columns.seen(incarnation, header)
            case WorkerReady():
                self._crew.passed_init(event)
                self._foreman.ready(event.slot)
                self._teller.worker_ready(event)
            case InitFailed():
                self._take_init_failed(event)
            case WorkerGone():
                self._columns.gone(event.incarnation)
                self._teller.worker_gone(event)
                self._foreman.gone(event)
                self._crew.gone(event)
            case GuestWarned(slot, _, text):
                self._teller.warn(slot, text)
            case EngineLost(cause):
                self._take_engine_lost(cause)
            case WorkerForked():
                self._teller.worker_forked(event)

    def _take_scored(self, slot: int, incarnation: int, found: Sequence[Scored]) -> None:
        self._servers_lost = 0
        if self._columns.concern(incarnation):
            found, wrong = self._columns.told_apart(incarnation, found)
            for scored, problem in wrong:
                self._charge(slot, incarnation, scored.lease, problem, scored.run_ns)
        fresh = self._queue.all_scored(found)  # the others are answers that nobody waits for any more
        if fresh:
            run_ns = sum([scored.run_ns for scored in fresh])
            # Rows that take long to render hold the leases behind them up as a long run() does.
            busy_ns = max(run_ns, sum([scored.busy_ns for scored in fresh]))
            self._crew.scored(slot, busy_ns // len(fresh))
            self._foreman.scored(slot, run_ns=run_ns, items=sum([scored.lease.count for scored in fresh]))
            self._journal.add_scored(fresh)
            self._teller.scored(slot, incarnation, fresh)

    def _charge(
        self, slot: int, incarnation: int, lease: Lease, failure: Failure, run_ns: int, *, divide: bool = True
    ) -> None:
        self._crew.charged(slot, run_ns, died=failure.kind is not FailureKind.FAILED)
        failure = self._mask(failure)
        verdict = self._queue.failed(lease, failure, divide=divide)
        if verdict is not None:
            self._journal.add_records(verdict.records)
            self._teller.charged(slot, incarnation, lease, failure, run_ns, verdict)

    def _take_shortage(self, slot: int, incarnation: int, lease: Lease, failure: Failure, run_ns: int) -> None:
        """Memory ran out under a lease. What the kernel's kill means for the crew is told when the worker is gone."""
        failure = self._mask(failure)
        verdict = self._queue.starved(lease, failure, alone=self._crew.live < 2 and self._foreman.is_fresh(slot))
        if failure.shortage is Shortage.GPU:
            self._foreman.starved(slot, in_init=False, gpu=True)
        if verdict is None:
            return
        if verdict.records:
            self._crew.charged(slot, run_ns, died=failure.kind is not FailureKind.FAILED)
            self._journal.add_records(verdict.records)
            self._teller.charged(slot, incarnation, lease, verdict.records[0].failure, run_ns, verdict)
        else:
            self._teller.spared(slot, incarnation, lease, failure, run_ns, verdict)

    def _take_returned(self, event: LeasesReturned) -> None:
        counted = not (event.full or event.cleared)
        for verdict in self._queue.returned(event.leases, began=event.unsent, counted=counted):
            self._journal.add_records(verdict.records)
            lease, failure = verdict.records[0].lease, verdict.records[0].failure
            self._teller.charged(event.slot, event.incarnation, lease, failure, 0, verdict)
        if event.full and self._phase is Phase.RUNNING:
            self._journal.no_room(event.full)

    def _take_init_failed(self, event: InitFailed) -> None:
        self._teller.init_failed(event)
        shortage = event.failure.shortage
        if shortage is Shortage.GPU:  # an exception: nobody will say so when it is gone
            if self._foreman.starved(event.slot, in_init=True, gpu=True):
                return  # its neighbours on the GPU go on without it
        elif shortage is not Shortage.NONE and self._crew.live > 1:
            return  # the foreman is told when it is gone
        decision = self._crew.failed_init(event)
        if decision is InitDecision.END_RUN:
            self._stop(init_error(self._mask(event.failure), where=str(self._spec.script)), drain=False)
        elif decision is InitDecision.CLOSE_SLOT:
            self._foreman.given_up(event.slot)
            self._teller.note(f"slot {event.slot} is closed: init() failed there three times in a row", level="warning")

    def _take_engine_lost(self, cause: str) -> None:
        self._servers_lost += 1
        self._teller.note(f"{cause}; its workers are started anew, nobody is charged for that", level="warning")
        if self._servers_lost >= _SERVERS_LOST_IN_A_ROW:
            text = f"the fork server died {self._servers_lost} times in a row: {cause}"
            self._stop(InitFailedError(text, where=str(self._spec.script)), drain=False)

    # --- leases and commits -------------------------------------------------------------------------------------------

    def _grant(self) -> None:
        if self._journal.is_full or (self._queue.only_suspects and not self._journal.empty):
            return
        if self._queue.only_suspects and self._crew.live > 1:
            self._foreman.keep_one()  # the suspect is to have the machine to itself
            return
        counts = self._queue.counts
        for _ in self._crew.grant(self._take_leases, waiting=counts.waiting, one_each=counts.unclear > 0):
            self._teller.state = RunState.RUNNING

    def _take_leases(self, count: int) -> Sequence[Lease]:
        if self._phase is not Phase.RUNNING:
            return ()  # an input of leases taken a moment ago has changed
        alone, leases = self._queue.only_suspects, self._queue.take(count)
        error = self._changed(leases) if leases and self._changed is not None else None
        if error is not None:
            self._stop(error, drain=True)
            return ()
        self._journal.claim(leases, alone=alone)
        self._teller.leased(leases)
        return leases

    def _pump(self) -> None:
        journal = self._journal
        while True:
            # An end waits for nothing but the commit, nor do workers that nothing is left for.
            idle = self._phase is not Phase.RUNNING or not (self._crew.in_hand or self._queue.shareable)
            try:
                group = journal.pump(idle=idle)
            except FilesRefusedError as error:
                self._take_refusal(error)
                continue
            break
        if group is not None:
            self._count(group)
        if journal.paused_since is not None and self._phase is Phase.RUNNING:
            self._teller.paused(journal.pause_reason)
        elif self._teller.state is RunState.PAUSED:
            self._teller.state = RunState.RUNNING

    def _take_refusal(self, error: FilesRefusedError) -> None:
        """A mini-batch wrote a file that cannot be published (another one has that name): its attempt failed, the rest
        of the group stands."""
        scored = self._journal.reject(error.lease)
        if scored is not None:
            self._queue.unscored(scored.lease)
            failure, divide = self._refusals.judge(error)
            self._charge(-1, 0, scored.lease, failure, scored.run_ns, divide=divide)

    def _count(self, group: Group) -> None:
        self._queue.all_committed(group.scored)
        self._teller.committed(group)
        self._judge()

    def _judge(self) -> None:
        """Is a threshold exceeded by what is durable? At the end `ending` asks once more."""
        if self._phase is Phase.RUNNING and not self._queue.finished:
            lost, batches = self._teller.quarantined_durably, self._teller.failed_batches
            excess = excess_so_far(self._spec, self._queue.counts, quarantined=lost, failed_batches=batches)
            if excess:
                self._stop(Conducted(Ending.THRESHOLD, excess), drain=False)
