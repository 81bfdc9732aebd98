"""Peers that are clusters, on this machine alone: Dask futures, Ray actors, Ray Data."""

from __future__ import annotations

import itertools
import os
from typing import Any

from tests.bench.peers.task import chunks, paths, ready, score, score_many, script, sink, task


def dask() -> None:
    from distributed import Client, LocalCluster, as_completed

    cluster = LocalCluster(n_workers=task().workers, threads_per_worker=1, processes=True, dashboard_address=None)
    with cluster, Client(cluster) as client, sink() as out:
        client.run(ready)
        done = client.map(score_many, chunks(), pure=False)
        for _, data in as_completed(done, with_results=True):
            out.write(data)


def ray_core() -> None:
    """Two actors, four tasks outstanding at each, so that none waits for the driver."""
    ray = _ray()

    @ray.remote(num_cpus=1)
    class Worker:
        def __init__(self) -> None:
            script()

        def score(self, group: list[list[str]]) -> bytes:
            return score_many(group)

    workers = [Worker.remote() for _ in range(task().workers)]
    todo, owners = iter(chunks()), {}
    with sink() as out:
        first = itertools.islice(todo, 4 * len(workers))
        for worker, group in zip(itertools.cycle(workers), first, strict=False):
            owners[worker.score.remote(group)] = worker
        while owners:
            for done in ray.wait(list(owners), num_returns=1)[0]:
                worker = owners.pop(done)
                for group in itertools.islice(todo, 1):
                    owners[worker.score.remote(group)] = worker
                out.write(ray.get(done))
    ray.shutdown()


def ray_data() -> None:
    ray = _ray()
    import pandas
    from ray import data as datasets

    datasets.DataContext.get_current().enable_progress_bars = False

    class Scorer:
        def __init__(self) -> None:
            script()

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
            found, size = list(batch["path"]), task().mini_batch
            return {"rows": [score(found[low : low + size]) for low in range(0, len(found), size)]}

    files, size = paths(), task().mini_batch * task().chunk
    blocks = max(1, min(len(files) // size, 40))  # more of them only add what each costs to schedule
    step = -(-len(files) // blocks)
    frames = [pandas.DataFrame({"path": files[low : low + step]}) for low in range(0, len(files), step)]
    scored = datasets.from_pandas(frames).map_batches(
        Scorer,
        batch_size=size,
        num_cpus=0.9,  # what is left is for Ray Data's own tasks, which would wait for ever else
        compute=datasets.ActorPoolStrategy(size=task().workers),
    )
    with sink() as out:
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            for data in batch["rows"]:
                out.write(data.as_buffer())
    ray.shutdown()


def _ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    # "local": never a cluster that somebody else has running here.
    ray.init(
        address="local",
        num_cpus=task().workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=2 << 30,
    )
    return ray
