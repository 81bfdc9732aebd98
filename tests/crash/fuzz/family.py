"""The family of fuzzers: malformed inputs, from fixed seeds, to every reader of what others may have written.

Cheap readers get most of the inputs. Each input is bounded in time (target.py), each process in memory: a length field
that promises 4 GiB must not allocate them. What was found is saved as a file in the work folder, with its target's
name; `--set target=NAME --set input=FILE` reads it again.
"""

from __future__ import annotations

import collections
import gc
import hashlib
import multiprocessing
import os
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from tests.crash.findings import Asked, Findings, OptionError
from tests.crash.fuzz import plan_targets, report_targets, spec_targets, store_targets, wire_targets
from tests.crash.fuzz.target import Target, arm, bounded

EVERYTHING = 20_000_000
_CHUNK = 500
_HEADROOM = 1 << 30  # bytes of address space above what a process has when it begins
_TOLD = 5  # findings of one kind that are told and saved


def campaign(asked: Asked) -> Findings:
    """n inputs (default 20,000,000). `processes`: one for each cpu where n is large, else one; `target`: only this one
    (or those whose name begins so); `input`: this file instead."""
    asked.knows("target", "processes", "input")
    only = asked.options.get("target", "")
    names = [target.name for target in _targets(asked.work / "names") if target.name.startswith(only)]
    if not names:
        raise OptionError(f"target={only}: no target's name begins so")
    if "input" in asked.options:
        return _again(asked, names)
    n = asked.n or EVERYTHING
    chunks = list(_chunks(asked, only, n))
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    seen: collections.Counter[str] = collections.Counter()
    violations: list[str] = []
    processes = asked.number("processes", len(os.sched_getaffinity(0)) if n > 500_000 else 1)
    began = told = time.monotonic()
    context = multiprocessing.get_context("fork")
    work = asked.work / "inputs"
    with context.Pool(processes, initializer=_begin, initargs=(work,)) as pool:
        for name, verdicts, found, data in pool.imap_unordered(_run, _while(asked, chunks)):
            counts.update({(name, verdict): count for verdict, count in verdicts.items()})
            for what, number in found:
                kind = f"{name}: {what.partition(': ')[0]}"
                seen[kind] += 1
                if seen[kind] <= _TOLD:
                    violations.append(
                        f"{name}: {what} (seed {number}, saved as {_saved(asked.work, name, data[number])})"
                    )
                    asked.voice(f"FOUND {violations[-1]}")
            if time.monotonic() - told > 10:
                told, done = time.monotonic(), counts.total()
                asked.voice(f"{done} inputs, {done / (told - began):.0f} a second, {len(violations)} violations")
    seconds = time.monotonic() - began
    by_target: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for (name, verdict), count in sorted(counts.items()):
        by_target[name][verdict] = count
    detail: dict[str, object] = {
        "by target": dict(by_target),
        "a second": round(counts.total() / max(seconds, 0.001)),
        "processes": processes,
        "violations by kind": dict(seen.most_common()),
    }
    return Findings({"fuzz_inputs": counts.total()}, violations, detail=detail)


def _targets(work: Path) -> list[Target]:
    work.mkdir(parents=True, exist_ok=True)
    return [
        *store_targets.targets(),
        *wire_targets.targets(),
        *plan_targets.targets(work / "plan"),
        *spec_targets.targets(work / "spec"),
        *report_targets.targets(work / "told"),
    ]


Chunk = tuple[str, int, int, int]  # target, seed, number of the chunk, inputs


def _chunks(asked: Asked, only: str, n: int) -> Iterator[Chunk]:
    """All that is to be done, targets mixed, so that a campaign that ends early has been to all of them."""
    targets = [target for target in _targets(asked.work / "shares") if target.name.startswith(only)]
    whole = sum(target.share for target in targets)
    wanted = [n * target.share // whole for target in targets]
    wanted[0] += n - sum(wanted)
    chunks = [
        (target.name, asked.seed, at, min(_CHUNK, count - at))
        for target, count in zip(targets, wanted, strict=True)
        for at in range(0, count, _CHUNK)
    ]
    random.Random(asked.seed).shuffle(chunks)
    return iter(chunks)


def _while(asked: Asked, chunks: list[Chunk]) -> Iterator[Chunk]:
    for chunk in chunks:
        if time.monotonic() >= asked.until:
            return
        yield chunk


_HERE: dict[str, Target] = {}  # of one process


def _begin(work: Path) -> None:
    _HERE.update((target.name, target) for target in _targets(work / str(os.getpid())))
    arm()
    gc.freeze()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + _HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


Run = tuple[str, dict[str, int], list[tuple[str, str]], dict[str, bytes]]


def _run(chunk: Chunk) -> Run:
    """(target, verdicts counted, findings with their seeds, the inputs of those)."""
    name, seed, begin, count = chunk
    target = _HERE[name]
    verdicts: collections.Counter[str] = collections.Counter()
    found: list[tuple[str, str]] = []
    inputs: dict[str, bytes] = {}
    for number in range(begin, begin + count):
        key = f"{seed} {name} {number}"
        data = target.input(random.Random(key))
        what = bounded(target, data)
        if what in ("accepted", "refused"):
            verdicts[what] += 1
        else:
            verdicts["found"] += 1
            found.append((what, key))
            inputs[key] = data
    return name, dict(verdicts), found, inputs


def _saved(work: Path, name: str, data: bytes) -> Path:
    path = work / "found" / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def _again(asked: Asked, names: list[str]) -> Findings:
    data = Path(asked.options["input"]).read_bytes()
    arm()
    found = {target.name: bounded(target, data) for target in _targets(asked.work / "again") if target.name in names}
    violations = [f"{name}: {what}" for name, what in found.items() if what not in ("accepted", "refused")]
    return Findings({"fuzz_inputs": len(found)}, violations, detail={"verdicts": found})
