"""Loops whose calls cross the end of a chunk of frames, at every depth: memory is not mapped for each of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchctl.guest.data_stack import call_with_room

ROOT = Path(__file__).parents[3]
DEPTHS, CALLS = 300, 200
# Prints how many pages such loops had to be given once all else was there: as they are, and with room.
LOOPS = f"""
import resource, sys
sys.path.insert(0, sys.argv[1])
from batchctl.guest.data_stack import call_with_room

def leaf():
    return 1

def descend(depth):
    if depth:
        return descend(depth - 1)
    for _ in range({CALLS}):
        leaf()

def faults():
    for round in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for depth in range({DEPTHS}):
            descend(depth)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), call_with_room(faults))
"""


def test_calls_across_the_end_of_a_chunk_cost_no_page_each() -> None:
    said = subprocess.run([sys.executable, "-c", LOOPS, str(ROOT)], capture_output=True, text=True, check=True)
    bare, roomy = map(int, said.stdout.split())
    assert roomy < CALLS // 2
    if sys.version_info < (3, 14):  # later ones may keep the last chunk by themselves
        assert bare > 2 * CALLS, "these loops cross no chunk: they show nothing"


FRAMES = """
import sys

def init():
    global found
    frame, found = sys._getframe(), 0
    while frame is not None:
        frame, found = frame.f_back, max(found, frame.f_code.co_stacksize)

def run(mini_batch):
    return [found for _ in mini_batch]
"""


@pytest.mark.parametrize("words", [(), ("--preload", "json")], ids=["plain", "preload"])
def test_a_script_runs_in_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "score.py").write_text(FRAMES, encoding="utf-8")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").touch()
    command = ["run", str(tmp_path / "score.py"), str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--workers", "1"]
    subprocess.run([sys.executable, "-m", "batchctl", *command, *words, "-q"], check=True, cwd=ROOT)
    assert int((tmp_path / "out" / "predictions.csv").read_text().splitlines()[-1]) >= 64 << 10


def test_what_the_function_does_comes_through() -> None:
    assert call_with_room(lambda: "told") == "told"
    with pytest.raises(KeyError, match="lost"):
        call_with_room(lambda: {}["lost"])


def test_recursion_has_the_limit_that_it_had() -> None:
    def depth_of(depth: int) -> int:
        try:
            return depth_of(depth + 1)
        except RecursionError:
            return depth

    bare = depth_of(0)
    assert bare - 2 <= call_with_room(lambda: depth_of(0)) <= bare
