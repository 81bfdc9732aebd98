"""What must hold once a killed and resumed run has ended with exit 0: the same results, and nothing left behind."""

from __future__ import annotations

import collections
import csv
import fcntl
import hashlib
import io
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.targets import carriers

RESULT = "predictions.csv"
STATE = ".batchctl"
_PATIENCE_S = 2.0  # for processes that have just been killed to leave the process table


@dataclass(frozen=True, slots=True)
class Results:
    """What a finished run left: bytes of the rows, digests of all other files in OUT, the items given up on."""

    rows: bytes
    published: dict[str, str]
    quarantined: tuple[tuple[object, ...], ...]
    succeeded: int


@dataclass(slots=True)
class Verdict:
    """Violations in words, and rows counted against the reference."""

    problems: list[str] = field(default_factory=list)
    lost: int = 0
    duplicated: int = 0
    unequal: int = 0
    orphans: int = 0
    leftovers: int = 0


def results_of(out: Path, batchctl: str) -> Results:
    """Read a finished OUT. Raises OSError, ValueError where it is not as a finished one should be."""
    summary = json.loads((out / STATE / "summary.json").read_text(encoding="utf-8"))
    rows = (out / RESULT).read_bytes()
    return Results(rows, published_by(out), quarantined(out, batchctl), summary["items_succeeded"])


def published_by(out: Path) -> dict[str, str]:
    """Names in OUT, but for the rows and the run directory, with the SHA-256 of what they hold."""
    published = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(STATE + "/") and name != RESULT:
            published[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return published


def quarantined(out: Path, batchctl: str) -> tuple[tuple[object, ...], ...]:
    """(first item, items, kind, class, message) of what was given up on, from the checkpoint log, in item order."""
    done = subprocess.run([batchctl, "inspect", str(out)], check=True, capture_output=True, timeout=60)
    found = []
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        if entry["type"] == "QUARANTINE":
            found.append(tuple(entry[name] for name in ("first", "count", "kind", "error", "message")))
    return tuple(sorted(found))


def judge(out: Path, reference: Results, *, batchctl: str, run_id: str) -> Verdict:
    """Everything that acceptance asks of one round."""
    verdict = Verdict()
    problems = verdict.problems
    verdict.orphans = _orphans(run_id, problems)
    verdict.leftovers = _leftovers(out, problems)
    _check_lock(out, problems)
    verify = subprocess.run([batchctl, "verify", str(out)], check=False, capture_output=True, text=True, timeout=60)
    if verify.returncode != 0:
        problems.append(f"verify exited {verify.returncode}: {verify.stderr.strip() or verify.stdout.strip()}")
    try:
        found = results_of(out, batchctl)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        verdict.unequal = 1
        problems.append(f"the results cannot be read: {type(error).__name__}: {error}")
        return verdict
    if found.rows != reference.rows:
        _count_rows(found.rows, reference.rows, verdict)
    if found.published != reference.published:
        verdict.unequal = 1
        names = {*found.published.items()} ^ {*reference.published.items()}
        problems.append(f"published files differ: {sorted({name for name, _ in names})}")
    if found.quarantined != reference.quarantined:
        verdict.unequal = 1
        differ = set(found.quarantined) ^ set(reference.quarantined)
        problems.append(f"quarantined items differ: {sorted(map(repr, differ))}")
    if found.succeeded != reference.succeeded:
        problems.append(f"the summary counts {found.succeeded} items, not {reference.succeeded}")
    return verdict


def _count_rows(found: bytes, wanted: bytes, verdict: Verdict) -> None:
    verdict.unequal = 1
    have, want = (collections.Counter(map(tuple, _records(data))) for data in (found, wanted))
    verdict.lost = (want - have).total()
    verdict.duplicated = sum(count - 1 for count in have.values() if count > 1)
    verdict.problems.append(
        f"{RESULT} differs: {len(found)} bytes, not {len(wanted)}; rows lost {verdict.lost}, twice "
        f"{verdict.duplicated}, foreign {(have - want).total()}"
    )


def _records(data: bytes) -> list[list[str]]:
    csv.field_size_limit(1 << 30)
    return list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))


def _orphans(run_id: str, problems: list[str]) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while (left := carriers(run_id)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if left:
        problems.append(f"processes of the run are still alive: {left}")
    return len(left)


def _leftovers(out: Path, problems: list[str]) -> int:
    """Files that belong to a run under way only. Empty folders may stay."""
    left = []
    for name in ("stage", "spill", "parts"):
        folder = out / STATE / name
        if folder.is_dir():
            left += [path.relative_to(out).as_posix() for path in sorted(folder.rglob("*"))]
    left += [path.relative_to(out).as_posix() for path in out.rglob("*") if path.suffix in (".partial", ".tmp")]
    if left:
        problems.append(f"left behind: {left[:10]}{' ...' if len(left) > 10 else ''}")
    return len(left)


def _check_lock(out: Path, problems: list[str]) -> None:
    try:
        fd = os.open(out / STATE / "lock", os.O_RDWR)
    except FileNotFoundError:
        return  # nobody can hold what is not there
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        problems.append("the lock is still held")
    finally:
        os.close(fd)


def run_id_of(out: Path) -> str:
    """The run's id, "" before there is one."""
    for name in ("job.json", "status.json"):
        try:
            found = json.loads((out / STATE / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        run_id = _find(found, "run_id")
        if run_id:
            return run_id
    return ""


def _find(tree: object, key: str) -> str:
    if isinstance(tree, dict):
        if isinstance(tree.get(key), str):
            return str(tree[key])
        return next((found for value in tree.values() if (found := _find(value, key))), "")
    return ""
