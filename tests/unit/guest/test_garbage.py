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

def generation(thing):
    return [n for n in range(3) if any(one is thing for one in gc.get_objects(generation=n))]

gc.collect()
gc.freeze()
frozen = gc.get_freeze_count()
"""
# name: (what is imported and asked, what it prints)
CASES = {
    "many are old": (
        """
with garbage.collecting_rarely():
    made = [[n] for n in range(20_000)]
print(generation(made[0]), generation(made[-1]), gc.get_threshold()[0] < 10_000)
""",
        "[2] [2] True",
    ),
    "a search of the old ones finds their garbage": (
        """
with garbage.collecting_rarely():
    made, lost = [[n] for n in range(20_000)], ring()
print(lost() is None)
gc.collect()
print(lost() is None)
""",
        "False\nTrue",
    ),
    "few: what is frozen stays so": (
        """
with garbage.collecting_rarely():
    made = [[n] for n in range(50)]
print(generation(made[0]), gc.get_freeze_count() == frozen)
""",
        "[0] True",
    ),
    "much memory: garbage is looked for at once": (
        """
garbage._MUCH = 32 << 20
with garbage.collecting_rarely():
    made, lost = [[n] for n in range(20_000)], ring(64 << 20)
print(lost() is None, gc.get_freeze_count() == frozen)
""",
        "True True",
    ),
    "much memory, but the script wants no search": (
        """
garbage._MUCH = 32 << 20
with garbage.collecting_rarely():
    gc.disable()
    lost = ring(64 << 20)
print(lost() is None, gc.get_freeze_count() == frozen)
""",
        "False True",
    ),
    "what is set meanwhile stands": (
        """
with garbage.collecting_rarely():
    made = [[n] for n in range(20_000)]
    gc.set_threshold(5_000, 3, 3)
print(gc.get_threshold(), gc.get_freeze_count() == frozen)
""",
        "(5000, 3, 3) True",
    ),
    "switched off stays off": (
        """
gc.set_threshold(0)
with garbage.collecting_rarely():
    made = [[n] for n in range(20_000)]
print(gc.get_threshold()[0], gc.get_freeze_count() == frozen)
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
    print(generation(made[0]), gc.get_threshold()[0] < 10_000)
""",
        "[2] True",
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
