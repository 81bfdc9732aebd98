"""The pieces in `parts/` to the files in OUT, once every item is concluded. Begun again, it ends in the same bytes.

    join pieces in plan order, sync -> ASSEMBLED, sync -> rename into OUT, sync folders

Pieces stay until the run is sealed: whatever a crash undoes is made again of them. A file of one piece is that piece,
renamed.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.digests import sha256
from batchctl.errors import CorruptionError, NoSpaceError, StorageError
from batchctl.files import Disk
from batchctl.model.job import OnCollision
from batchctl.store.commit import Committer
from batchctl.store.layout import RunLayout
from batchctl.store.parts import WHOLE, Piece, Whole
from batchctl.store.publish import Move, place

_BLOCK = 1 << 20


def assemble(disk: Disk, layout: RunLayout, *, committer: Committer) -> None:
    """Files of several mini-batches are in OUT, durable on return, and the log says which.

    `StorageError` where a name has been taken meanwhile. `NoSpaceError`: nothing is lost, call again later.
    """
    parts = committer.parts
    names = parts.names
    if not names:
        return
    for name in names:
        if name not in parts.wholes and disk.stat(layout.out / name) is not None:
            raise StorageError(
                f"{layout.out / name} appeared while the run was going on",
                where=str(layout.out / name),
                remedy="move it away and run again",
            )
    last = committer.on_collision is OnCollision.LAST
    chosen = {name: parts.pieces(name)[-1:] if last else parts.pieces(name) for name in names}
    disk.remove_tree(layout.parts / WHOLE)
    try:
        wholes = [_whole(disk, layout, name, pieces=chosen[name], sealed=parts.wholes.get(name)) for name in names]
        fresh = [whole for whole in wholes if whole.path not in parts.wholes]
        if fresh:
            committer.assembled(fresh)
    except NoSpaceError:
        disk.remove_tree(layout.parts / WHOLE)  # leave the room to whoever can use it
        raise
    moves = []
    for whole in wholes:
        pieces = chosen[whole.path]
        source = layout.parts / (pieces[0].folder if len(pieces) == 1 else WHOLE) / whole.path
        moves.append(Move(source, layout.out / whole.path, bytes.fromhex(whole.sha256)))
    place(disk, layout, moves=moves)


def _whole(disk: Disk, layout: RunLayout, name: str, *, pieces: Sequence[Piece], sealed: Whole | None) -> Whole:
    """One file: what it is or will be; its bytes, where there are several pieces, are joined and synced."""
    if len(pieces) == 1:
        return sealed or Whole(name, pieces[0].size, pieces[0].sha256)
    if sealed and disk.stat(layout.out / name) is not None:
        return sealed  # `place` compares it with its digest
    joined = _join(disk, layout, name, pieces=pieces)
    if sealed and joined != sealed:
        raise CorruptionError(f"the pieces of {name!r} are not what was sealed", where=str(layout.parts))
    return joined


def _join(disk: Disk, layout: RunLayout, name: str, *, pieces: Sequence[Piece]) -> Whole:
    target = layout.parts / WHOLE / name
    for folder in (*reversed(target.parents), target.parent):
        if layout.parts in folder.parents:
            disk.mkdir(folder)
    sha = sha256(sum(piece.size for piece in pieces))
    handle = disk.open_append(target, create=True)
    try:
        for piece in pieces:
            own = sha256(piece.size)
            path = layout.parts / piece.folder / name
            with disk.open_read(path) as source:
                # Read and write: the bytes that were checked are the bytes that are written.
                for offset in range(0, piece.size, _BLOCK):
                    block = source.pread(offset, min(_BLOCK, piece.size - offset))
                    own.update(block)
                    handle.append(block)
                    sha.update(block)
                size = source.size
            if size != piece.size or own.hexdigest() != piece.sha256:
                raise CorruptionError(f"{path} is not what its worker wrote", where=str(path))
        handle.datasync()  # before ASSEMBLED: what it names must not be lost with a power cut
        return Whole(name, handle.size, sha.hexdigest())
    finally:
        handle.close()
