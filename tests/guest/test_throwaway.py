"""A question that a child answers: what its asker does meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASKED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from batchctl.guest.throwaway import ask_child

steps, wanted = int(sys.argv[2]), int(sys.argv[3])
read_end, write_end = os.pipe()
done = []

def question():
    return {"heard": sum(len(os.read(read_end, 1)) for _ in range(wanted))}

def meanwhile():
    if len(done) == steps:
        return False
    done.append(os.write(write_end, b"."))
    return True

ask_child(question, lambda found: print(found["heard"]), meanwhile=meanwhile)
print(len(done))
"""


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [(3, 3), (3, 2), (3, 0), (0, 0)],
    ids=["the answer waits for all", "for some", "for none", "nothing to do"],
)
def test_the_asker_goes_on_with_its_own_until_there_is_an_answer(steps: int, wanted: int) -> None:
    command = [sys.executable, "-c", ASKED, str(ROOT), str(steps), str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    heard, made = map(int, done.stdout.split())
    assert heard == wanted
    assert wanted <= made <= steps


BROKEN = """
import os, sys
sys.path.insert(0, sys.argv[1])
from batchctl.guest.throwaway import ask_child
read_end, write_end = os.pipe()

def meanwhile():
    raise ImportError("no such module")

try:
    ask_child(lambda: {"heard": len(os.read(read_end, 1))}, print, meanwhile=meanwhile)
except ImportError as error:
    print(error)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
"""


def test_what_fails_meanwhile_ends_the_child() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(ROOT)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["no such module", "no child is left"]
