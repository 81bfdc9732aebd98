"""Seconds and peak memory of planning N empty files: `python -m tests.bench.planning N [FILES_PER_FOLDER [TEMPLATE]]`.

With a template (`{folder}/*`, or `*/item*{digit}.json`, which parts all neighbours) they are partitioned by its keys.

The files are made in a temporary folder by another process, so the peak is that of planning alone. Prints one JSON
object: seconds of listing and encoding (wall; cpu here and in the children that share the stats), of verifying the
written plan, and ru_maxrss in MB before and after.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batchctl.model.job import Grouping
from batchctl.model.partition import PartitionFormat
from batchctl.plan.encode import build_plan
from batchctl.plan.inputs import InputRequest
from batchctl.plan.partitions import Partitions
from batchctl.plan.read import Plan

_MAKE = """
import os, sys
root, count, per = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for low in range(0, count, per):
    folder = f"{root}/f{low // per:06d}"
    os.mkdir(folder)
    handle = os.open(folder, os.O_RDONLY)
    for item in range(low, min(low + per, count)):
        os.close(os.open(f"item{item:09d}.json", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
"""


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measure(root: Path, *, plan_file: Path, grouping: Grouping, template: str = "") -> dict[str, object]:
    before = _peak()
    cpu, children = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    request = InputRequest((str(root),), folder=Path.cwd(), grouping=grouping)
    partitions = Partitions(PartitionFormat.of(template).keys, template) if template else None
    image = build_plan(request, mini_batch_size=10, partitions=partitions)
    built = time.perf_counter()
    cpu, children = _cpu(resource.RUSAGE_SELF) - cpu, _cpu(resource.RUSAGE_CHILDREN) - children
    with plan_file.open("wb") as out:
        for chunk in image.chunks():
            out.write(chunk)
    peak = _peak()
    written = time.perf_counter()
    with Plan.open(plan_file) as plan:
        opened = time.perf_counter()
        assert plan.items == image.items
    return {
        "items": image.items,
        "batches": image.batches,
        "folders": image.folders,
        "plan_s": round(built - start, 3),
        "cpu_s": round(cpu, 3),
        "children_cpu_s": round(children, 3),
        "write_s": round(written - built, 3),
        "open_and_verify_s": round(opened - written, 3),
        "file_mb": round(image.length / 1e6, 1),
        "rss_before_mb": round(before, 1),
        "rss_peak_mb": round(peak, 1),
    }


def main(arguments: list[str]) -> None:
    count = int(arguments[0])
    per = int(arguments[1]) if len(arguments) > 1 else 200
    template = arguments[2] if len(arguments) > 2 else ""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(os.environ.get("BENCH_TREE") or scratch) / "tree"
        if not root.exists():
            root.mkdir()
            subprocess.run([sys.executable, "-c", _MAKE, str(root), str(count), str(per)], check=True)
        for _ in range(3):
            found = measure(root, plan_file=Path(scratch) / "plan", grouping=Grouping.PATH, template=template)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
