"""What FAIL and QUARANTINE frames carry, also in logs that earlier versions wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.records import Charged
from batchctl.store.payloads import pack_failures, unpack_failures

LEASE = Lease(0, 0, 4, 2)
WORDS: list[Any] = ["lost", "WorkerDied", "killed", "tail"]

# name: what stands behind the traceback -> phase, peak memory, shortage
LOGS: dict[str, tuple[list[Any], tuple[str, int | None, Shortage]]] = {
    "the first version": ([], ("", None, Shortage.NONE)),
    "with phase and peak memory": (["run", 7], ("run", 7, Shortage.NONE)),
    "with an empty shortage": (["run", None, ""], ("run", None, Shortage.NONE)),
    "with a shortage": (["run", 7, "memory"], ("run", 7, Shortage.MEMORY)),
}


@pytest.mark.parametrize("case", LOGS)
def test_logs_of_all_versions_are_read(case: str) -> None:
    later, (phase, peak, shortage) = LOGS[case]
    payload = json.dumps([[*LEASE, *WORDS, *later]]).encode()
    ((lease, failure),) = unpack_failures(payload)
    assert lease == LEASE
    assert failure == Failure(FailureKind.LOST, "WorkerDied", "killed", "tail", phase, peak, shortage)


@pytest.mark.parametrize("shortage", Shortage)
def test_a_shortage_is_carried(shortage: Shortage) -> None:
    failure = Failure(FailureKind.LOST, "OutOfMemory", "m", "t", "run", None, shortage)
    (payload,) = pack_failures([Charged(LEASE, failure)])
    assert list(unpack_failures(payload)) == [(LEASE, failure)]
