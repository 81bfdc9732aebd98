"""Deliberately broken variants of the protocol. Each breaks one thing, as somebody in a hurry might."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from batchctl import files
from batchctl.errors import StorageError
from batchctl.model.column_types import pack_columns
from batchctl.store import (
    assemble,
    checkpoint_log,
    commit,
    creation,
    early,
    finish,
    frames,
    ledger,
    parts,
    payloads,
    publish,
    recover,
    state_directory,
)
from batchctl.store import layout as layouts
from batchctl.store.frames import FrameType
from tests.crash.model.workload import RUN_ID
from tests.doubles import disk as modelled

Patch = tuple[Any, str, Any]


def nothing(*args: Any, **kwargs: Any) -> None:
    return None


def within(owner: Any, name: str, target: Any, attribute: str, replacement: Any) -> Patch:
    """While `owner.name` runs, `target.attribute` is replaced."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(target, attribute, replacement):
            return original(*args, **kwargs)

    return (owner, name, wrapped)


def ledger_before_data(self: commit.Committer, group: commit.Group, *, sync: bool) -> Any:
    original = ORIGINAL_WRITE
    with mock.patch.object(commit.Committer, "_sync_rows_of_group", pretend_rows_synced):
        result = original(self, group, sync=sync)
    self.sync_rows()
    return result


def pretend_rows_synced(self: commit.Committer) -> None:
    if self._rows:
        self._rows.durable = self._rows.size


def acknowledge_before_sync(self: checkpoint_log.LogWriter) -> None:
    self._durable = self._durable


def retry_sync(self: modelled.MemoryAppendFile) -> None:
    try:
        self.disk.sync_inode(self.ino)
    except StorageError:
        self.disk.sync_inode(self.ino)


def sync_after_rename(self: files.Draft) -> None:
    ORIGINAL_DRAFT_PLACE(self)
    ORIGINAL_DRAFT_SYNC(self)


def plan_not_synced(self: files.Draft) -> None:
    if self._path.name != "plan":
        ORIGINAL_DRAFT_SYNC(self)


def all_but_the_run_directory(self: Any, path: Any) -> None:
    if path.name != ".batchctl" and not str(path).startswith("/state"):
        ORIGINAL_SYNC_DIR(self, path)


def all_but_out(self: Any, path: Any) -> None:
    if path.name != "out":
        ORIGINAL_SYNC_DIR(self, path)


def resync_without_rewriting(disk: Any, layout: Any, *, log: Any, rows: Any, tail: Any) -> None:
    if rows:
        rows.datasync()
    log.datasync()
    disk.sync_dir(layout.directory)
    disk.sync_dir(layout.out)


def zero_tail_is_fine(data: memoryview, offset: int, *, seed: int) -> Any:
    found = ORIGINAL_FRAME_AT(data, offset, seed=seed)
    rest = bytes(data[offset : offset + 48])
    if isinstance(found, str) and rest and not rest.strip(b"\0"):
        sequence, group = EXPECTED[0], EXPECTED[1]
        return frames.Frame(FrameType.CLAIM, 0, EXPECTED[2], sequence, 0, 0, group, offset, offset + len(rest))
    if not isinstance(found, str):
        EXPECTED[:] = [found.sequence + 1, found.group, found.epoch]
    return found


EXPECTED = [0, 0, 0]


def duplicates_welcome(self: ledger.Ledger, batch: int, part: ledger.Extent) -> None:
    self._offsets[batch] = part.offset
    self._lengths[batch] = part.length


def done_after_rename(disk: Any, layout: Any, *, committer: Any, order: Any, table: bool = False) -> Any:
    sealed: list[Any] = []
    with mock.patch.object(
        commit.Committer, "seal", lambda self, done: sealed.append(done) or setattr(self, "done", done)
    ):
        close = commit.Committer.close

        def close_sealing(self: commit.Committer, *, clean: bool) -> None:
            if sealed:
                self.done = None
                ORIGINAL_SEAL(self, sealed[0])
            close(self, clean=clean)

        with mock.patch.object(commit.Committer, "close", close_sealing):
            return ORIGINAL_FINISH(disk, layout, committer=committer, order=order, table=table)


def remove_before_final_is_durable(disk: Any, layout: Any, *, committer: Any, order: Any, table: bool = False) -> Any:
    real = type(disk).sync_dir

    def late(self: Any, path: Any) -> None:
        if path != layout.out:
            real(self, path)

    with mock.patch.object(type(disk), "sync_dir", late):
        result = ORIGINAL_FINISH(disk, layout, committer=committer, order=order, table=table)
    disk.sync_dir(layout.out)
    return result


def replaced_before_done(disk: Any, layout: Any, *, committer: Any, order: Any, table: bool = False) -> Any:
    whole = done_after_rename if committer.sealed else ORIGINAL_FINISH
    return whole(disk, layout, committer=committer, order=order, table=table)


def old_final_removed_first(disk: Any, layout: Any, *, committer: Any, order: Any, table: bool = False) -> Any:
    if committer.sealed and layout.rows:
        with mock.patch.object(type(disk), "replace", remove_then_rename):
            return ORIGINAL_FINISH(disk, layout, committer=committer, order=order, table=table)
    return ORIGINAL_FINISH(disk, layout, committer=committer, order=order, table=table)


def remove_then_rename(self: Any, source: Any, target: Any) -> None:
    self.remove(target)
    self.sync_dir(target.parent)
    self.rename_new(source, target)


def whatever_is_there(disk: Any, layout: Any, *, committer: Any, order: Any) -> Any:
    if disk.stat(layout.sorting) is not None:
        return payloads.Arrangement.TABLE_BY_ITEM
    return ORIGINAL_MAKE_TABLE(disk, layout, committer=committer, order=order)


def without_the_late_type(columns: Any) -> bytes:
    return pack_columns(tuple((name, "null" if name == "late" else kind) for name, kind in columns))


def rows_not_cut(file: Any, *, good_end: int) -> int:
    if file.disk.names.get("/data/job/out/.batchctl/checkpoint.log") == file.ino:
        file.truncate(good_end)
    return 0


def no_cut_back(self: commit.Committer) -> None:
    with mock.patch.object(modelled.MemoryAppendFile, "truncate", lambda handle, size: setattr(handle, "broken", "")):
        ORIGINAL_CUT_BACK(self)


def pieces_removed_before_names_are_durable(disk: Any, layout: Any, *, moves: Any) -> None:
    with mock.patch.object(type(disk), "sync_dir", nothing):
        ORIGINAL_PLACE(disk, layout, moves=moves)
    disk.remove_tree(layout.parts)
    disk.sync_dir(layout.directory)
    for folder in {move.target.parent for move in moves}:
        disk.sync_dir(folder)


def in_order_of_commit(self: parts.Parts, name: str) -> list[parts.Piece]:
    return list(self._pieces[name].values())


ORIGINAL_PLACE = publish.place
ORIGINAL_DRAFT_SYNC = files.Draft.sync
ORIGINAL_DRAFT_PLACE = files.Draft.place
ORIGINAL_DRAFT_RENAME = files.Draft.rename
ORIGINAL_SYNC_DIR = modelled.MemoryDisk.sync_dir
ORIGINAL_WRITE = commit.Committer._write
ORIGINAL_SEAL = commit.Committer.seal
ORIGINAL_FINISH = finish.finish
ORIGINAL_MAKE_TABLE = finish._make_table
ORIGINAL_FRAME_AT = frames.frame_at
ORIGINAL_CUT_BACK = commit.Committer._cut_back

SYNC_DIR = (modelled.MemoryDisk, "sync_dir")
SYNC_FILE = (modelled.MemoryDisk, "sync_inode")

# name -> patches; the life driver's own names are patched where it imported them (see `LIFE`)
MUTANTS: dict[str, Callable[[], list[Patch]]] = {
    "no re-sync in recovery": lambda: [
        (recover, "make_durable", nothing),
        within(recover, "_sync_epoch", *SYNC_FILE, nothing),
    ],
    "no frame CRC": lambda: [(frames, "checksum", lambda head, payload, *, seed: 0)],
    "ledger before data": lambda: [(commit.Committer, "_write", ledger_before_data)],
    "truncate skipped": lambda: [(recover, "cut_tail", lambda file, *, good_end: 0)],
    "directory not synced": lambda: [within(recover, "make_durable", *SYNC_DIR, nothing)],
    "rename before sync": lambda: [(files.Draft, "sync", nothing), (files.Draft, "place", sync_after_rename)],
    "names of plan and job.json not synced": lambda: [within_life("create_run", *SYNC_DIR, all_but_the_run_directory)],
    "first start: the log's name not synced": lambda: [within(recover, "_sync_epoch", *SYNC_DIR, nothing)],
    "first start: the rows' name not synced": lambda: [within(recover, "_sync_epoch", *SYNC_DIR, all_but_out)],
    "acknowledge before sync": lambda: [
        within(commit.Committer, "_write_frames", checkpoint_log.LogWriter, "sync", acknowledge_before_sync)
    ],
    "retry after failed sync": lambda: [(modelled.MemoryAppendFile, "datasync", retry_sync)],
    "duplicate commit accepted": lambda: [
        (commit, "_concluded_twice", lambda group, ledger: []),
        (ledger.Ledger, "_add_part", duplicates_welcome),
    ],
    "zero-filled tail accepted": lambda: [(frames, "frame_at", zero_tail_is_fine)],
    "plan not synced": lambda: [(files.Draft, "sync", plan_not_synced)],
    "run directory's parents not synced": lambda: [(creation, "dirs_made", lambda disk, path: [])],
    "tail not written again after a failed sync": lambda: [(recover, "make_durable", resync_without_rewriting)],
    "published files not synced": lambda: [within(commit, "make_staged_durable", *SYNC_FILE, nothing)],
    "names in stage not synced": lambda: [within(commit, "make_staged_durable", *SYNC_DIR, nothing)],
    "names of published files not synced": lambda: [within(commit, "place_files", *SYNC_DIR, nothing)],
    "publications not rolled forward": lambda: [(recover, "place_files", nothing)],
    "rows not synced": lambda: [(commit.Committer, "_sync_rows_of_group", pretend_rows_synced)],
    "rows not cut": lambda: [(recover, "cut_tail", rows_not_cut)],
    "DONE after the rename": lambda: [("life", "finish", done_after_rename)],
    "rows removed before the final file is durable": lambda: [("life", "finish", remove_before_final_is_durable)],
    "sorted copy not synced": lambda: [within(finish, "_arrange", *SYNC_FILE, nothing)],
    "full disk: not cut back": lambda: [(commit.Committer, "_cut_back", no_cut_back)],
    "assembled file not synced": lambda: [within(assemble, "_join", *SYNC_FILE, nothing)],
    "ASSEMBLED not synced before the renames": lambda: [
        within(commit.Committer, "assembled", checkpoint_log.LogWriter, "sync", acknowledge_before_sync)
    ],
    "pieces removed before the files' names are durable": lambda: [
        (assemble, "place", pieces_removed_before_names_are_durable)
    ],
    "pieces in order of commit": lambda: [(parts.Parts, "pieces", in_order_of_commit)],
    "retry: final file replaced before DONE": lambda: [("life", "finish", replaced_before_done)],
    "retry: old final file removed first": lambda: [("life", "finish", old_final_removed_first)],
    "retry: REOPEN not synced": lambda: [within_life("reopen_finished", checkpoint_log.LogWriter, "sync", nothing)],
    "retry: REOPEN before the name of its rows is durable": lambda: [
        within_life("reopen_finished", *SYNC_DIR, nothing)
    ],
    "retry: torn REOPEN not cut": lambda: [(finish, "cut_tail", lambda file, *, good_end: 0)],
    "retry: old rows looked for where they were committed": lambda: [(ledger.Ledger, "place", nothing)],
    "retry: not all that is reopened is written": lambda: [(recover, "pack_reopened", half_a_reopening)],
    "state.json not synced": lambda: [within(creation, "write_pointer", *SYNC_FILE, nothing)],
    "state.json: its name not synced": lambda: [within(creation, "write_pointer", *SYNC_DIR, nothing)],
    "state directory: its name not synced": lambda: [(creation, "make_dirs", all_but_the_state_directory)],
    "job.json before state.json": lambda: [
        (creation, "write_pointer", nothing),
        (files.Draft, "rename", job_before_pointer),
    ],
    "table: not synced before it is sealed": lambda: [within(finish, "_make_table", *SYNC_FILE, nothing)],
    "table begun early: not synced before it is sealed": lambda: [
        within(early.EarlyFinish, "_table", *SYNC_FILE, nothing)
    ],
    "table: one that a crash has cut off is taken": lambda: [(finish, "_make_table", whatever_is_there)],
    "table: a type that became known later is not written": lambda: [(commit, "pack_columns", without_the_late_type)],
    "retry: rows of the old table counted in bytes": lambda: [(payloads.Done, "end", property(lambda self: self.size))],
    "finished run not synced when opened": lambda: [("life", "open_finished", open_without_sync)],
}


def within_life(name: str, target: Any, attribute: str, replacement: Any) -> Patch:
    """As `within`, for a name that the life driver has imported."""
    from tests.crash.model import life

    return ("life", name, within(life, name, target, attribute, replacement)[2])


def half_a_reopening(reopened: Any) -> bytes:
    return payloads.pack_reopened(type(reopened)(reopened.generation, reopened.ranges[:1]))


def all_but_the_state_directory(disk: Any, path: Any) -> None:
    if not str(path).startswith("/state"):
        files.make_dirs(disk, path)


def job_before_pointer(self: files.Draft) -> None:
    ORIGINAL_DRAFT_RENAME(self)
    if self._path.name == "job.json" and str(self._path).startswith("/state"):
        self._disk.sync_dir(self._path.parent)
        layout = layouts.RunLayout(Path("/data/job/out"), state=self._path.parent)
        state_directory.write_pointer(self._disk, layout, run_id=RUN_ID, created=True)


def open_without_sync(*args: Any, **kwargs: Any) -> Any:
    with (
        mock.patch.object(modelled.MemoryDisk, "sync_dir", nothing),
        mock.patch.object(modelled.MemoryDisk, "sync_inode", nothing),
    ):
        return finish.open_finished(*args, **kwargs)


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The store, broken in one way."""
    from tests.crash.model import life

    EXPECTED[:] = [0, 0, 0]
    with ExitStack() as stack:
        for owner, attribute, replacement in MUTANTS[name]():
            stack.enter_context(mock.patch.object(life if owner == "life" else owner, attribute, replacement))
        yield
