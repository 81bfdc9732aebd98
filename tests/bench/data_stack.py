"""What room for frames saves imports: `python -m tests.bench.data_stack --python ENV/bin/python pandas,pyarrow torch`.

Each set of modules (with commas between) is imported in interpreters of its own, as they are and with the room that
batchctl's workers have (batchctl/guest/data_stack.py), in interleaved rounds; the search for garbage is off, as it is
while workers import. Prints the pages that the kernel had to give and the time, medians, and the ratio of the rounds'.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHILD = """
import gc, importlib, json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from batchctl.guest.data_stack import call_with_room

def bring():
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    for name in sys.argv[3:]:
        importlib.import_module(name)
    took = time.perf_counter() - began
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, took

gc.disable()
print(json.dumps(call_with_room(bring) if sys.argv[2] == "room" else bring()))
"""


def measure(python: str, way: str, modules: list[str]) -> tuple[int, float]:
    """Pages and seconds. SystemExit where they cannot be imported."""
    command = [python, "-c", CHILD, str(ROOT), way, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{', '.join(modules)}: {done.stderr.strip()}")
    pages, took = json.loads(done.stdout.splitlines()[-1])
    return pages, took


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", help="a module, or several with commas between")
    parser.add_argument("--python", default=sys.executable, help="that has them")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args(arguments)
    print("| modules | pages, as they are | with room | ms, as they are | with room | ratio, median (min-max) |")
    print("|---|---:|---:|---:|---:|---:|")
    for modules in given.modules:
        found: dict[str, list[tuple[int, float]]] = {"bare": [], "room": []}
        for number in range(-1, given.rounds):  # one before the first: files in memory
            for way in random.sample(list(found), len(found)):
                one = measure(given.python, way, modules.split(","))
                if number >= 0:
                    found[way].append(one)
        pages = " | ".join(f"{statistics.median(one[0] for one in laps):,.0f}" for laps in found.values())
        times = " | ".join(f"{1e3 * statistics.median(one[1] for one in laps):.0f}" for laps in found.values())
        ratios = [room[1] / bare[1] for bare, room in zip(found["bare"], found["room"], strict=True)]
        spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
        print(f"| {modules} | {pages} | {times} | {spread} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
