"""What a team that brings its deployment may count on, told in its own terms."""

from __future__ import annotations

import pytest

from tests.e2e.azure.deployments import Deployment, names
from tests.e2e.driver import Job

IMAGES = """
    import os

    def brightness(path):
        # A binary PGM: P5, width, height, depth, one byte per pixel.
        with open(path, "rb") as file:
            kind, width, height, depth, pixels = file.read().split(maxsplit=4)
        if kind != b"P5" or len(pixels) != int(width) * int(height):
            raise ValueError("not a whole image: " + os.path.basename(path))
        return sum(pixels) // len(pixels)

    def run(mini_batch):
        return [f"{os.path.basename(path)}: {brightness(path)}" for path in mini_batch]
"""
IMAGE = b"P5 4 4 255 " + bytes([200] * 16)
BROKEN = {"img017.pgm": IMAGE[:-3], "img064.pgm": b"<html>not found</html> 1 2 3 4"}


@pytest.mark.parametrize(("threshold", "code"), [(2, 0), (1, 3)])
def test_two_broken_images_of_102_cost_two_rows(job: Job, threshold: int, code: int) -> None:
    deployment = Deployment(job, IMAGES, mini_batch_size=10, max_concurrency_per_instance=2, error_threshold=threshold)
    images = [f"{name}.pgm" for name in names(102, stem="img")]
    for name in images:
        (job.inputs / name).write_bytes(BROKEN.get(name, IMAGE))
    ran = deployment.run().expect(code)
    if code:
        ran.names("2 items failed", "threshold is 1")
        assert not (job.out.path / "predictions.csv").exists()
        return
    assert deployment.rows == [f"{name}: 200" for name in images if name not in BROKEN]
    assert len(deployment.rows) == 100
    assert deployment.counts("items_succeeded", "items_quarantined", "items_failed") == (100, 2, 2)
    ran.names(*BROKEN)


def test_an_init_that_raises_fails_within_one_start(job: Job) -> None:
    script = """
        from witness import tell

        def init():
            tell("init")
            raise RuntimeError("no such model")

        def run(mini_batch):
            return mini_batch
    """
    deployment = Deployment(job, script, mini_batch_size=10, error_threshold=-1)
    deployment.files(*names(20))
    deployment.run().expect(4).names("Traceback", "score.py", "in init", "RuntimeError: no such model")
    assert len(deployment.told("init")) == 1


@pytest.mark.parametrize("threshold", [-1, 0, 1000])
def test_a_run_that_always_raises_fails_and_says_that_nothing_came_of_it(job: Job, threshold: int) -> None:
    script = "def run(mini_batch):\n    raise KeyError('prediction')\n"
    deployment = Deployment(job, script, mini_batch_size=10, error_threshold=threshold)
    deployment.files(*names(20))
    ran = deployment.run().expect(3)
    ran.names("0 rows", "0 of 20 succeeded", "KeyError: 'prediction'", "score.py")
    assert not (job.out.path / "predictions.csv").exists()
    assert deployment.counts("rows", "items_succeeded") == (0, 0)
