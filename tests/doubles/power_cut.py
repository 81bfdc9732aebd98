"""What a power cut leaves of a remembering disk: every unsynced piece and every unsynced name has its own fate."""

from __future__ import annotations

import random

from tests.doubles.disk import DIR, FileState, Image, Piece, applied, keep_names, parent_of

PIECE_FATES = ("dropped", "whole", "prefix", "zeros", "garbage", "stale")


def survive(image: Image, *, choose: random.Random, keep: float = 0.5) -> Image:
    """The disk after a power cut: every unsynced piece and name has its own fate. `keep` 0 loses all, 1 keeps all."""
    names = dict(image.durable_names)
    lost = []
    for op in image.pending_names:
        if choose.random() < keep and op.other not in lost:
            keep_names(names, op)
        else:
            lost.append(op)
    for path in sorted(names, key=len):
        if path != "/" and names.get(parent_of(path)) != DIR:
            del names[path]
    files = {}
    for ino in set(names.values()):
        if ino != DIR:
            content = cut_content(image.files[ino], choose=choose, keep=keep)
            files[ino] = FileState(content, content)
    return Image(files, names, dict(names), (), image.inodes)


def cut_content(state: FileState, *, choose: random.Random, keep: float) -> bytes:
    content = state.durable
    for piece in state.pending:
        if keep in (0.0, 1.0):
            fate = "whole" if keep else "dropped"
        elif piece.data is None:
            fate = "whole" if choose.random() < keep else "dropped"
        else:
            fate = "whole" if choose.random() < keep else PIECE_FATES[int(choose.random() * 6)]
        if fate == "dropped":
            continue
        if fate == "whole" or piece.data is None:
            content = applied(content, piece)
            continue
        offset, data = piece.offset, piece.data
        if len(state.ghost) > offset and choose.random() < 0.5:
            fate = "stale"  # rare elsewhere, so never passed over
        if fate == "prefix":
            content = applied(content, Piece(offset, data[: int(choose.random() * len(data))]))
            continue
        fresh = max(0, len(state.durable) - offset)  # what was on disk before holds old or new bytes, never rubbish
        if fate == "zeros":
            rubbish = bytes(len(data))
        elif fate == "garbage":
            rubbish = choose.randbytes(len(data))
        else:
            rubbish = state.ghost[offset:].ljust(len(data), b"\0")  # as if the cut before this write had not happened
        cut = int(choose.random() * len(data)) // 2 * 2 if choose.random() < 0.5 else 0  # first part may have made it
        good = max(fresh, cut)
        content = applied(content, Piece(offset, data[:good] + rubbish[good:] if good < len(data) else data))
    return content
