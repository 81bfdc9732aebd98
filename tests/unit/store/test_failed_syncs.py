"""No sync is tried again on what failed once: every sync of a whole run fails in turn, and whoever goes on in the same
process is refused without another sync of that file. A fresh process ends in the same bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from batchctl.errors import BatchctlError, ExitCode, NoSpaceError
from batchctl.files import RealDisk
from batchctl.model.job import OnCollision, Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored, StagedFile
from batchctl.store.commit import Committer, Group
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.finish import finish, open_finished
from batchctl.store.layout import RunLayout
from batchctl.store.recover import recover


class OneByOne(RealDisk):
    """Syncs that may overlap come one after the other, so that nothing is under way when one of them fails."""

    def together(self, steps: Sequence[Callable[[], None]]) -> None:
        for step in steps:
            step()


RUN, BOUNDS, DISK = "r", (0, 2, 4), OneByOne()
ROWS = {0: b"a\nb\n", 1: b"c\nd\n"}


class Syncs:
    """Lets the n-th sync fail, and remembers which file or folder each one was of."""

    def __init__(self, failing: int, number: int) -> None:
        self.failing, self.number = failing, number
        self.seen: list[str] = []

    def __call__(self, descriptor: int) -> None:
        self.seen.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if len(self.seen) == self.failing:
            raise OSError(self.number, os.strerror(self.number))

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", self)
            patch.setattr(os, "fdatasync", self)
            yield


class Life:
    """One process's way through a run; `committer` is there once it has recovered."""

    def __init__(self, layout: RunLayout, rule: OnCollision) -> None:
        self.layout, self.rule = layout, rule
        self.committer: Committer | None = None

    def run(self) -> None:
        layout = self.layout
        if run_state(DISK, layout) is RunState.FINISHED:
            open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True)
            return
        if run_state(DISK, layout) is not RunState.STARTED:
            create_run(DISK, layout, job_document={"run_id": RUN}, plan_chunks=[b"plan"])
        found = recover(DISK, layout, run_id=RUN, bounds=BOUNDS, boot_id="b", version="0", on_collision=self.rule)
        self.committer = found.committer
        for batch in (1, 0):
            if found.ledger.open_ranges(batch):
                found.committer.commit(Group(scored=[self.scored(batch)], columns=b"h\n"))
        finish(DISK, layout, committer=found.committer, order=Order.PLAN)

    def scored(self, batch: int) -> Scored:
        folder = self.layout.stage / str(batch)
        folder.mkdir(parents=True, exist_ok=True)
        name = "all.txt" if self.rule is OnCollision.APPEND else f"{batch}.txt"
        (folder / name).write_bytes(b"file %d\n" % batch)
        lease = Lease(batch, BOUNDS[batch], 2, 1)
        rows = ROWS[batch]
        return Scored(
            lease, rows, len(rows), zlib.crc32(rows), 2, 2, 0, 5, staged=str(batch), files=(StagedFile(name, 7),)
        )

    def insist(self) -> None:
        """What nobody should do after an error: go on."""
        committer = self.committer
        if committer is None:
            return
        attempts = (
            lambda: committer.commit(Group(scored=[self.scored(0)])),
            committer.sync_rows,
            lambda: committer.note_claims([Lease(0, 0, 2, 9)]),
        )
        for attempt in attempts:
            with contextlib.suppress(BatchctlError):
                attempt()
        with contextlib.suppress(BatchctlError):
            committer.close(clean=True)


def result(layout: RunLayout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.out.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("state", "rule", "number"),
    [
        pytest.param("", OnCollision.FAIL, errno.EIO, id="in OUT"),
        pytest.param("", OnCollision.APPEND, errno.ENOSPC, id="files joined, the disk full"),
        pytest.param("state", OnCollision.APPEND, errno.EIO, id="a state directory"),
    ],
)
def test_a_failed_sync_is_not_tried_again(tmp_path: Path, state: str, rule: OnCollision, number: int) -> None:
    def layout_of(name: str) -> RunLayout:
        return RunLayout(tmp_path / name / "out", "p.csv", state=tmp_path / name / state if state else None)

    calm = Syncs(0, number)
    with calm.patched():
        Life(layout_of("calm"), rule).run()
    expected = result(layout_of("calm"))
    assert len(calm.seen) > 20
    for n in range(1, len(calm.seen) + 1):
        layout = layout_of(f"at{n}")
        syncs, life = Syncs(n, number), Life(layout, rule)
        with syncs.patched():
            with pytest.raises(BatchctlError) as caught:
                life.run()
            failed = syncs.seen[-1]
            assert len(syncs.seen) == n, f"sync {n} of {failed} failed, and the run went on"
            assert caught.value.exit_code is ExitCode.STORAGE
            assert not isinstance(caught.value, NoSpaceError), "a sync is never waited for"
            life.insist()
            assert failed not in syncs.seen[n:], f"{failed} was synced again"
        with Syncs(0, number).patched():  # what is asked here is what was said, not what the disk does: be quick
            Life(layout, rule).run()
        assert result(layout) == expected
