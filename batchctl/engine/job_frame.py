"""What every worker is told, as the head of the JOB frame (docs/wire.md)."""

from __future__ import annotations

import json
from typing import Any

from batchctl.engine.base import EngineJob
from batchctl.errors import UsageError
from batchctl.guest import wire


def job_head(job: EngineJob) -> dict[str, Any]:
    """The fields that guest/config.py reads. Raises UsageError where they are more than a frame holds."""
    fields = {
        "run_id": job.run_id,
        "epoch": job.epoch,
        "plan": str(job.plan),
        "script": str(job.script),
        "code": str(job.code),
        "argv": list(job.arguments),
        "env": dict(job.environment),
        "logging_level": job.logging_level,
        "output_format": str(job.output_format),
        "output_action": str(job.output_action),
        "header": job.header,
        "spill": str(job.spill),
        "stage": str(job.stage),
        "out": str(job.out),
        "own_files": str(job.own_files),
        "logs": str(job.logs),
        "mlruns": str(job.mlruns),
        "scorer": str(job.scorer),
        "chunk_rows": job.chunk_rows,
        "preload": list(job.preload),
        "timeout": job.timeout,
        "input_check": str(job.input_check),
    }
    size = len(json.dumps(fields))
    if size > wire.HEAD_CAP:
        raise UsageError(
            f"environment and arguments of the script come to {size} bytes; a worker can be told {wire.HEAD_CAP}",
            where=str(job.script),
            remedy="put large values into files, and their paths into the environment",
        )
    return fields
