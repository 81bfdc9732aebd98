"""When inputs are looked at, and what counts as a change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from batchctl.guest.failure import InputChanged, describe
from batchctl.guest.input_check import SMALL, InputCheck, look

RULES: dict[str, tuple[str, int, bool]] = {
    "auto, a small plan": ("auto", SMALL, True),
    "auto, a large plan": ("auto", SMALL + 1, True),  # until the first credit is spent
    "always": ("always", 10**9, True),
    "never": ("never", 1, False),
}


@pytest.mark.parametrize(("rule", "items", "looks"), RULES.values(), ids=RULES)
def test_the_first_mini_batch_is_looked_at(rule: str, items: int, looks: bool) -> None:
    assert (InputCheck(rule, items).credit > 0) == looks


@pytest.mark.parametrize(
    ("rule", "items", "ends"), [("auto", SMALL + 1, True), ("auto", SMALL, False), ("always", 10**9, False)]
)
def test_looks_are_paid_for(tmp_path: Path, rule: str, items: int, ends: bool) -> None:
    """A run() that takes no time earns nothing: in time a large plan is not looked at any more."""
    paths = [str(tmp_path / "none")] * 1000
    check = InputCheck(rule, items)
    for _ in range(100):
        if check.credit > 0:
            check.after(paths, check.before(paths))
    assert (check.credit <= 0) == ends
    check.credit += 10**18
    assert check.credit > 0


def gone(path: Path) -> None:
    path.unlink()


def grown(path: Path) -> None:
    path.write_text("longer than before")


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def read(path: Path) -> None:
    path.read_text()


def made(path: Path) -> None:
    path.with_name("missing").write_text("it is there now")


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "read": (read, ""),
    "gone": (gone, ""),
    "made by run()": (made, ""),
    "grown": (grown, "size 1 -> 18"),
    "touched": (touched, "mtime_ns "),
}


@pytest.mark.parametrize(("change", "told"), CASES.values(), ids=CASES)
def test_what_counts_as_a_change(tmp_path: Path, change: Callable[[Path], None], told: str) -> None:
    path = tmp_path / "it's"
    path.write_text("x")
    items = [str(tmp_path / "missing"), str(path)]
    check = InputCheck("always", 2)
    held = check.before(items)
    change(path)
    if not told:
        check.after(items, held)
        return
    with pytest.raises(InputChanged) as caught:
        check.after(items, held)
    said = describe(caught.value)
    assert (said["error"], said["traceback"]) == ("InputChanged", "")
    assert repr(str(path)) in said["message"] and told in said["message"] and "input_check = never" in said["message"]


def test_names_that_cannot_be_asked_for() -> None:
    assert look(["/no\0ne", "/", "/none"])[::2] == [None, None]
