"""T1 to T9: scripts that raise, hang, die, or are slow to start."""

from __future__ import annotations

import collections

import pytest

from tests.e2e.azure.deployments import Deployment, names
from tests.e2e.driver import Job

ONCE = """
    import os
    from witness import tell, told

    def run(mini_batch):
        tell("run")
        if told("run") == 1:
            raise OSError("the share is not there yet")
        return [os.path.basename(path) for path in mini_batch]
"""


def test_t1_a_run_that_raises_once_costs_an_attempt_and_no_item(job: Job) -> None:
    deployment = Deployment(job, ONCE, mini_batch_size=4, error_threshold=0, retry_settings={"max_retries": 3})
    deployment.files(*names(4))
    deployment.run().expect(0)
    assert deployment.rows == names(4)
    assert deployment.counts("items_succeeded", "items_failed", "rows") == (4, 0, 4)
    story = [(attempt["Status"], attempt["Picked Count"], attempt["Failed"]) for attempt in job.out.attempts]
    assert story == [("failed", "1", "4"), ("scored", "2", "0")]


ALWAYS = """
    import os
    from witness import tell, told

    def run(mini_batch):
        if "bad" in mini_batch[0]:
            tell("attempt", files=len(mini_batch))
            raise ValueError(os.environ["MESSAGE"].format(attempt=told("attempt")))
        return [os.path.basename(path) for path in mini_batch]
"""


def always_raises(job: Job, *, retries: int, message: str) -> Deployment:
    deployment = Deployment(
        job,
        ALWAYS,
        mini_batch_size=5,
        retry_settings={"max_retries": retries, "timeout": 60},
        environment_variables={"MESSAGE": message},
    )
    deployment.files(*names(5, folder="bad/"), *names(5, folder="good/"))
    return deployment


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (3, 4)])
def test_t2_retries_are_further_attempts_and_all_items_fail(job: Job, retries: int, attempts: int) -> None:
    deployment = always_raises(job, retries=retries, message="no luck at attempt {attempt}")
    deployment.run("--no-isolate").expect(0)
    assert [told["files"] for told in deployment.told("attempt")] == [5] * attempts
    assert deployment.counts("items_failed", "items_succeeded", "attempts_failed") == (5, 5, attempts)
    assert deployment.rows == names(5)


def test_t2_the_same_message_twice_ends_the_retrying_early(job: Job) -> None:
    deployment = always_raises(job, retries=3, message="always the same")
    deployment.run("--no-isolate").expect(0)
    assert len(deployment.told("attempt")) == 2
    assert deployment.counts("items_failed", "attempts_failed") == (5, 2)


def test_t2_a_file_that_is_guilty_is_found_by_isolation(job: Job) -> None:
    """Ours alone: on Azure all five items of the mini-batch would be lost."""
    script = """
        import os

        def run(mini_batch):
            if any("broken" in path for path in mini_batch):
                raise ValueError("not an image")
            return [os.path.basename(path) for path in mini_batch]
    """
    deployment = Deployment(job, script, mini_batch_size=5, retry_settings={"max_retries": 3})
    deployment.files(*names(4), "item002-broken")
    deployment.run().expect(0).names("item002-broken", "not an image")
    assert deployment.rows == names(4)
    assert deployment.counts("items_failed", "items_quarantined") == (1, 1)


HANGS = """
    import os
    import time
    from witness import tell

    def init():
        tell("init")

    def run(mini_batch):
        tell("run", files=[os.path.basename(path) for path in mini_batch])
        if "hangs" in mini_batch[0]:
            time.sleep(600)
        return [os.path.basename(path) for path in mini_batch]
"""


def test_t3_a_run_past_its_timeout_costs_its_process_and_no_other(job: Job) -> None:
    deployment = Deployment(
        job,
        HANGS,
        mini_batch_size=1,
        max_concurrency_per_instance=2,
        retry_settings={"max_retries": 1, "timeout": 1},
    )
    deployment.files("a-hangs", *names(8))
    deployment.run().expect(0).names("a-hangs", "timeout")
    assert deployment.rows == names(8)
    charged = [attempt for attempt in job.out.attempts if attempt["Status"] != "scored"]
    assert [(attempt["Status"], attempt["Picked Count"]) for attempt in charged] == [
        ("timed_out", "1"),
        ("timed_out", "2"),
    ]
    # Each attempt ended its process, and init() ran again for what replaced the first one.
    hung = [told["pid"] for told in deployment.told("run") if told["files"] == ["a-hangs"]]
    started = [told["pid"] for told in deployment.told("init")]
    assert len(set(hung)) == 2
    assert set(hung) < set(started)
    assert len(started) == len(set(started)) >= 3
    assert deployment.counts("attempts_timed_out", "attempts_lost", "attempts_failed") == (2, 0, 0)


DIES = """
    import ctypes
    import os
    import signal
    from witness import tell, told

    def run(mini_batch):
        name = os.path.basename(mini_batch[0])
        tell("run", file=name)
        if name == "item003" and not told("death"):
            tell("death")
            DEATHS[os.environ["DEATH"]]()
        return [os.path.basename(path) for path in mini_batch]

    def out_of_memory():
        # As the kernel ends a process that has grown too large: with SIGKILL, from outside.
        grown = bytearray(64 << 20)
        worker = os.getpid()
        if os.fork() == 0:
            os.kill(worker, signal.SIGKILL)
            os._exit(0)
        signal.pause()

    DEATHS = {
        "os._exit": lambda: os._exit(1),
        "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "segfault": lambda: ctypes.string_at(0),
        "out of memory": out_of_memory,
    }
"""
DEATHS = {"os._exit": "code 1", "SIGKILL": "SIGKILL", "segfault": "SIGSEGV", "out of memory": "SIGKILL"}


@pytest.mark.parametrize("death", DEATHS)
def test_t4_a_death_costs_an_attempt_and_no_row(job: Job, death: str) -> None:
    deployment = Deployment(
        job,
        DIES,
        mini_batch_size=1,
        max_concurrency_per_instance=1,  # an attempt that another takes over is in vain, its death too
        error_threshold=0,
        retry_settings={"max_retries": 1, "timeout": 60},
        environment_variables={"DEATH": death},
    )
    deployment.files(*names(12))
    deployment.run().expect(0).names(DEATHS[death])
    assert deployment.rows == names(12)
    assert deployment.counts("attempts_lost", "items_failed", "rows") == (1, 0, 12)
    scored = collections.Counter(told["file"] for told in deployment.told("run"))
    assert scored["item003"] == 2
    assert job.out.charged() == [("lost", 3, 1)]


@pytest.mark.parametrize(("bad", "threshold", "code"), [(5, 5, 0), (6, 5, 3), (11, -1, 0)])
def test_t5_the_error_threshold_counts_files_and_aborts_when_it_is_passed(
    job: Job, bad: int, threshold: int, code: int
) -> None:
    script = """
        import os

        def run(mini_batch):
            if any("bad" in path for path in mini_batch):
                raise ValueError("a bad file")
            return [os.path.basename(path) for path in mini_batch]
    """
    deployment = Deployment(
        job, script, mini_batch_size=4, error_threshold=threshold, retry_settings={"max_retries": 0}
    )
    good = names(12 - bad, stem="a-good")
    deployment.files(*good, *names(bad, stem="b-bad"))
    ran = deployment.run().expect(code)
    if code == 0:
        assert deployment.rows == good
        assert deployment.counts("items_failed", "items_quarantined") == (bad, bad)
    else:
        ran.names("6", "5", "threshold")
        assert not (job.out.path / "predictions.csv").exists(), "a final file after an abort"
        assert (job.out.path / "predictions.csv.partial").exists(), "rows that were scored are gone"


@pytest.mark.parametrize("action", ["append_row", "summary_only"])
def test_t6_nothing_that_succeeds_is_a_failure_whatever_the_threshold(job: Job, action: str) -> None:
    """On Azure summary_only would pass here; a run that did nothing is never a success with us."""
    script = "def run(mini_batch):\n    raise ValueError('not today')\n"
    deployment = Deployment(job, script, mini_batch_size=2, output_action=action, error_threshold=-1)
    deployment.files(*names(6))
    deployment.run().expect(3).names("not today", "0 of 6 succeeded", "none of 6 items")
    assert not (job.out.path / "predictions.csv").exists()
    assert deployment.counts("items_succeeded", "items_failed", "rows", "exit_code") == (0, 6, 0, 3)


INIT_RAISES = """
    from witness import tell

    def init():
        tell("init")
        raise FileNotFoundError("weights.bin is not there")

    def run(mini_batch):
        tell("run")
        return mini_batch
"""


def test_t7_an_init_that_always_raises_ends_the_run_with_its_traceback(job: Job) -> None:
    deployment = Deployment(job, INIT_RAISES, mini_batch_size=2, max_concurrency_per_instance=2)
    deployment.files(*names(6))
    ran = deployment.run().expect(4)
    ran.names("Traceback", "score.py", "line 6, in init", "FileNotFoundError: weights.bin is not there")
    # As in Azure's logs/user/error: a service has no terminal that would keep it.
    logs = b"".join(path.read_bytes() for path in (job.out.run_directory / "logs").iterdir())
    assert b"line 6, in init" in logs
    assert b"FileNotFoundError: weights.bin is not there" in logs
    # Azure starts three times per process before it gives up; with us each worker starts once.
    assert 1 <= len(deployment.told("init")) <= 2
    assert deployment.told("run") == []
    assert deployment.counts("exit_code", "rows") == (4, 0)


def test_t8_a_slow_init_is_not_on_the_timeout_of_run(job: Job) -> None:
    """On Azure `timeout` bounds init() too (120 s for the default of 30); with us `init_timeout` does, an hour."""
    script = """
        import os
        import time
        from witness import tell

        def init():
            began = time.monotonic()
            while time.monotonic() - began < 1.5:  # the timeout and half as much again
                time.sleep(0.05)
            tell("init")

        def run(mini_batch):
            return [os.path.basename(path) for path in mini_batch]
    """
    deployment = Deployment(job, script, mini_batch_size=2, retry_settings={"max_retries": 0, "timeout": 1})
    deployment.files(*names(4))
    deployment.run().expect(0)
    assert deployment.rows == names(4)
    assert len(deployment.told("init")) == 1


def test_t8_init_timeout_is_the_limit_of_init(job: Job) -> None:
    script = """
        import time

        def init():
            time.sleep(600)

        def run(mini_batch):
            return mini_batch
    """
    deployment = Deployment(job, script, mini_batch_size=2)
    deployment.files(*names(2))
    deployment.run("--init-timeout", "0.5").expect(4).names("init")


def test_t9_a_process_with_ten_failures_in_a_row_is_recycled(job: Job) -> None:
    script = """
        import os
        import time
        from witness import tell

        def init():
            tell("init")

        def run(mini_batch):
            tell("run")
            if "bad" in mini_batch[0]:
                time.sleep(0.11)  # above 100 ms a worker holds one mini-batch at a time, so the tenth is its last
                raise RuntimeError("the device is gone")
            return [os.path.basename(path) for path in mini_batch]
    """
    deployment = Deployment(job, script, mini_batch_size=1, retry_settings={"max_retries": 0})
    deployment.files(*names(14, stem="bad"), *names(3))
    deployment.run().expect(0)
    assert deployment.rows == names(3)
    first, second = (told["pid"] for told in deployment.told("init"))
    assert first != second
    assert collections.Counter(told["pid"] for told in deployment.told("run")) == {first: 10, second: 7}
