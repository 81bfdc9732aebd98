"""What imports make is counted as old at once, and what a script sets by itself stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchctl.guest import garbage

ROOT = Path(__file__).parents[3]

# Each begins in an interpreter of its own, as a worker does: the server's objects frozen, the rest as Python has it.
BEGIN = """
import gc, sys, weakref
from batchctl.guest import garbage

class Node:
    pass

def ring(size=0):
    node = Node()
    node.self, node.held = node, b"x" * size
    return weakref.ref(node)

def searched(thing):
    return any(one is thing for one in gc.get_objects())

gc.collect()
gc.freeze()
frozen = gc.get_freeze_count()
usual = gc.get_threshold()
"""
# name: (what is imported and asked, what it prints)
CASES = {
    "code": (
        """
with garbage.collecting_rarely():
    made = [[n] for n in range(20_000)]
print(searched(made[0]), searched(made[-1]), gc.get_freeze_count() >= frozen + 20_000, gc.get_threshold() == usual)
""",
        "False False True True",
    ),
    "what comes after it is searched as ever": (
        """
with garbage.collecting_rarely():
    made = [[n] for n in range(20_000)]
lost = ring(64 << 20)
later = [[n] for n in range(20_000)]
print(lost() is None)
""",
        "True",
    ),
    "data: garbage is found by the next search": (
        """
with garbage.collecting_rarely():
    made, lost = [[n] for n in range(20_000)], ring(64 << 20)
later = [[n] for n in range(20_000)]
print(lost() is None, searched(made[0]), gc.get_freeze_count() <= frozen, gc.get_threshold() == usual)
""",
        "True True True True",
    ),
    "so many objects that they were searched meanwhile": (
        """
garbage._RARELY = 10_000
garbage._SLACK = 0
with garbage.collecting_rarely():
    made, lost = [[n] for n in range(20_000)], ring()
    size = [bytes(1_000) for n in range(20_000)]
print(gc.get_freeze_count() <= frozen)
""",
        "True",
    ),
    "what is set meanwhile stands": (
        """
with garbage.collecting_rarely():
    made = [[n] for n in range(20_000)]
    gc.set_threshold(5_000, 3, 3)
print(gc.get_threshold(), gc.get_freeze_count() <= frozen)
""",
        "(5000, 3, 3) True",
    ),
    "what is frozen meanwhile stays so": (
        """
with garbage.collecting_rarely():
    first = [[n] for n in range(100)]
    gc.freeze()
    made = [[n] for n in range(20_000)]
print(searched(first[0]), searched(made[0]))
""",
        "False False",
    ),
    "switched off meanwhile": (
        """
with garbage.collecting_rarely():
    gc.disable()
    made = [[n] for n in range(20_000)]
print(searched(made[0]), gc.isenabled(), gc.get_threshold() == usual)
""",
        "True False True",
    ),
    "no threshold": (
        """
gc.set_threshold(0)
with garbage.collecting_rarely():
    made = [[n] for n in range(20_000)]
print(gc.get_threshold()[0], gc.get_freeze_count() <= frozen)
""",
        "0 True",
    ),
    "an import that raises": (
        """
try:
    with garbage.collecting_rarely():
        made = [[n] for n in range(20_000)]
        1 / 0
except ZeroDivisionError:
    print(gc.get_threshold() == usual)
""",
        "True",
    ),
    "functions of Python's that the import replaces": (
        """
import os
def broken(*_):
    raise RuntimeError("broken")
with garbage.collecting_rarely():
    made, os.open = [[n] for n in range(20_000)], broken
print(gc.get_threshold() == usual, searched(made[0]))
""",
        "True True",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_an_import_makes(name: str) -> None:
    what, said = CASES[name]
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + what], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_own_memory_is_what_no_file_backs() -> None:
    before = garbage._own_memory()
    held = b"x" * (64 << 20)
    assert 60 << 20 <= garbage._own_memory() - before <= 80 << 20
    assert len(held) == 64 << 20
