"""Trees of real files, and plans of them, for the tests of this room."""

from __future__ import annotations

import os
import time
from pathlib import Path

from batchctl.model.job import Grouping
from batchctl.plan.encode import PlanImage, build_plan
from batchctl.plan.inputs import InputRequest
from batchctl.plan.read import Plan

COARSE = 5  # CLOCK_REALTIME_COARSE


def grow(root: Path, *names: str | bytes, content: bytes = b"") -> Path:
    """Make files by relative name (folders as needed); a name that ends in a slash is an empty folder."""
    base = os.fsencode(root)
    os.makedirs(base, exist_ok=True)
    for name in names:
        path = os.path.join(base, os.fsencode(name))
        os.makedirs(path if path.endswith(b"/") else os.path.dirname(path), exist_ok=True)
        if not path.endswith(b"/"):
            with open(path, "wb") as file:
                file.write(content)
    return root


def aged(root: Path) -> Path:
    """Returns when the clock that listings are dated by has passed the change times below `root`: it is coarse."""
    newest = max(path.stat().st_ctime_ns for path in root.rglob("*"))
    while time.clock_gettime_ns(COARSE) <= newest:
        pass
    return root


def image_of(folder: Path, *inputs: str, size: int = 10, **request: object) -> PlanImage:
    asked = InputRequest(tuple(inputs), folder=folder, **request)  # type: ignore[arg-type]
    return build_plan(asked, mini_batch_size=size)


def written(image: PlanImage, file: Path) -> Plan:
    file.write_bytes(b"".join(image.chunks()))
    return Plan.open(file)


def planned(folder: Path, *inputs: str, file: Path, size: int = 10, **request: object) -> list[bytes]:
    """Absolute paths of the plan, in order, after a round trip through the file."""
    with written(image_of(folder, *inputs, size=size, **request), file) as plan:
        return [os.fsencode(path) for path in plan.paths(0, plan.items)]


def relative(paths: list[bytes], root: Path) -> list[str]:
    return [os.fsdecode(os.path.relpath(path, os.fsencode(root))) for path in paths]


DIRECTORY = Grouping.DIRECTORY
PATH = Grouping.PATH
