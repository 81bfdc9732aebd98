"""The fuzzers in short, and what they found, by name; `make crash FAMILY=fuzz N=0` is the long form."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchctl.errors import BatchctlError, CorruptionError
from batchctl.guest import wire
from batchctl.guest.config import job_of
from batchctl.model.lease import Lease
from batchctl.model.partition import PartitionFormat
from batchctl.plan.patterns import Filters
from batchctl.report.status import read_status
from batchctl.run.document import parse_document
from batchctl.store.frames import FrameType
from batchctl.store.payloads import (
    MALFORMED,
    unpack_done,
    unpack_epoch,
    unpack_failures,
    unpack_publication,
    unpack_reopened,
    unpack_wholes,
)
from tests.crash.campaign import beside_python
from tests.crash.findings import Asked
from tests.crash.fuzz import report_targets, wire_targets
from tests.crash.fuzz.family import campaign
from tests.crash.fuzz.mutations import DEEP
from tests.crash.fuzz.target import Broken, Target, arm, bounded


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_thousand_inputs_are_read_or_refused(tmp_path: Path) -> None:
    found = campaign(Asked(200_000, 10, tmp_path, beside_python()))
    assert found.violations == []
    assert found.counts == {"fuzz_inputs": 200_000}


def publication(path: str, *, staged: str = "1.1.0.0.1", commit: object = None, size: object = 3) -> bytes:
    said = {"commit": commit or [0, 0, 2, 1, 0, 4, 9, 2, 2, 0], "staged": staged, "files": [[path, size, "ab" * 32]]}
    return json.dumps(said).encode()


# What a frame whose CRC holds must not carry: type, payload.
PAYLOADS = {
    "lists deeper than the reader goes": (FrameType.FAIL, DEEP),
    "a failure whose message is a list": (FrameType.FAIL, b'[[0,0,2,1,"failed","E",[],""]]'),
    "a failure of a negative item": (FrameType.FAIL, b'[[0,-1,2,1,"failed","E","",""]]'),
    "a failure whose phase is a list": (FrameType.QUARANTINE, b'[[0,0,2,1,"failed","E","","",[]]]'),
    "a peak that is a text": (FrameType.QUARANTINE, b'[[0,0,2,1,"failed","E","","","run","x",""]]'),
    "an epoch that is a list": (FrameType.EPOCH, b"[]"),
    "an epoch without settings": (FrameType.EPOCH, b'{"boot_id":"b","version":"1"}'),
    "a path above OUT": (FrameType.PUBLISH, publication("../../x")),
    "a path from the root": (FrameType.PUBLISH, publication("/etc/x")),
    "a path into the run directory": (FrameType.PUBLISH, publication(".batchctl/plan")),
    "a path that no file system holds": (FrameType.PUBLISH, publication("\ud800")),
    "a path with a NUL": (FrameType.PART, publication("a\0b")),
    "a stage that is elsewhere": (FrameType.PUBLISH, publication("x", staged="../..")),
    "a commit of texts": (FrameType.PUBLISH, publication("x", commit=["a"] * 10)),
    "a size below zero": (FrameType.PUBLISH, publication("x", size=-1)),
    "a digest that is none": (FrameType.ASSEMBLED, b'[["x",1,"' + b"zz" * 32 + b'"]]'),
    "a reopening cut short": (FrameType.REOPEN, bytes(7)),
    "a seal cut short": (FrameType.DONE, bytes(95)),
    "a seal of an unknown arrangement": (FrameType.DONE, bytes(88) + b"\x09" + bytes(7)),
}
UNPACK: dict[FrameType, Callable[[bytes], object]] = {
    FrameType.FAIL: lambda payload: list(unpack_failures(payload)),
    FrameType.QUARANTINE: lambda payload: list(unpack_failures(payload)),
    FrameType.EPOCH: lambda payload: unpack_epoch(payload, number=1),
    FrameType.PUBLISH: lambda payload: unpack_publication(payload, kind=FrameType.PUBLISH),
    FrameType.PART: lambda payload: unpack_publication(payload, kind=FrameType.PART),
    FrameType.ASSEMBLED: unpack_wholes,
    FrameType.REOPEN: unpack_reopened,
    FrameType.DONE: unpack_done,
}


@pytest.mark.parametrize("case", PAYLOADS)
def test_payloads_that_were_found(case: str) -> None:
    kind, payload = PAYLOADS[case]
    with pytest.raises(MALFORMED):
        UNPACK[kind](payload)


def test_the_good_ones_beside_them_are_read() -> None:
    assert unpack_publication(publication("a/b.txt"), kind=FrameType.PUBLISH).committed.count == 2
    ((lease, _),) = unpack_failures(b'[[0,0,2,1,"failed","E","",""]]')
    assert lease == Lease(0, 0, 2, 1)


def target(name: str, *, work: Path) -> Target:
    every = [*wire_targets.targets(), *report_targets.targets(work)]
    return next(one for one in every if one.name == name)


LONG = {"serial": 2, "lease": [1, 10, 10, 1], "n_rows": 3, "ok": 3, "crc": 9, "length": 4, "run_ns": 5, "busy_ns": 8}


def answer(**changes: object) -> bytes:
    head = {**LONG, "spill": "", "staged": "1", "files": [], **changes}
    return wire.encode_json(wire.SCORED_LONG, 1, 4, head, b"abcd")


ANSWERS = {
    "a stage that nothing can be called": answer(staged="\ud800"),
    "a stage longer than a name": answer(staged="x" * 256),
    "a file with a NUL": answer(files=[["a\0b", 5]]),
    "a file that nothing can be called": answer(files=[["\ud800", 5]]),
    "a file of less than nothing": answer(files=[["a", -5]]),
    "a head deeper than the reader goes": wire.encode(wire.NOTE, 1, 4, b'{"text":' + DEEP + b"}"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_that_were_found(tmp_path: Path, case: str) -> None:
    arm()
    assert bounded(target("replies", work=tmp_path), ANSWERS[case]) == "refused"


@pytest.mark.parametrize("body", [DEEP, b"[1]", b"\xff"])
def test_orders_that_were_found(body: bytes) -> None:
    (frame,) = wire.Decoder().feed(wire.encode(wire.JOB, 1, 0, b"{}", body))
    with pytest.raises(wire.ProtocolError):
        job_of(frame)


OUTPUT = {"file_name": "p.csv", "action": "append_row", "format": "csv"}
LISTS, MAPPINGS = ("script", "code", "model", "inputs"), ("environment", "fields", "interpreter")
MANIFESTS: dict[str, object] = {**{name: [] for name in LISTS}, **{name: {} for name in MAPPINGS}}
DOCUMENT = {
    "run_id": "r",
    "spec": "s",
    "output": OUTPUT,
    "plan": {"crc32": 1, "items": 2, "batches": 1},
    "fingerprint": {**MANIFESTS, "salt": ""},
}
DOCUMENTS = {
    "a result above OUT": {"output": {**OUTPUT, "file_name": "../../x"}},
    "a result that is the run directory": {"output": {**OUTPUT, "file_name": ".batchctl"}},
    "items without end": {"plan": {"crc32": 1, "items": float("inf"), "batches": 1}},
    "an environment that is a text": {"fingerprint": {**MANIFESTS, "salt": "", "environment": "x"}},
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_documents_that_were_found(case: str) -> None:
    assert parse_document(DOCUMENT, where="job.json").items == 2
    with pytest.raises(CorruptionError):
        parse_document({**DOCUMENT, **DOCUMENTS[case]}, where="job.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e308", "-1e300"])
def test_times_that_nobody_can_show_are_passed_over(tmp_path: Path, number: str) -> None:
    status = target("status", work=tmp_path)
    arm()
    assert bounded(status, status.seeds[0]) == "accepted"
    text = status.seeds[0].replace(b"1700000000.0", number.encode())
    assert text != status.seeds[0]
    assert bounded(status, text) == "refused"
    (tmp_path / "status.json").write_bytes(text)
    assert read_status(tmp_path / "status.json") is None


# Globs and templates that once took a power of a name's length, with a name that does not fit.
SLOW = {
    "stars and letters": ("*a" * 20 + "*b", "a" * 250),
    "folders": ("**/a/" * 12 + "b", "a/" * 60 + "a"),
    "classes": ("*[ab]" * 20 + "c", "ab" * 120),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", SLOW)
def test_globs_that_were_found_end(case: str) -> None:
    pattern, path = SLOW[case]
    folder, _, name = path.rpartition("/")
    chosen = Filters((pattern,), ())
    assert chosen.choose(folder + "/" if folder else "", [name.encode()]) == []


@pytest.mark.timeout(60)
def test_templates_that_were_found_end_or_are_refused() -> None:
    many = PartitionFormat.of("-".join(f"{{k{number}}}" for number in range(20)) + ".csv")
    assert many.name.fullmatch("a-" * 120) is None
    fits = many.name.fullmatch("-".join("a" * 20) + ".csv")
    assert fits is not None
    assert fits.groups() == tuple("a" * 20)
    with pytest.raises(ValueError, match="more than 3"):
        PartitionFormat.of("*a*a*a*{k}")


def _hangs(_data: bytes) -> None:
    while time.monotonic() >= 0:
        pass


def _lies(_data: bytes) -> None:
    raise Broken("it was accepted")


def _refuses(_data: bytes) -> None:
    raise BatchctlError("no")


VERDICTS = {
    "accepted": (lambda _data: None, "accepted"),
    "refused": (_refuses, "refused"),
    "another error": (lambda data: data[99], "IndexError at"),
    "accepted, and not what it is": (_lies, "Broken at"),
    "no end": (_hangs, "hung for"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_fuzzer_notices(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, verdict = VERDICTS[case]
    if case == "no end":
        monkeypatch.setattr("tests.crash.fuzz.target.LIMIT_S", 0.2)
    arm()
    found = bounded(Target("x", 1, check, (BatchctlError,), (b"seed",)), b"input")  # type: ignore[arg-type]
    assert found.startswith(verdict)


def test_an_input_is_made_again_from_its_seed() -> None:
    for one in wire_targets.targets():
        assert [one.input(random.Random("1 x 7")) for _ in range(2)] == [one.input(random.Random("1 x 7"))] * 2
