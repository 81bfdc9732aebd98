"""R1 to R9: what `run()` may return. Azure's rule and ours, where they differ, are both told."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.e2e.azure.deployments import Deployment, names
from tests.e2e.driver import Job

ODD, PLAIN = names(3, folder="odd/"), names(3, folder="plain/")
SCRIPT = """
    import os
    from importlib import import_module

    def run(mini_batch):
        found = [os.path.relpath(path, os.environ["ROOT"]) for path in mini_batch]
        return found if found[0].startswith("plain") else RETURNS[os.environ["RETURNS"]](found)

    def generator(found):
        yield from found

    RETURNS = {
        "list": lambda found: found,
        "DataFrame": lambda found: import_module("pandas").DataFrame({"name": found}),
        "tuple": tuple,
        "ndarray": lambda found: import_module("numpy").array(found),
        "Series": lambda found: import_module("pandas").Series(found),
        "generator": generator,
        "dict": lambda found: dict.fromkeys(found, 1),
        "set": set,
        "int": len,
        "str": lambda found: found[0],
        "None": lambda found: None,
        "[]": lambda found: [],
        "empty DataFrame": lambda found: import_module("pandas").DataFrame(),
    }
"""
AZURE_REFUSES = ("Azure ML refuses that", "return a list")
AZURE_ADVISES = ("should return a list or a DataFrame",)


class Case(NamedTuple):
    """`rows` of the odd mini-batch; None: its attempt failed. `words` are told where Azure would do otherwise."""

    returns: str
    rows: list[str] | None
    words: tuple[str, ...] = ()


CASES = {
    "R1 list": Case("list", ODD),
    "R2 DataFrame": Case("DataFrame", ODD),
    "R3 tuple": Case("tuple", ODD),
    "R4 ndarray": Case("ndarray", ODD, ("numpy.ndarray", *AZURE_REFUSES)),
    "R5 Series": Case("Series", ODD, ("pandas.Series", *AZURE_REFUSES)),
    "R6 generator": Case("generator", ODD, ("generator", *AZURE_REFUSES)),
    "R7 dict": Case("dict", None, ("dict", *AZURE_ADVISES)),
    "R7 set": Case("set", None, ("set", *AZURE_ADVISES)),
    "R8 scalar": Case("int", None, ("int", *AZURE_ADVISES)),
    "R8 str": Case("str", None, ("str", *AZURE_ADVISES)),
    "R8 None": Case("None", None, ("None", *AZURE_ADVISES)),
    "R9 empty list": Case("[]", []),
    "R9 empty DataFrame": Case("empty DataFrame", []),
}


@pytest.mark.parametrize("action", ["append_row", "summary_only"])
@pytest.mark.parametrize("name", CASES)
def test_returns(job: Job, name: str, action: str) -> None:
    case = CASES[name]
    variables = {"RETURNS": case.returns, "ROOT": str(job.inputs)}
    retries = {"max_retries": 1, "timeout": 60}
    deployment = Deployment(
        job,
        SCRIPT,
        mini_batch_size=3,
        output_action=action,
        retry_settings=retries,
        environment_variables=variables,
    )
    deployment.files(*ODD, *PLAIN)
    ran = deployment.run().expect(0)
    if action == "append_row":
        assert deployment.rows == [*(case.rows or []), *PLAIN]
    succeeded = 3 + len(case.rows or [])
    assert deployment.counts("items_succeeded", "items_failed") == (succeeded, 6 - succeeded)
    ran.names(*case.words)
    failed = [attempt["Error Category"] for attempt in job.out.attempts if attempt["Status"] == "failed"]
    # Refused twice as a whole, then its halves down to each item: what comes back is wrong whatever is given.
    assert failed == ([] if case.rows is not None else ["ContractError"] * 6)
    assert deployment.counts("items_quarantined") == (0 if case.rows is not None else 3,)
    if case.rows is not None and not case.words:
        assert b"Azure ML refuses" not in ran.stderr
