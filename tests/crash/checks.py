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
from typing import Any

import pyarrow.parquet as pq

from batchctl.cli.run_directory import existing_run
from batchctl.errors import BatchctlError
from batchctl.files import RealDisk
from batchctl.plan.read import Plan
from batchctl.store.inspection import inspect_log
from batchctl.store.verify import verify
from tests.crash.targets import carriers

RESULT = "predictions.csv"
RESULTS = (RESULT, "predictions.parquet")  # a job has one of them
STATE = ".batchctl"
_PATIENCE_S = 2.0  # for processes that have just been killed to leave the process table


@dataclass(frozen=True, slots=True)
class Results:
    """What a finished run left: bytes of the rows, digests of all other files in OUT, the items given up on."""

    result: str  # the name of the file with the rows
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
    result = result_name(out)
    summary = json.loads((run_directory(out) / "summary.json").read_text(encoding="utf-8"))
    rows, given_up = (out / result).read_bytes(), quarantined(out, batchctl)
    return Results(result, rows, published_by(out), given_up, summary["items_succeeded"])


def result_name(out: Path) -> str:
    """Which of the RESULTS there is; the first where there is none."""
    return next((name for name in RESULTS if (out / name).exists()), RESULTS[0])


def published_by(out: Path) -> dict[str, str]:
    """Names in OUT, but for the rows and the run directory, with the SHA-256 of what they hold."""
    result = result_name(out)
    published = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(STATE + "/") and name != result:
            published[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return published


def run_directory(out: Path) -> Path:
    """Where what the run knows lies: elsewhere, if OUT says so."""
    try:
        return Path(json.loads((out / STATE / "state.json").read_bytes())["document"]["directory"])
    except FileNotFoundError:
        return out / STATE


def quarantined(out: Path, batchctl: str) -> tuple[tuple[object, ...], ...]:
    """(first item, items, kind, class, message) of what was given up on, from the checkpoint log, in item order.
    `batchctl`: the command that reads it; "": this process does, with the code of this tree, in a tenth of the time."""
    found = []
    for entry in _inspected(out, batchctl) if batchctl else _inspected_here(out):
        if entry["type"] == "QUARANTINE":
            found.append(tuple(entry[name] for name in ("first", "count", "kind", "error", "message")))
    return tuple(sorted(found))


def _inspected(out: Path, batchctl: str) -> list[dict[str, Any]]:
    done = subprocess.run([batchctl, "inspect", str(out)], check=True, capture_output=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _inspected_here(out: Path) -> list[dict[str, Any]]:
    run = existing_run(str(out))
    return list(inspect_log(RealDisk(), run.layout, run_id=run.document.run_id))


def _verified(out: Path, batchctl: str) -> str:
    """What `verify` says against it, "" for nothing."""
    if batchctl:
        done = subprocess.run([batchctl, "verify", str(out)], check=False, capture_output=True, text=True, timeout=60)
        said = done.stderr.strip() or done.stdout.strip()
        return f"verify exited {done.returncode}: {said}" if done.returncode != 0 else ""
    try:
        run = existing_run(str(out))
        with Plan.open(run.layout.plan) as plan:
            found = verify(RealDisk(), run.layout, run_id=run.document.run_id, bounds=plan.batch_firsts)
            problems = [*found.problems, *(("the plan is another",) if plan.crc != run.document.plan_crc else ())]
    except BatchctlError as error:
        return f"verify cannot read it: {error}"
    return f"verify found: {problems}" if problems else ""


def judge(out: Path, reference: Results, *, batchctl: str, run_id: str) -> Verdict:
    """Everything that acceptance asks of one round. `batchctl`: see `quarantined`."""
    verdict = Verdict()
    problems = verdict.problems
    verdict.orphans = _orphans(run_id, problems)
    verdict.leftovers = _leftovers(out, problems)
    _check_lock(out, problems)
    if told := _verified(out, batchctl):
        problems.append(told)
    try:
        found = results_of(out, batchctl)
    except (OSError, ValueError, KeyError, BatchctlError, subprocess.SubprocessError) as error:
        verdict.unequal = 1
        if not (out / reference.result).exists():
            verdict.lost = len(_of_result(reference.rows, reference.result))
        problems.append(f"the results cannot be read: {type(error).__name__}: {error}")
        return verdict
    if found.rows != reference.rows:
        _count_rows(found.rows, reference.rows, verdict, result=reference.result)
    if found.published != reference.published:
        verdict.unequal = 1
        names = {*found.published.items()} ^ {*reference.published.items()}
        problems.append(f"published files differ: {sorted({name for name, _ in names})}")
        verdict.lost += len(set(reference.published) - set(found.published))
        foreign = [digest for name, digest in found.published.items() if name not in reference.published]
        verdict.duplicated += len([digest for digest in foreign if digest in reference.published.values()])
    if found.quarantined != reference.quarantined:
        verdict.unequal = 1
        differ = set(found.quarantined) ^ set(reference.quarantined)
        problems.append(f"quarantined items differ: {sorted(map(repr, differ))}")
    if found.succeeded != reference.succeeded:
        problems.append(f"the summary counts {found.succeeded} items, not {reference.succeeded}")
    return verdict


def _count_rows(found: bytes, wanted: bytes, verdict: Verdict, *, result: str) -> None:
    verdict.unequal = 1
    want = collections.Counter(_of_result(wanted, result))
    try:
        have = collections.Counter(_of_result(found, result))
    except (ValueError, OSError, csv.Error) as error:
        verdict.lost = want.total()
        verdict.problems.append(f"{result} cannot be read: {type(error).__name__}: {error}")
        return
    verdict.lost = (want - have).total()
    verdict.duplicated = sum((have - want)[row] for row in want)
    verdict.problems.append(
        f"{result} differs: {len(found)} bytes, not {len(wanted)}; rows lost {verdict.lost}, twice "
        f"{verdict.duplicated}, foreign {(have - want).total()}"
    )


def _of_result(data: bytes, result: str) -> list[tuple[str, ...]]:
    return list(map(tuple, (_table_records if result.endswith(".parquet") else _records)(data)))


def _records(data: bytes) -> list[list[str]]:
    csv.field_size_limit(1 << 30)
    return list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))


def _table_records(data: bytes) -> list[list[str]]:
    return [[repr(row)] for row in pq.read_table(io.BytesIO(data)).to_pylist()]


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
    for folder in (out / STATE / "stage", run_directory(out) / "spill", out / STATE / "parts"):
        if folder.is_dir():
            left += [path.relative_to(folder.parent).as_posix() for path in sorted(folder.rglob("*"))]
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
            found = json.loads((run_directory(out) / name).read_text(encoding="utf-8"))
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
