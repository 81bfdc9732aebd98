"""Peers that run commands: GNU parallel with two long-lived workers, HyperQueue with a process for each mini-batch."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.peers.task import VARIABLE, chunks, paths, ready, score, sink, task

_SELF = [sys.executable, "-m", "tests.bench.peers"]


def parallel() -> None:
    """Fed round robin through pipes: its fastest form. Two workers share all, so one that dies takes its half along."""
    options = ["--will-cite", "-j", str(task().workers), "--pipe", "--round-robin", "--block", "1k"]
    listing = "".join(f"{path}\n" for path in paths()).encode()
    command = ["parallel", *options, "-N", str(task().mini_batch * task().chunk), *_SELF, "stdin"]
    with sink() as out:
        subprocess.run(command, input=listing, stdout=out, check=True)


def stdin() -> None:
    """A worker of GNU parallel's: paths on standard input, rows on standard output."""
    ready()
    while mini_batch := [line.rstrip("\n") for line in itertools.islice(sys.stdin, task().mini_batch)]:
        sys.stdout.buffer.write(score(mini_batch))
        sys.stdout.buffer.flush()


def hyperqueue() -> None:
    """The local cluster of its wheel. Every task has a file of its own, which are put together at the end."""
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    parts = Path(task().out, "parts")
    parts.mkdir()
    kept = {name: value for name, value in os.environ.items() if name.startswith(("BENCH", "OMP", "PYTHONPATH"))}
    assert VARIABLE in kept
    with LocalCluster(worker_config=WorkerConfig(cores=task().workers)) as cluster:
        client, job = cluster.client(), Job(max_fails=None)
        for number, group in enumerate(chunks()):
            files = [path for mini_batch in group for path in mini_batch]
            job.program([*_SELF, "files", *files], stdout=str(parts / f"{number}.csv"), stderr=None, env=kept)
        client.wait_for_jobs([client.submit(job)])
    with sink() as out:
        for part in parts.iterdir():
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, out)


def files() -> None:
    """A task of HyperQueue's: paths on the command line, rows on standard output."""
    sys.stdout.buffer.write(score(sys.argv[2:]))
