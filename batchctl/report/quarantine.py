"""Items given up on, from the log's records: quarantine.jsonl, and the causes that `failures` shows.

The log proves; quarantine.jsonl tells, and is made anew from the log at the end of each epoch. An item has one line:

    path, item, batch   its name and its numbers in the plan, from 0
    attempts            how often it was handed out and began to run
    kind                failed, lost, timed_out
    phase               run, render, stage, commit; null where nobody can say
    class, message      of the last failure
    traceback_sha256    of the traceback's places without the message: equal where the script failed in the same place
    peak_memory         bytes that the worker had resident at most; null where it could not be asked
    cause               what `retry --only` takes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from batchctl.digests import sha256
from batchctl.errors import UsageError
from batchctl.files import RealDisk
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Quarantined
from batchctl.named_tuple import NamedTuple
from batchctl.report.atomic import replace_by_chunks
from batchctl.report.failures import blanked

MAX_CAUSES = 1000  # distinct ones told apart by `failures`; later ones are counted together

NameOf = Callable[[int], str]  # the name of an item, by its number


def cause_id(failure: Failure) -> str:
    """8 hex digits: the same for failures of one kind and class whose messages differ by names and numbers only."""
    text = "\0".join((failure.kind.value, failure.error, blanked(failure.message)))
    return _hashed(text)[:8]


def traceback_hash(failure: Failure) -> str | None:
    """16 hex digits of the places in a traceback; None where there is none."""
    places = [line for line in failure.traceback.splitlines() if line.startswith("  ")]
    return _hashed("\n".join(places))[:16] if places else None


def _hashed(text: str) -> str:
    data = text.encode("utf-8", "surrogatepass")
    digest = sha256(len(data))
    digest.update(data)
    return digest.hexdigest()


def is_cause(wanted: str, failure: Failure) -> bool:
    """Does `wanted` name the cause of this failure: its id, its class (with or without the module), or its kind?"""
    kind = failure.kind.value
    names = (cause_id(failure), failure.error, failure.error.rpartition(".")[2], kind, kind.replace("_", "-"))
    return wanted in names


def of_cause(records: Iterable[Quarantined], wanted: str) -> list[Quarantined]:
    """Those of that cause, all where `wanted` is "". UsageError, naming the causes there are, where it fits none."""
    records = list(records)
    found = [record for record in records if not wanted or is_cause(wanted, record.failure)]
    if wanted and not found:
        known = dict.fromkeys(f"{cause_id(record.failure)} ({record.failure.error})" for record in records)
        there = ", ".join(list(known)[:10]) or "none: nothing is quarantined"
        kinds = ", ".join(FailureKind)
        raise UsageError(
            f"--only {wanted}: no such cause",
            remedy=f"give an id or a class of `batchctl failures OUT`, or one of {kinds}. Causes here: {there}",
        )
    return found


def quarantine_lines(records: Iterable[Quarantined], name_of: NameOf) -> Iterator[dict[str, Any]]:
    """The lines of quarantine.jsonl as objects, one an item."""
    for record in records:
        lease, failure = record.lease, record.failure
        said = {
            "attempts": lease.attempt,
            "kind": failure.kind.value,
            "phase": failure.phase or None,
            "class": failure.error,
            "message": failure.message,
            "traceback_sha256": traceback_hash(failure),
            "peak_memory": failure.peak_memory,
            "cause": cause_id(failure),
        }
        for item in range(lease.first, lease.first + lease.count):
            yield {"path": name_of(item), "item": item, "batch": lease.batch, **said}


def write_quarantine(path: Path, records: Iterable[Quarantined], name_of: NameOf) -> None:
    """Replace quarantine.jsonl as a whole; with nothing to tell there is no such file. Raises StorageError."""
    lines = quarantine_lines(records, name_of)
    first = next(lines, None)
    if first is None:
        RealDisk().remove(path)
        return
    replace_by_chunks(path, (_line(line) for line in _chained(first, lines)))


def _chained(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rest


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode("ascii") + b"\n"


class Cause(NamedTuple):
    """Items given up on for one reason; `example` is the narrowest range among them, `failure` how that one failed."""

    cause: str
    items: int
    example: Lease
    failure: Failure


def grouped(records: Iterable[Quarantined]) -> tuple[Cause, ...]:
    """The causes, those of most items first."""
    groups: dict[str, Cause] = {}
    for record in records:
        lease, failure = record.lease, record.failure
        cause = cause_id(failure)
        if cause not in groups and len(groups) >= MAX_CAUSES:
            cause = "others"
        group = groups.get(cause)
        if group is None:
            groups[cause] = Cause(cause, lease.count, lease, failure)
        elif lease.count < group.example.count:
            groups[cause] = Cause(cause, group.items + lease.count, lease, failure)
        else:
            groups[cause] = Cause(cause, group.items + lease.count, group.example, group.failure)
    return tuple(sorted(groups.values(), key=lambda group: -group.items))
