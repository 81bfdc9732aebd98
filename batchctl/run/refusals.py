"""Files that could not be published: the failure that their attempt is charged with, and whether dividing can help.

A name that one item brought up is found by isolation like any other guilty item. A name that two disjoint parts of one
mini-batch wrote comes from no item: whatever the parts, each would write it again.
"""

from __future__ import annotations

from batchctl.model.lease import Lease
from batchctl.model.outcome import FILES_REFUSED, Failure, FailureKind
from batchctl.store.publish import FilesRefusedError


class Refusals:
    """Remembers which ranges were refused which name, in this epoch."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[int, str], list[Lease]] = {}  # by mini-batch and name

    def judge(self, error: FilesRefusedError) -> tuple[Failure, bool]:
        """What the attempt failed of, and whether its items are worth being tried apart."""
        lease = error.lease
        refused = self._ranges.setdefault((lease.batch, error.path), [])
        apart = any(one.first + one.count <= lease.first or lease.first + lease.count <= one.first for one in refused)
        refused.append(lease)
        told = "; ".join(text for text in (error.message, error.remedy) if text)
        name = FILES_REFUSED if error.final else "FilesChanged"
        return Failure(FailureKind.FAILED, name, told, phase="commit"), not (error.final and apart)
