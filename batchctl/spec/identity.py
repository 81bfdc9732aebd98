"""What of a job spec belongs to the run for good, and what may change when it is resumed (design 6.1).

`fixed_part` goes into the fingerprint, beside the digests of script, code folder and model, the interpreter and its
versions, which others take. `free_part` is recorded with each epoch. Every field of JobSpec is in exactly one of the
three groups below; a test says so.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from batchctl.model.job import ErrorThreshold, JobSpec

FIXED = (
    "dialect",
    "arguments",
    "mini_batch_size",
    "max_batch_bytes",
    "grouping",
    "include",
    "exclude",
    "partition_keys",
    "partition_format",
    "output_action",
    "output_format",
    "output_file_name",
    "header",
    "order",
    "on_collision",
    "own_files",
    "mlflow_chunk_rows",
)
FREE = (
    "workers",
    "threads",
    "schedule",
    "pin",
    "mem_reserve",
    "hint",
    "hide_gpus",
    "timeout",
    "init_timeout",
    "max_retries",
    "error_threshold",
    "mini_batch_error_threshold",
    "allowed_failed_percent",
    "isolate",
    "input_check",
    "grace",
    "pause_max",
    "logging_level",
    "preload",
)
# Compared by digest (script, code, model, environment; the scorer by there being a script), resolved first (python), or
# of no weight: the run directory can be moved, and a name or a note decides nothing.
NEITHER = (
    "spec_path",
    "name",
    "script",
    "code",
    "scorer",
    "inputs",
    "out",
    "state_dir",
    "model",
    "python",
    "environment",
    "sources",
    "notes",
)

Json = str | int | float | bool | list[str] | None


def fixed_part(spec: JobSpec) -> dict[str, Json]:
    """The fields that a resume must find unchanged, ready for JSON; the environment is `environment_digest`'s."""
    return {name: plain(getattr(spec, name)) for name in FIXED}


def free_part(spec: JobSpec) -> dict[str, Json]:
    """The fields that a resume may change, ready for JSON."""
    return {name: plain(getattr(spec, name)) for name in FREE}


def environment_digest(spec: JobSpec, salt: bytes) -> str:
    """A digest of the script's variables under the run's own salt (up to 64 bytes): equal or not, and nothing else."""
    import hashlib

    digest = hashlib.blake2b(key=salt, digest_size=32)
    for name in sorted(spec.environment):
        for part in (name, spec.environment[name]):
            data = part.encode("utf-8", "surrogateescape")
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def plain(value: object) -> Json:
    """A field's value as JSON has it: enumerations and thresholds as they are written in a spec, paths as text."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, ErrorThreshold | Path):
        return str(value)
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"no plain form for {type(value).__name__}")
