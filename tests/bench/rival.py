"""The rival: multiprocessing.Pool over the same script, one mini-batch a task: `rival.py SCRIPT LIST OUT`.

What a user would write instead, at its honest best: no pandas, rows turned into bytes in the worker, appended to one
file by the parent as they come. Nothing is durable, nothing can be resumed. Run by path, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable

MINI_BATCH = 10
WORKERS = 2
score: Callable[[list[str]], list[str]]


def load(path: str) -> None:
    """In each worker: the script, and its init()."""
    global score
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.init()
    score = module.run


def rows(mini_batch: list[str]) -> bytes:
    result = score(mini_batch)
    return ("\n".join(map(str, result)) + "\n").encode() if result else b""


def main(script: str, listing: str, out: str) -> None:
    with open(listing) as handle:
        paths = handle.read().splitlines()
    mini_batches = (paths[low : low + MINI_BATCH] for low in range(0, len(paths), MINI_BATCH))
    with multiprocessing.Pool(WORKERS, load, (script,)) as pool, open(out, "wb") as sink:
        for data in pool.imap_unordered(rows, mini_batches, chunksize=1):
            sink.write(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
