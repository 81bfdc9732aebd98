"""What a run was asked to be, as job.json keeps it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from batchctl import __version__
from batchctl.engine.base import ScriptFacts
from batchctl.engine.interpreter import Interpreter
from batchctl.errors import CorruptionError
from batchctl.model.job import JobSpec, OnCollision, OwnFiles
from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import machine_name
from batchctl.plan.encode import PlanImage
from batchctl.plan.fingerprint import Fingerprint
from batchctl.store.layout import RUN_DIRECTORY

# What a document of another shape makes of its reader.
GARBLED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


class RecordedRequest(NamedTuple):
    """The command line of `batchctl run`, values of secrets masked, and the folder in which it was typed."""

    command: tuple[str, ...]
    folder: str

    def to_dict(self) -> dict[str, Any]:
        return {"command": list(self.command), "folder": self.folder}


def parse_request(found: Mapping[str, Any]) -> RecordedRequest | None:
    """The request in a document; None where an earlier version has recorded none. TypeError, KeyError for others."""
    said = found.get("request")
    return RecordedRequest(tuple(str(word) for word in said["command"]), str(said["folder"])) if said else None


class JobDocument(NamedTuple):
    """job.json, read back. `plan_crc` ties the plan file to it."""

    run_id: str
    fingerprint: Fingerprint
    plan_crc: int
    items: int
    batches: int
    output_file_name: str
    output_action: str
    output_format: str
    on_collision: str
    own_files: str
    spec_path: str
    request: RecordedRequest | None = None


def new_document(
    spec: JobSpec, fingerprint: Fingerprint, *, run_id: str, plan: PlanImage, request: RecordedRequest
) -> dict[str, Any]:
    """The document of a new run; holds no value of an environment variable."""
    return {
        "run_id": run_id,
        "version": __version__,
        "name": spec.name,
        "dialect": str(spec.dialect),
        "spec": machine_name(str(spec.spec_path)),
        "script": machine_name(str(spec.script)),
        "output": {
            "file_name": spec.output_file_name,
            "action": str(spec.output_action),
            "format": str(spec.output_format),
            "order": str(spec.order),
            "on_collision": str(spec.on_collision),
            "own_files": str(spec.own_files),
        },
        "plan": {"crc32": plan.crc, "items": plan.items, "batches": plan.batches, "bytes": plan.total_bytes},
        "request": request.to_dict(),
        "fingerprint": fingerprint.to_dict(),
    }


def parse_document(found: Mapping[str, Any], *, where: str) -> JobDocument:
    """The document as a record; CorruptionError where a field is missing or of the wrong type."""
    try:
        return JobDocument(
            run_id=str(found["run_id"]),
            fingerprint=Fingerprint.from_dict(found["fingerprint"]),
            plan_crc=int(found["plan"]["crc32"]),
            items=int(found["plan"]["items"]),
            batches=int(found["plan"]["batches"]),
            output_file_name=_file_name(found["output"]["file_name"]),
            output_action=str(found["output"]["action"]),
            output_format=str(found["output"]["format"]),
            on_collision=str(found["output"].get("on_collision", OnCollision.FAIL)),  # older runs knew nothing else
            own_files=str(found["output"].get("own_files", OwnFiles.STAGED)),
            spec_path=str(found["spec"]),
            request=parse_request(found),
        )
    except GARBLED as error:
        raise CorruptionError(f"job.json lacks or garbles {error}", where=where) from error


def _file_name(found: object) -> str:
    """The result's name, which must not lead out of OUT: a run directory may come from elsewhere."""
    name = str(found)
    if not name or name in {".", "..", RUN_DIRECTORY} or "/" in name or "\0" in name:
        raise ValueError(f"a result named {name!r}")
    os.fsencode(name)
    return name


def interpreter_facts(facts: ScriptFacts, interpreter: Interpreter, *, writes_tables: bool) -> dict[str, str]:
    """What of the interpreter belongs to a run for good; pyarrow's version where the rows go through it."""
    found = {"path": interpreter.lasting, "python": facts.python, "pandas": facts.pandas, "numpy": facts.numpy}
    return {**found, "pyarrow": facts.pyarrow} if writes_tables else found
