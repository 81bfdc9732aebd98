"""What looking for garbage costs after an import: `python -m tests.bench.imports --python ENV/bin/python pandas torch`.

Each set of modules (with commas between) is imported in an interpreter of its own whose search is held off meanwhile.
Prints how many objects that makes which a search goes through, the memory that they and all else take, how many of them
are garbage, and how long the searches take that Python makes until the rest counts as old: one through the young, and
two through what was left. Those workers are spared (batchctl/guest/garbage.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHILD = """
import gc, importlib, json, sys, time
sys.path.insert(0, sys.argv.pop(1))
from batchctl.guest.garbage import _own_memory

gc.collect()
gc.freeze()
gc.set_threshold(10_000_000)
before = _own_memory()
for name in sys.argv[1:]:
    importlib.import_module(name)
objects, size = len(gc.get_objects()), _own_memory() - before
garbage, took = 0, []
for generation in (0, 1, 2):
    began = time.perf_counter()
    garbage += gc.collect(generation)
    took.append(time.perf_counter() - began)
print(json.dumps([objects, size, garbage, took]))
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", help="a module, or several with commas between")
    parser.add_argument("--python", default=sys.executable, help="that has them")
    given = parser.parse_args(arguments)
    print("| modules | objects | MB | bytes for each | garbage | searches, ms |\n|---|---:|---:|---:|---:|---:|")
    for modules in given.modules:
        command = [given.python, "-c", CHILD, str(ROOT), *modules.split(",")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{modules}: {done.stderr.strip()}")
        objects, size, garbage, took = json.loads(done.stdout.splitlines()[-1])
        searches = " + ".join(f"{seconds * 1e3:.0f}" for seconds in took)
        print(f"| {modules} | {objects:,} | {size / 1e6:.0f} | {size / objects:.0f} | {garbage:,} | {searches} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
