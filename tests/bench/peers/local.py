"""Peers on processes of this Python: a plain loop, multiprocessing, concurrent.futures, joblib."""

from __future__ import annotations

import json
import time

from tests.bench.peers.task import mini_batches, ready, score, script, sink, task, to_bytes


def serial() -> None:
    """The last line on standard output is a JSON object: seconds of the work, without start and init()."""
    run, todo = script(), mini_batches()
    with sink() as out:
        began = time.perf_counter()
        for mini_batch in todo:
            out.write(to_bytes(run(mini_batch), mini_batch))
        work_s = time.perf_counter() - began
    print(json.dumps({"work_s": work_s}))


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
