"""What the end of a run takes, begun while its last mini-batches are scored: fewer and fewer workers are busy then."""

from __future__ import annotations

from collections.abc import Callable

from batchctl.errors import BatchctlError, StorageError
from batchctl.files import Disk
from batchctl.model.column_types import Columns
from batchctl.model.job import JobSpec
from batchctl.run.journal import Journal
from batchctl.store.commit import Committer
from batchctl.store.layout import RunLayout

MOST_BATCHES = 20_000  # mini-batches: those before the beginning are listed at once
_SOON_S = 0.2  # after the first worker was ready: a shorter run has no use for what is loaded then
_LATEST_S = 1.0  # after the first look: until workers are ready somebody may install another version
_LEAST_BYTES = 4 << 20  # of rows: less takes a few milliseconds at the end
_TABLE_BYTES = 300 << 20  # of memory: pyarrow, two row groups, what one is encoded with
_TEXT_PACE, _TABLE_PACE = 1_000_000_000, 100_000_000  # bytes of rows seen to in a second, on a busy machine


class NearEnd:
    """The final file goes to `journal.early`, where it is begun. `ready`: how many workers are. `room`: bytes of memory
    that may be taken, as seen last. `clock` in monotonic seconds."""

    def __init__(
        self,
        disk: Disk,
        layout: RunLayout,
        *,
        spec: JobSpec,
        committer: Committer,
        journal: Journal,
        ready: Callable[[], int],
        room: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._layout = layout
        self._spec = spec
        self._committer = committer
        self._journal = journal
        self._ready = ready
        self._room = room
        self._clock = clock
        ledger = committer.ledger
        self._open = layout.rows and len(ledger.bounds) <= MOST_BATCHES and not committer.sealed
        self._before = ledger.committed + ledger.quarantined
        self._has_arrow = False  # or it was tried
        self._loaded = False
        self._first_look: float | None = None
        self._since: float | None = None  # when the first worker was ready

    def look(self, last: bool) -> None:
        """Again and again, on the loop's thread. `last`: nothing is left to do but wait for workers."""
        if self._since is None and self._ready():
            self._since = self._clock()
        if self._first_look is None:
            self._first_look = self._clock()
            self._load(_what_clears_up)
        if not self._loaded and (self._elapsed_s >= _SOON_S or self._clock() - self._first_look >= _LATEST_S):
            self._load_all()
        journal, table = self._journal, self._spec.writes_tables
        if self._open and not journal.committing and self._committer.rows_size >= _LEAST_BYTES:
            near = self._is_near
            if (near or last) and journal.paused_since is None and (not table or self._room() >= _TABLE_BYTES):
                self._load_all()
                if self._open:
                    self._open = False
                    self._begin()
        if last and table and not self._has_arrow:
            self._load_all()
            if not self._has_arrow:
                self._has_arrow = True
                _load_arrow(self._committer.types)

    def _load_all(self) -> None:
        """On this thread: what is begun here has its own."""
        if not self._loaded:
            self._loaded = True
            self._load(self._what_it_takes)

    def _load(self, modules: Callable[[], None]) -> None:
        """Import them before they are needed: in a long run they might be another version's then."""
        try:
            modules()
        except BatchctlError:  # a signal has come
            raise
        except Exception:  # noqa: BLE001 - no descriptor is left, say: the end tries again, and says what is wrong
            self._open, self._has_arrow = False, True

    def _what_it_takes(self) -> None:
        import hashlib  # noqa: F401 - for much to digest

        if self._spec.writes_tables:
            import batchctl.store.table
        if self._open:
            import batchctl.store.early  # noqa: F401

    @property
    def _elapsed_s(self) -> float:
        """Since the first worker was ready."""
        return 0.0 if self._since is None else self._clock() - self._since

    @property
    def _is_near(self) -> bool:
        ledger = self._committer.ledger
        over = ledger.committed + ledger.quarantined
        if self._since is None or not over:
            return False
        takes_s = self._committer.rows_size * ledger.items / over
        takes_s /= _TABLE_PACE if self._spec.writes_tables else _TEXT_PACE
        return is_near(self._elapsed_s, done=over - self._before, left=ledger.items - over, takes_s=takes_s)

    def _begin(self) -> None:
        if self._spec.writes_tables and not _load_arrow(self._committer.types):
            return
        try:
            from batchctl.store.early import EarlyFinish

            early = EarlyFinish(
                self._disk,
                self._layout,
                committer=self._committer,
                order=self._spec.order,
                table=self._spec.writes_tables,
            )
        except (StorageError, RuntimeError):  # no descriptor, no thread: the end does it, and says if it cannot
            return
        self._journal.early = early


def _what_clears_up() -> None:
    """Every run needs it at its end; while the first worker starts, the coordinator has nothing else to do."""
    import shutil  # noqa: F401


def is_near(elapsed_s: float, *, done: int, left: int, takes_s: float) -> bool:
    """Will what is `left` of the items take no longer than `takes_s`, at the pace of those that were `done`?"""
    return done > 0 and elapsed_s * left <= takes_s * done


def _load_arrow(types: Columns) -> bool:
    """See `load_arrow`, which runs without tables can do without."""
    from batchctl.store.table import load_arrow

    return load_arrow(types)
