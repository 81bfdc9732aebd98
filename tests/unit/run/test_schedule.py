"""Which schedule applies, how many sizes that takes, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchctl.model.job import Dialect, Schedule
from batchctl.plan.encode import build_plan
from batchctl.plan.inputs import InputRequest
from batchctl.plan.read import Plan
from batchctl.run.schedule import order_of, sizes_up_to, told_schedule
from tests.unit.run.stage import Reporter, job

ASKED: dict[str, Any] = {"sources": {"schedule": "--schedule"}}
BYTES: dict[str, Any] = {"max_batch_bytes": 1 << 20}
AZURE: dict[str, Any] = {
    "dialect": Dialect.AZURE, "schedule": Schedule.PLAN, "sources": {"schedule": "default (azure dialect)"},
}  # fmt: skip
PLANNED: dict[str, Any] = {"schedule": Schedule.PLAN, **ASKED}

# name: what the spec says, items, sizes are there, the run exists -> sizes are looked at up to, what is said
CASES: dict[str, tuple[dict[str, Any], int, bool, bool, int | None, str]] = {
    "few files": ({}, 400, True, False, 5000, "largest-first: sizes of 400 files known"),
    "as many as that": ({}, 5000, True, True, 5000, "largest-first: sizes of 5,000 files known"),
    "one": ({}, 1, True, True, 5000, "largest-first: sizes of 1 file known"),
    "many files": (
        {}, 6000, False, False, 5000,
        "in plan order: sizes are not used above 5,000 files unless asked for; --schedule largest-first looks at them",
    ),
    "a long list, whose sizes are known": (
        {}, 6000, True, True, 5000,
        "in plan order: sizes are not used above 5,000 files unless asked for; --schedule largest-first looks at them",
    ),
    "asked for": (ASKED, 6000, True, False, None, "largest-first: sizes of 6,000 files known"),
    "asked for too late": (
        ASKED, 6000, False, True, None, "in plan order: the run was planned without the sizes of its 6,000 files",
    ),
    "a mini-batch bounded by bytes": (BYTES, 6000, True, False, None, "largest-first: sizes of 6,000 files known"),
    "Azure": (AZURE, 400, True, False, 5000, "in plan order: default (azure dialect)"),
    "Azure, bounded by bytes": ({**AZURE, **BYTES}, 400, True, False, None, "in plan order: default (azure dialect)"),
    "plan order asked for": (PLANNED, 400, True, False, 5000, "in plan order: --schedule"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_applies_and_why(tmp_path: Path, case: str) -> None:
    said, items, sized, planned, limit, expected = CASES[case]
    spec = job(tmp_path)._replace(**said)
    assert sizes_up_to(spec) == limit
    assert told_schedule(spec, items=items, sized=sized, planned=planned) == expected


# name: what the spec says, sizes are recorded -> the order, warnings
ORDERS: dict[str, tuple[dict[str, Any], bool, list[int] | None, list[str]]] = {
    "by default": ({}, True, [2, 0, 1], []),
    "without sizes": ({}, False, None, []),
    "without sizes, asked for": (
        ASKED, False, None,
        ["warning: mini-batches are handed out in plan order: the run was planned without the sizes of its 3 files"],
    ),
    "plan order": (PLANNED, True, None, []),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_the_order_of_a_plan(tmp_path: Path, case: str) -> None:
    said, sized, expected, warnings = ORDERS[case]
    (tmp_path / "in").mkdir()
    for name, size in (("a", 2), ("b", 1), ("c", 3)):
        (tmp_path / "in" / name).write_bytes(b"x" * size)
    request = InputRequest(("in",), folder=tmp_path, sizes_up_to=None if sized else -1)
    (tmp_path / "plan").write_bytes(b"".join(build_plan(request, mini_batch_size=1).chunks()))
    reporter = Reporter()
    with Plan.open(tmp_path / "plan") as plan:
        order = order_of(job(tmp_path)._replace(**said), plan, reporter)
    assert (order.tolist() if order is not None else None) == expected
    assert reporter.notes == warnings
