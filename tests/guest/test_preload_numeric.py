"""Preloading real numpy, scipy, pandas and scikit-learn, in the environment that tests of MLflow's models use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_driver import Server

from batchctl.guest import wire
from tests.user_environments import environment

NUMERIC = ["numpy.random", "scipy.linalg", "pandas", "sklearn.linear_model"]
# How many threads each library would use, asked of the library itself, in the order of their files.
COUNTS = """
import ctypes, os, re
def counts():
    paths = dict.fromkeys(line.split()[-1] for line in open("/proc/self/maps") if ".so" in line)
    found = {}
    for path in paths:
        name = os.path.basename(path)
        if re.match(r"lib(scipy_openblas|openblas|gomp)", name):
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            for call in ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads", "omp_get_max_threads"):
                if hasattr(library, call):
                    found[name.split("-")[0]] = getattr(library, call)()
    return sorted(found.items())
"""


@pytest.fixture
def server(pyz: Path, tmp_path: Path) -> Iterator[Server]:
    found = Server(str(environment("mlflow")), pyz)
    yield found.enter(tmp_path)
    found.close()


def nothing_is_refused(server: Server) -> None:
    assert [frame.json() for frame in server.frames if frame.kind == wire.PRELOAD_REFUSED] == []


THREADS = {
    "the cpus of the slot": ({}, 3, (3, 3)),
    "the user's own for all": ({"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}, 3, (2, 2)),
    "the user's own for one": ({"OPENBLAS_NUM_THREADS": "5"}, 3, (3, 5)),
    "one": ({}, 1, (1, 1)),
}


@pytest.mark.parametrize("case", THREADS)
@pytest.mark.parametrize("preload", [[], NUMERIC], ids=["without", "with"])
def test_thread_caps_are_the_same_with_and_without(server: Server, case: str, preload: list[str]) -> None:
    env, threads, (omp, blas) = THREADS[case]
    script = COUNTS + "\n".join(f"import {name}" for name in NUMERIC) + "\ndef run(b): return [counts()]\n"
    worker = server.worker(script, preload=preload, env=env, fork={"threads": threads})
    nothing_is_refused(server)
    found = dict(eval(worker.one()))
    blas = min(blas, len(os.sched_getaffinity(0)))  # its own bound
    assert found == {"libgomp": omp, "libscipy_openblas": blas, "libscipy_openblas64_": blas}


def test_they_work_in_several_workers(server: Server) -> None:
    """With more threads than one, and with jemalloc's, which does not hinder the fork."""
    script = """
import numpy, pandas, pyarrow, sklearn.linear_model
def run(b):
    rows = numpy.random.default_rng(0).standard_normal((600, 600))
    assert abs(numpy.linalg.inv(rows) @ rows - numpy.eye(600)).max() < 1e-6
    frame = pandas.DataFrame({"a": ["x", "y"] * 1000, "b": range(2000)})
    assert list(frame.groupby("a").b.sum()) == [999000, 1000000]
    assert pyarrow.compute.sum(pyarrow.array(range(10 ** 6))).as_py() == 499999500000
    model = sklearn.linear_model.LogisticRegression().fit(rows[:, :5], rows[:, 0] > 0)
    return [model.predict([[9.0, 0, 0, 0, 0]])[0]] * len(b)
"""
    server.job(script, preload=["pandas", "pyarrow.compute", "sklearn.linear_model"])
    workers = [server.fork(threads=2) for _ in range(3)]
    for worker in workers:
        worker.ready()
    nothing_is_refused(server)
    for worker in workers:
        assert worker.one(0, 2) == b"True\nTrue\n"
        worker.stop()
        assert server.exited(worker) == 0


def test_the_global_random_state_of_numpy_differs_between_workers(server: Server) -> None:
    server.job("import numpy.random\ndef run(b): return [numpy.random.random()]\n", preload=["numpy.random"])
    workers = [server.fork() for _ in range(3)]
    for worker in workers:
        worker.ready()
    assert len({worker.one() for worker in workers}) == 3
