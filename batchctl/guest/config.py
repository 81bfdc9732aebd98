"""The JOB and FORK frames as records: parsed at the door, so that nobody passes dicts inward."""

from __future__ import annotations

import json

from .named_tuple import NamedTuple
from .wire import BODY_CAP, Frame, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

SCRIPT = "script"
MLFLOW = "mlflow"


class Job(NamedTuple):
    """What every worker of a run shares. Paths absolute; `env` is laid over the environment that the server has."""

    run_id: str
    epoch: int
    plan: str  # mapped at the first lease; need not exist before
    script: str
    code: str
    argv: List[str]
    env: Dict[str, str]
    logging_level: str
    output_format: str  # azure, csv, jsonl, parquet
    output_action: str  # append_row, summary_only
    header: bool  # azure: DataFrames give a header line
    spill: str
    stage: str
    out: str
    logs: str  # EntryScript's log_dir lies below it
    mlruns: str  # what mlflow records without being told where goes below it
    own_files: str  # staged: AZUREML_BI_OUTPUT_PATH is the worker's own folder; direct: it is `out`
    preload: List[str]
    spill_over: int  # rows above so many bytes go through a file under `spill`
    linger_ms: float
    linger_bytes: int
    timeout: float  # informative: the pool keeps the deadline
    scorer: str  # script; or mlflow: `script` is the MLmodel file and `code` its folder, which is not importable
    chunk_rows: int  # of mlflow: rows of a table per predict; 0: all
    input_check: str  # auto, always, never: are inputs looked at before and after run() (input_check.py)


class Fork(NamedTuple):
    """One worker to fork. `gpu`: None leaves the mask alone, "" shows none, else a uuid."""

    slot: int
    incarnation: int
    epoch: int
    cpus: List[int]
    threads: int
    gpu: Optional[str]
    oom_score_adj: Optional[int]
    home: str  # this worker's own folder; holds cwd/ and out/, which the worker creates


def job_of(frame: Frame) -> Job:
    """The JOB frame: a JSON head; an environment that may not fit there is a JSON object in the body instead."""
    head = frame.json()
    env = head.get("env") or {}
    if frame.body:
        env = _object(frame.body)
    try:
        return Job(
            run_id=str(head["run_id"]),
            epoch=int(head["epoch"]),
            plan=str(head["plan"]),
            script=str(head["script"]),
            code=str(head["code"]),
            argv=[str(word) for word in head.get("argv", ())],
            env={str(name): str(value) for name, value in env.items()},
            logging_level=str(head.get("logging_level", "info")),
            output_format=str(head["output_format"]),
            output_action=str(head["output_action"]),
            header=bool(head.get("header", False)),
            spill=str(head["spill"]),
            stage=str(head["stage"]),
            out=str(head.get("out", "")),
            logs=str(head["logs"]),
            mlruns=str(head["mlruns"]),
            own_files=str(head.get("own_files", "staged")),
            preload=[str(name) for name in head.get("preload", ())],
            spill_over=min(int(head.get("spill_over", 1 << 20)), BODY_CAP),
            linger_ms=float(head.get("linger_ms", 8)),
            linger_bytes=min(int(head.get("linger_bytes", 64 << 10)), BODY_CAP // 2),
            timeout=float(head.get("timeout", 0)),
            scorer=str(head.get("scorer", SCRIPT)),
            chunk_rows=int(head.get("chunk_rows", 0)),
            input_check=str(head.get("input_check", "auto")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ProtocolError("JOB: %s: %s" % (type(error).__name__, error)) from error


def fork_of(frame: Frame) -> Fork:
    """The FORK frame, whose three descriptors travel beside it."""
    head = frame.json()
    try:
        return Fork(
            slot=int(head["slot"]),
            incarnation=int(head["incarnation"]),
            epoch=int(head["epoch"]),
            cpus=[int(cpu) for cpu in head.get("cpus") or ()],
            threads=int(head.get("threads") or 0),
            gpu=None if head.get("gpu") is None else str(head["gpu"]),
            oom_score_adj=None if head.get("oom_score_adj") is None else int(head["oom_score_adj"]),
            home=str(head["home"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ProtocolError("FORK: %s: %s" % (type(error).__name__, error)) from error


def _object(text: bytes) -> Dict[str, Any]:
    try:
        found = json.loads(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("JOB: the body is not JSON") from error
    if not isinstance(found, dict):
        raise ProtocolError("JOB: the body is not an object")
    return found
