"""Failures grouped by cause, for the summary; memory stays bounded whatever the script raises.

Messages mostly differ by what they name (a path, a number, an address), so causes are compared with those blanked out;
a group shows the message and traceback of its narrowest lease: isolation ends at the guilty file, which is the example
that people want.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure
from batchctl.model.progress import CauseGroup
from batchctl.model.records import Charged, Quarantined

MAX_CAUSES = 50  # distinct ones kept; later ones are counted together
_OTHERS = "\0"  # in place of a class name
MESSAGE_CAP = 500
TRACEBACK_CAP = 16_384
_VARYING = r"""'[^'\n]{0,400}'|"[^"\n]{0,400}"|<[^<>\n]{1,200}>|\S*/\S*|0x[0-9a-fA-F]+|[0-9]+"""

PathOf = Callable[[int], str]  # the name of an item, by its number


class _Group:
    """One cause, being counted."""

    __slots__ = ("attempts", "example", "items", "lease", "stale")

    def __init__(self, lease: Lease, failure: Failure) -> None:
        self.items = 0
        self.attempts = 0
        self.lease = lease
        self.example = failure
        self.stale = False  # the example may be mended by now


class FailureGroups:
    """Fed with Charged and Quarantined records as they are decided or replayed; `groups()` tells the causes.

    An attempt is a Charged record; an item belongs to the cause for which it was quarantined.
    """

    def __init__(self, path_of: PathOf) -> None:
        self._path_of = path_of
        self._groups: dict[tuple[str, str, str], _Group] = {}

    def charged(self, record: Charged) -> None:
        self._group(record.lease, record.failure).attempts += 1

    def quarantined(self, record: Quarantined) -> None:
        group = self._group(record.lease, record.failure)
        group.items += record.lease.count

    def reopened(self) -> None:
        """A retry began: failures from here on are better examples than those before."""
        for group in self._groups.values():
            group.stale = True

    def groups(self) -> tuple[CauseGroup, ...]:
        """Causes that cost items first, most of them first. Names are looked up now, one a cause."""
        ordered = sorted(self._groups.items(), key=lambda entry: (-entry[1].items, -entry[1].attempts))
        return tuple(self._told(key, group) for key, group in ordered)

    def _told(self, key: tuple[str, str, str], group: _Group) -> CauseGroup:
        return CauseGroup(
            kind=key[0],
            error=group.example.error if key[1] != _OTHERS else "other causes",
            message=group.example.message[:MESSAGE_CAP] if key[1] != _OTHERS else "counted together; one of them below",
            items=group.items,
            attempts=group.attempts,
            example_path=self._path_of(group.lease.first),
            example_traceback=group.example.traceback[-TRACEBACK_CAP:],
        )

    def _group(self, lease: Lease, failure: Failure) -> _Group:
        key = (failure.kind.value, failure.error, blanked(failure.message))
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MAX_CAUSES:
                key = (failure.kind.value, _OTHERS, "")
                group = self._groups.get(key)
            if group is None:
                self._groups[key] = group = _Group(lease, failure)
                return group
        if lease.count < group.lease.count or group.stale:
            group.lease, group.example, group.stale = lease, failure, False
        return group


def blanked(message: str) -> str:
    """`message` without what varies from file to file: quoted words, paths, addresses, numbers."""
    return re.sub(_VARYING, "*", message[:MESSAGE_CAP])
