"""L1: attempts.csv holds what Azure's processed_mini-batches.csv does, a row per attempt."""

from __future__ import annotations

import datetime
import time

from tests.e2e.azure.deployments import Deployment, names
from tests.e2e.driver import Job

# Azure's columns, in its order.
COLUMNS = (
    "Mini-batch Id",
    "Picked Count",
    "Process",
    "Process Start Time",
    "Total",
    "Succeeded",
    "Failed",
    "Elapsed Seconds",
    "Process Seconds",
    "Run Method Seconds",
    "Status",
    "Error Category",
    "Error Message",
    "Mini-batch Detail",
)
SCRIPT = """
    import os
    import time
    from witness import tell, told

    def run(mini_batch):
        name = os.path.basename(os.path.dirname(mini_batch[0]))
        if name == "short":
            return mini_batch[:1]
        if name == "hangs" and not told("hang"):
            tell("hang")
            time.sleep(600)
        if name == "raises" and not told("raise"):
            tell("raise")
            raise ValueError("one, two, three")
        if name == "slow":
            time.sleep(0.05)
        return mini_batch
"""


def test_l1_attempts_have_the_columns_of_azure(job: Job) -> None:
    deployment = Deployment(job, SCRIPT, mini_batch_size=3, retry_settings={"max_retries": 1, "timeout": 5})
    folders = ("hangs", "raises", "short", "slow")
    for folder in folders:
        deployment.files(*names(3, folder=f"{folder}/"))
    began = time.time()
    deployment.run().expect(0)
    attempts = job.out.attempts
    given = [column for column in attempts[0] if column in COLUMNS]
    assert given == list(COLUMNS)
    story = {(folders[int(attempt["Mini-batch Id"])], int(attempt["Picked Count"])): attempt for attempt in attempts}
    assert {key: attempt["Status"] for key, attempt in story.items()} == {
        ("hangs", 1): "timed_out",
        ("hangs", 2): "scored",
        ("raises", 1): "failed",
        ("raises", 2): "scored",
        ("short", 1): "scored",
        ("slow", 1): "scored",
    }
    failed, hung, short = story["raises", 1], story["hangs", 1], story["short", 1]
    assert (failed["Error Category"], failed["Error Message"]) == ("ValueError", "one, two, three")
    assert "timeout" in hung["Error Message"]
    assert [(a["Total"], a["Succeeded"], a["Failed"]) for a in (failed, hung, short)] == [
        ("3", "0", "3"),
        ("3", "0", "3"),
        ("3", "1", "2"),
    ]
    for folder in ("raises", "hangs", "short"):
        assert story[folder, 1]["Mini-batch Detail"] == f"{job.inputs / folder / 'item000'} and 2 more"
    assert story["slow", 1]["Mini-batch Detail"].startswith(str(job.inputs / "slow" / "item000"))
    times_are_in_order(attempts)
    processes_are_told_apart(attempts, began=began)


def times_are_in_order(attempts: list[dict[str, str]]) -> None:
    """What is part of another time is no longer than that."""
    for attempt in attempts:
        run, process, elapsed = (float(attempt[f"{name} Seconds"]) for name in ("Run Method", "Process", "Elapsed"))
        assert 0 < run <= process, attempt
        if attempt["Status"] == "scored":
            assert process <= elapsed, attempt


def processes_are_told_apart(attempts: list[dict[str, str]], *, began: float) -> None:
    """The one that hung was replaced by another, later."""
    started = {
        attempt["Process"]: datetime.datetime.fromisoformat(attempt["Process Start Time"]).timestamp()
        for attempt in attempts
    }
    assert list(started) == ["0.1", "0.2"]
    assert began - 0.001 <= started["0.1"] < started["0.2"] <= time.time()
