"""The writer of checkpoint.log: groups of frames, one append each; and what it takes to cut a group back.

Nothing is durable before `sync` returns. A group that did not fit is cut back as if it had never been.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.handles import AppendFile
from batchctl.named_tuple import NamedTuple
from batchctl.store.frames import FIRST_OF_GROUP, MAX_PAYLOAD, Frame, FrameType, encode, seed_of


class Mark(NamedTuple):
    """A place to cut back to."""

    size: int
    sequence: int


class LogWriter:
    """Appends frames in sequence. One per epoch; whoever calls it is the only one."""

    __slots__ = ("_durable", "_group", "_handle", "_seed", "_sequence", "epoch")

    def __init__(self, handle: AppendFile, *, run_id: str, epoch: int, sequence: int, group: int, durable: int) -> None:
        self._handle = handle
        self._seed = seed_of(run_id)
        self.epoch = epoch
        self._sequence = sequence
        self._group = group
        self._durable = durable

    @property
    def size(self) -> int:
        return self._handle.size

    def mark(self) -> Mark:
        return Mark(self._handle.size, self._sequence)

    def write(self, frames: Sequence[tuple[FrameType, bytes]], *, rows_durable: int) -> None:
        """Append one group, whole or with an error. Not durable. `rows_durable`: rows synced so far."""
        sequence, flags = self._sequence, FIRST_OF_GROUP
        texts = []
        for kind, payload in frames:
            if len(payload) > MAX_PAYLOAD:
                raise ValueError(f"a {kind.name} payload of {len(payload)} bytes")
            frame = Frame(kind, flags, self.epoch, sequence, rows_durable, self._durable, self._group, 0, 0)
            texts.append(encode(frame, payload, seed=self._seed))
            sequence, flags = sequence + 1, 0
        self._handle.append(b"".join(texts))
        self._sequence = sequence
        self._group += 1

    def sync(self) -> None:
        """All written frames are durable on return."""
        self._handle.datasync()
        self._durable = self._handle.size

    def cut(self, mark: Mark) -> None:
        """Forget what was written after `mark`. Durable on return: a cut that a power cut undoes would bring back a
        commit whose rows are gone."""
        self._handle.truncate(mark.size)
        self._sequence = mark.sequence
        self.sync()

    def close(self) -> None:
        self._handle.close()
