"""The plan file as host and guest map it, globs, partition templates, and names in lists."""

from __future__ import annotations

import os
import random
import re
import zlib
from pathlib import Path

from batchctl.errors import CorruptionError, UsageError
from batchctl.guest.plan_map import CRC_OFFSET, HEADER, PlanDamaged, PlanMap
from batchctl.model.partition import PartitionFormat
from batchctl.plan.encode import build_plan
from batchctl.plan.index import path_of
from batchctl.plan.inputs import InputRequest
from batchctl.plan.partitions import Partitions
from batchctl.plan.patterns import Filters, Glob, is_glob
from batchctl.plan.read import Plan
from tests.crash.fuzz.mutations import mutated
from tests.crash.fuzz.target import Target, holds, texts

_NAMES = (
    "a.txt",
    "b/c.txt",
    "b/d.jpg",
    "b/x/y/z.csv",
    "parts/user=1/season=2/f.csv",
    "parts/user=2/season=2/g h.csv",
    "b/\udcff.txt",
)
_FOLDERS = ("", "a/", "a/b/", "a/b/c/d/", "aaaaaaaaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaaaaaaaaaaaaaa/")
_PROBES = [
    os.fsencode(name) for name in ("a", "a.txt", ".hidden", "x-y_z.csv", "a" * 200, "a-" * 90, "\udcff", "[]!*?")
]
_GLOB_WORDS = texts(
    "*", "**", "**/", "/", "[", "]", "[!a-z]", "[^", "?", "*a*a*a*a*a*a*a*a*a", "{", "}", "\\", "[[:alpha:]]", "..", "a"
)
_TEMPLATE_WORDS = texts(
    "{user}", "{a}-{b}-{c}-{d}-{e}", "{", "}", "{}", "**", "**/", "*", "/", "..", "{d:yyyy}", "-", ".csv", "[a-z]", "("
)


def targets(work: Path) -> list[Target]:
    tree = work / "tree"
    for name in _NAMES:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    request = InputRequest((str(tree),), folder=tree)
    few = InputRequest((str(tree),), folder=tree, sizes_up_to=1)
    parted = InputRequest((str(tree / "parts"),), folder=tree)
    keys = Partitions(("user", "season"))
    images = (
        build_plan(request, mini_batch_size=2),
        build_plan(few, mini_batch_size=3),
        build_plan(parted, mini_batch_size=2, partitions=keys),
    )
    plans = [b"".join(image.chunks()) for image in images]
    seeds = tuple(plans)
    globs = texts("*.jpg", "**/*.csv", "b/**", "[a-c]*.txt", "a?c", "b/x/", "[!x]*", "*", "**", "a*b*c*d*e")
    templates = texts("{user}/{season}/*.csv", "{a}-{b}.csv", "**/{user}/*", "x/{a}_{b}_{c}/**/f*.csv", "{a}*{b}")
    return [
        Target(
            "plan", 4, _PlanCheck(work / "plan"), (CorruptionError,), seeds, (), lambda dice: _resealed(seeds, dice)
        ),
        Target("globs", 8, _globs, (UsageError, UnicodeDecodeError), globs, _GLOB_WORDS),
        Target("templates", 12, _template, (ValueError,), templates, _TEMPLATE_WORDS),
    ]


class _PlanCheck:
    """The host opens it; what the host accepts, the guest maps, and every item of it can be asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        with Plan.open(self._path) as plan:
            paths = plan.paths(0, plan.items)
            holds(len(paths) == plan.items, "paths for other items")
            holds(all("\0" not in path for path in paths), "a path that is none")
            bounds = [plan.bounds(batch) for batch in range(plan.batches)]
            holds(sum(count for _, count in bounds) == plan.items, "mini-batches of other items")
            holds(all(count > 0 for _, count in bounds), "a mini-batch of nothing")
            index = plan.folder_index()
            named = {path_of(folder, name) for folder in index.folders() for name in index.names(folder)}
            # A folder that somebody made up may end in a slash.
            read = {re.sub("/+", "/", path) for path in paths}
            holds({re.sub("/+", "/", path) for path in named} == read, "folders and names of other paths")
            for item in range(plan.items):
                first, count = plan.bounds(plan.batch_of(item))
                holds(first <= item < first + count, "an item in another mini-batch")
                plan.display(item)
                if plan.sized:
                    plan.size(item), plan.mtime_ns(item)
            for batch in range(plan.batches):
                holds(tuple(plan.partition(batch)) == plan.partition_keys, "another partition")
        guest = PlanMap(str(self._path))
        try:
            for first, count in bounds:
                holds(guest.paths(first, count) == paths[first : first + count], "the guest reads other paths")
        except PlanDamaged as error:
            raise AssertionError("the guest refuses what the host took") from error
        finally:
            guest.close()


def _resealed(seeds: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Changed, with the CRC and the length that it then has."""
    data = bytearray(mutated(seeds, (), dice))
    if len(data) < HEADER.size:
        return bytes(data)
    if dice.random() < 0.9:
        at = CRC_OFFSET - 8
        data[at : at + 8] = len(data).to_bytes(8, "little")
    crc = zlib.crc32(bytes(data[CRC_OFFSET + 4 :]), zlib.crc32(bytes(4), zlib.crc32(bytes(data[:CRC_OFFSET]))))
    data[CRC_OFFSET : CRC_OFFSET + 4] = crc.to_bytes(4, "little")
    return bytes(data)


def _globs(data: bytes) -> None:
    pattern = os.fsdecode(data[:300])
    chosen = Filters((pattern,), ())
    left = Filters((), (pattern,))
    for folder in _FOLDERS:
        taken = chosen.choose(folder, _PROBES)
        kept = left.choose(folder, _PROBES)
        holds(sorted([*taken, *kept]) == sorted(_PROBES), "a name that is neither included nor excluded")
        if not left.enters(folder):
            holds(kept == [], "a folder that is not entered, and holds something")
    if is_glob(pattern):
        given = Glob(pattern)
        for folder in _FOLDERS:
            if given.enters(folder):
                given.choose(folder, _PROBES)


def _template(data: bytes) -> None:
    text = os.fsdecode(data[:200])
    found = PartitionFormat.of(text)
    holds(PartitionFormat.of(found.text) == found, "a template that reads otherwise")
    for folder in _FOLDERS:
        for pattern in (found.folders, found.anywhere):
            match = pattern.fullmatch(folder)
            holds(match is None or all(match.groups()), "an empty value")
    for name in _PROBES:
        match = found.name.fullmatch(os.fsdecode(name))
        holds(match is None or all(match.groups()), "an empty value")
