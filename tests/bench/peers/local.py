"""Peers on processes of this Python: a plain loop, multiprocessing, concurrent.futures, joblib."""

from __future__ import annotations

import heapq
import json
import os
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

from tests.bench.peers.task import mini_batches, ready, score, script, sink, task, to_bytes

_LOOKED_AT = 1000  # mini-batches: a look at the sizes of more files would be work that peers are spared


def serial() -> None:
    """The last line on standard output is a JSON object: seconds of the work, without start and init()."""
    run, todo = script(), mini_batches()
    with sink() as out:
        began = time.perf_counter()
        for mini_batch in todo:
            out.write(to_bytes(run(mini_batch), mini_batch))
        work_s = time.perf_counter() - began
    print(json.dumps({"work_s": work_s}))


def halves() -> None:
    """What the machine gives to processes that share nothing: a plain loop in each, over work divided at the start.

    By bytes for up to a thousand mini-batches; more are thought alike. Each has a file, and the parent joins them at
    the end, which is part of the time.
    """
    shares = _shares(mini_batches(), task().workers)
    children = [os.fork() or _loop(part, share) for part, share in enumerate(shares)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise SystemExit(f"plain loops exited {codes}")
    with sink() as out:
        for part in range(len(shares)):
            with open(_part(part), "rb") as done:
                out.write(done.read())


def _shares(todo: Sequence[list[str]], workers: int) -> list[list[list[str]]]:
    """Mini-batches for each process, the largest first to whoever has least."""
    shares: list[list[list[str]]] = [[] for _ in range(workers)]
    if len(todo) > _LOOKED_AT:
        return [list(todo[part::workers]) for part in range(workers)]
    sizes = [sum(os.stat(path).st_size for path in mini_batch) for mini_batch in todo]
    least = [(0, 0, part) for part in range(workers)]  # bytes, mini-batches: of empty files too each has its half
    for size, number in sorted(((size, number) for number, size in enumerate(sizes)), reverse=True):
        has, count, part = heapq.heappop(least)
        shares[part].append(todo[number])
        heapq.heappush(least, (has + size, count + 1, part))
    return shares


def _loop(part: int, share: Sequence[list[str]]) -> NoReturn:
    code = 1
    try:
        run = script()
        with open(_part(part), "wb") as out:
            for mini_batch in share:
                out.write(to_bytes(run(mini_batch), mini_batch))
        code = 0
    finally:  # its exception, if there is one, is told by the parent's exit code and the traceback
        if code:
            traceback.print_exc()
        os._exit(code)


def _part(part: int) -> str:
    return os.path.join(task().out, f"part-{part}")


def pool() -> None:
    import multiprocessing

    with multiprocessing.Pool(task().workers, ready) as workers, sink() as out:
        for data in workers.imap_unordered(score, mini_batches(), chunksize=task().chunk):
            out.write(data)


def futures() -> None:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(task().workers, initializer=ready) as workers, sink() as out:
        for data in workers.map(score, mini_batches(), chunksize=task().chunk):
            out.write(data)


def joblib() -> None:
    """chunk 1: one mini-batch a task; else as many as joblib thinks best."""
    from joblib import Parallel, delayed

    size = "auto" if task().chunk > 1 else 1
    run = Parallel(task().workers, return_as="generator_unordered", batch_size=size, pre_dispatch="4*n_jobs")
    with sink() as out:
        for data in run(delayed(score)(mini_batch) for mini_batch in mini_batches()):
            out.write(data)
