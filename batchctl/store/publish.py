"""Files that scripts wrote: checked, digested, renamed from stage into OUT without replacing anything; or into parts,
where several mini-batches may write one file.

Once a PUBLISH frame is durable its files reach OUT (PART: parts), now or by the next recovery; before that nothing of
them shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

from batchctl.digests import sha256
from batchctl.errors import BatchctlError, CorruptionError, ExitCode, StorageError
from batchctl.files import Disk, FileKind
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored, StagedFile
from batchctl.named_tuple import NamedTuple
from batchctl.store.frames import FrameType
from batchctl.store.layout import RunLayout
from batchctl.store.names import Names
from batchctl.store.parts import folder_of
from batchctl.store.payloads import Publication

_BLOCK = 1 << 20


class FilesRefusedError(BatchctlError):
    """A script's file cannot be published; nothing was written. `lease` is the attempt to fail for it. `final`: the
    next one would write the same."""

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    final: ClassVar[bool] = True

    def __init__(self, message: str, *, lease: Lease, path: str, remedy: str = "") -> None:
        super().__init__(message, where=path, remedy=remedy)
        self.lease = lease
        self.path = path


class FilesCollideError(FilesRefusedError):
    """Two attempts wrote one name; `other` is None where the file in OUT is nobody's."""

    def __init__(self, message: str, *, lease: Lease, path: str, other: Lease | None) -> None:
        remedy = "put the mini-batch's index into the file name, or use on_collision = append or last"
        if other is not None and other.batch == lease.batch:  # isolation has divided it
            remedy = "name files by their items, or use on_collision = append or last, or isolate = false"
        super().__init__(message, lease=lease, path=path, remedy=remedy)
        self.other = other


class FilesChangedError(FilesRefusedError):
    """Files were written to after they had been handed over; the next attempt may be luckier."""

    final: ClassVar[bool] = False


def check_files(
    disk: Disk, layout: RunLayout, *, scored: Iterable[Scored], published: Names, shared: bool = False
) -> None:
    """Raise before anything is written for names that must not or cannot be published. `shared`: attempts may write
    the same file."""
    group = Names()
    for one in scored:
        for file in one.files:
            _check_name(disk, layout, lease=one.lease, file=file)
            # A name may be a file's or a folder's, not both: neither could be placed any more once both are announced.
            other = published.in_the_way(file.path, shared=shared) or group.in_the_way(file.path, shared=shared)
            if other is not None or _is_taken(disk, layout, one, file=file, shared=shared):
                mine, theirs = _named(one.lease), _named(other) if other else "nobody of this run"
                message = f"{file.path!r} was written by {mine} and by {theirs}"
                raise FilesCollideError(message, lease=one.lease, path=file.path, other=other)
            group.add(file.path, one.lease)


def _is_taken(disk: Disk, layout: RunLayout, one: Scored, *, file: StagedFile, shared: bool) -> bool:
    """Does OUT hold something else of that name? The same bytes are no other file: where a log has lost its end, what
    it had announced lies in OUT already, and is written once more."""
    target, source = layout.out / file.path, layout.stage / one.staged / file.path
    found, mine = disk.stat(target), disk.stat(source)
    if found is None or shared or mine is None:  # what is shared is joined at the finish, and replaces nothing there
        return found is not None
    if found.kind is not FileKind.FILE or mine.kind is not FileKind.FILE or found.size != mine.size:
        return True
    return digest_of(disk, target) != digest_of(disk, source)


def _check_name(disk: Disk, layout: RunLayout, *, lease: Lease, file: StagedFile) -> None:
    path = PurePosixPath(file.path)
    if path.is_absolute() or not path.parts or ".." in path.parts or path.parts[0] in layout.own_names:
        raise FilesRefusedError(f"{file.path!r} may not be published into OUT", lease=lease, path=file.path)
    for parent in list(path.parents)[:-1]:
        found = disk.stat(layout.out / parent)
        if found is not None and found.kind is not FileKind.DIRECTORY:
            message = f"{file.path!r} needs a folder where OUT holds a {found.kind}"
            raise FilesRefusedError(message, lease=lease, path=file.path)


def _named(lease: Lease) -> str:
    return f"mini-batch {lease.batch} (items {lease.first} to {lease.first + lease.count - 1})"


def make_staged_durable(disk: Disk, layout: RunLayout, *, scored: Sequence[Scored]) -> None:
    """Content and names of all these attempts' files in stage are durable on return: what PUBLISH announces can be lost
    by no power cut. FilesChangedError where one is no longer what was staged."""
    files, folders = [], {layout.stage, layout.home}
    for one in scored:
        folder = layout.stage / one.staged
        for file in one.files:
            if not _is_staged(disk, folder, file):
                raise _left_behind(one.lease, file.path)
            files.append(folder / file.path)
            folders.update(folder.joinpath(parent) for parent in PurePosixPath(file.path).parents)
    steps = [partial(disk.sync_file, path) for path in files]
    disk.together([*steps, *(partial(disk.sync_dir, path) for path in sorted(folders, reverse=True))])


def digests_of(disk: Disk, layout: RunLayout, *, scored: Scored) -> tuple[str, ...]:
    """SHA-256 of each staged file. FilesChangedError where one is no longer what was staged."""
    digests = []
    for file in scored.files:
        size, digest = digest_of(disk, layout.stage / scored.staged / file.path)
        if size != file.size:
            raise _left_behind(scored.lease, file.path)
        digests.append(digest.hex())
    return tuple(digests)


def _is_staged(disk: Disk, folder: Path, file: StagedFile) -> bool:
    found = disk.stat(folder / file.path)
    return found is not None and found.size == file.size


def _left_behind(lease: Lease, path: str) -> FilesChangedError:
    return FilesChangedError(
        f"{path!r} changed after run() had returned: something that the script left behind still writes it",
        lease=lease,
        path=path,
        remedy="wait in run() for what it starts",
    )


def digest_of(disk: Disk, path: Path) -> tuple[int, bytes]:
    """Size and SHA-256 of a file."""
    with disk.open_read(path) as source:
        sha = sha256(source.size)
        for offset in range(0, source.size, _BLOCK):
            sha.update(source.pread(offset, min(_BLOCK, source.size - offset)))
        return source.size, sha.digest()


def place_files(disk: Disk, layout: RunLayout, *, publications: Sequence[Publication]) -> None:
    """Move files whose PUBLISH or PART is durable to their places; their entries are durable on return. May be called
    again."""
    moves = []
    for publication in publications:
        stage, home = layout.stage / publication.staged, home_of(layout, publication)
        for file, digest in zip(publication.files, publication.digests, strict=True):
            moves.append(Move(stage / file.path, home / file.path, bytes.fromhex(digest)))
    place(disk, layout, moves=moves)


def home_of(layout: RunLayout, publication: Publication) -> Path:
    """The folder that its files go to."""
    if publication.kind is FrameType.PUBLISH:
        return layout.out
    return layout.parts / folder_of(publication.committed.batch, publication.committed.first)


class Move(NamedTuple):
    """A file on its way; `sha256` is that of its content."""

    source: Path
    target: Path
    sha256: bytes


def place(disk: Disk, layout: RunLayout, *, moves: Sequence[Move]) -> None:
    """Move announced files to where they belong below OUT, replacing nothing; their entries are durable on return.

    May be called again: what is there already, with its digest, is left. `CorruptionError` where a file is neither
    here nor there, `StorageError` where another one is in its place.
    """
    folders = {move.target.parent for move in moves}
    _make_parents(disk, layout, folders=folders)
    for move in moves:
        _place(disk, move.source, target=move.target, digest=move.sha256)
    disk.together([partial(disk.sync_dir, folder) for folder in sorted(folders)])


def _make_parents(disk: Disk, layout: RunLayout, *, folders: set[Path]) -> None:
    """Folders below OUT, durable before a file leaves stage for one of them.

    Those that exist are synced too: they may stem from an attempt that was killed before its sync.
    """
    below = {folder for one in folders for folder in (one, *one.parents) if layout.out in folder.parents}
    for folder in sorted(below):
        disk.mkdir(folder)
    disk.together([partial(disk.sync_dir, folder) for folder in sorted({folder.parent for folder in below})])


def _place(disk: Disk, source: Path, *, target: Path, digest: bytes) -> None:
    if disk.stat(target) is None:
        if disk.stat(source) is None or digest_of(disk, source)[1] != digest:
            raise CorruptionError(
                f"{target} was to be published from {source}, which is gone or damaged", where=str(target)
            )
        if disk.rename_new(source, target):
            return
    if digest_of(disk, target)[1] != digest:
        raise StorageError(
            f"{target} is in the way of a file being published", where=str(target), remedy="move it away and run again"
        )
    disk.sync_file(target)  # whoever wrote it: what is announced must outlive a power cut
