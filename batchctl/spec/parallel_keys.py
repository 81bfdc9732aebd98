"""The keys of a parallel job's YAML, `type: parallel`: a step's own file, or a parallel component's.

With parallel.py this is all that the program knows of that schema; docs/spec.md lists the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Root keys that are settings of the same meaning as in a deployment (Setting.azure).
SETTING_KEYS = (
    "mini_batch_size",
    "error_threshold",
    "max_concurrency_per_instance",
    "retry_settings.max_retries",
    "retry_settings.timeout",
    "logging_level",
)
# Root key -> the setting's field.
OWN_SETTINGS: Mapping[str, str] = MappingProxyType(
    {"mini_batch_error_threshold": "mini_batch_error_threshold", "partition_keys": "partition_keys"}
)
USED_AT_ROOT = (
    "type",
    "name",
    "task",
    "inputs",
    "outputs",
    "input_data",
    "resources",
    "retry_settings",
    "environment_variables",
)
TASK_KEYS = ("type", "code", "entry_script", "program_arguments", "model", "append_row_to", "environment")
TASK_TYPES = ("run_function", "function")
INPUT_KEYS = ("type", "path", "mode", "value", "default", "optional", "description", "min", "max", "enum")
OUTPUT_KEYS = ("type", "path", "mode", "name", "version", "description", "early_available")
DATA_TYPES = ("uri_folder", "uri_file")

METADATA = frozenset(
    (
        "$schema",
        "version",
        "display_name",
        "description",
        "experiment_name",
        "tags",
        "properties",
        "id",
        "comment",
        "auto_delete_setting",
    )
)
IGNORED: Mapping[str, str] = MappingProxyType(
    {
        "compute": "ignored: this machine is the compute",
        "identity": "ignored: the script runs as the user who starts it",
        "is_deterministic": "ignored: nothing is reused from other jobs",
        "docker_args": "ignored: there is no container",
        "shm_size": "ignored: there is no container",
        "instance_type": "ignored: the machine is measured",
        "instance_count": "ignored: one machine scores",
        "services": "ignored: there is no container",
        "additional_includes": "ignored: only the code folder is importable",
        "code": "ignored: task.code is the code folder",
    }
)
