"""C1 to C6: what a returned number of rows counts for. The folder `odd` is one mini-batch, `plain` is another."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.e2e.azure.deployments import Deployment, names
from tests.e2e.driver import Job

ODD, PLAIN = names(4, folder="odd/"), names(4, folder="plain/")
SCRIPT = """
    import os
    from importlib import import_module

    def run(mini_batch):
        found = [os.path.relpath(path, os.environ["ROOT"]) for path in mini_batch]
        if not found[0].startswith("odd"):
            return found
        return {
            "equal": lambda: found,
            "fewer": lambda: found[:1],
            "more": lambda: [*found, "one more", "and another"],
            "none": lambda: [],
            "empty frame": lambda: import_module("pandas").DataFrame({"name": []}),
            "fewer in a frame": lambda: import_module("pandas").DataFrame({"name": found[:3]}),
        }[os.environ["RETURNS"]]()
"""


class Case(NamedTuple):
    """What the odd mini-batch of four returns, and what becomes of it."""

    returns: str
    rows: list[str]
    succeeded: int
    action: str = "append_row"


CASES = {
    "C1 as many as items": Case("equal", ODD, 4),
    "C2 fewer": Case("fewer", ODD[:1], 1),
    "C3 more": Case("more", [*ODD, "one more", "and another"], 4),
    "C4 an empty list": Case("none", [], 0),
    "C5 an empty frame": Case("empty frame", [], 0),
    "C6 summary_only, equal": Case("equal", [], 4, "summary_only"),
    "C6 summary_only, fewer": Case("fewer in a frame", [], 3, "summary_only"),
    "C6 summary_only, more": Case("more", [], 4, "summary_only"),
}


@pytest.mark.parametrize("name", CASES)
def test_counting(job: Job, name: str) -> None:
    case = CASES[name]
    variables = {"RETURNS": case.returns, "ROOT": str(job.inputs)}
    deployment = Deployment(job, SCRIPT, mini_batch_size=4, output_action=case.action, environment_variables=variables)
    deployment.files(*ODD, *PLAIN)
    ran = deployment.run().expect(0)
    appends = case.action == "append_row"
    if appends:
        assert deployment.rows == [*case.rows, *PLAIN]
    else:
        assert not (job.out.path / "predictions.csv").exists()
    # Missing rows are failed items: neither retried nor quarantined, for nobody knows which they are.
    assert deployment.counts("items_succeeded", "items_failed", "items_quarantined", "attempts", "rows") == (
        *(case.succeeded + 4, 4 - case.succeeded, 0, 2),
        len(case.rows) + 4 if appends else 0,
    )
    if case.returns == "more":
        ran.names("6 rows for 4 items")


@pytest.mark.parametrize(("threshold", "code"), [(3, 0), (2, 3)])
def test_c2_missing_rows_count_against_the_threshold(job: Job, threshold: int, code: int) -> None:
    variables = {"RETURNS": "fewer", "ROOT": str(job.inputs)}
    deployment = Deployment(job, SCRIPT, mini_batch_size=4, error_threshold=threshold, environment_variables=variables)
    deployment.files(*ODD, *PLAIN)
    deployment.run().expect(code)
