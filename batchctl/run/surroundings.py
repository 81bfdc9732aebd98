"""What the script finds: its arguments and its variables, as far as they are the same for all workers of an epoch.

A deployment's script gets what Azure's driver passes, with this run's values: some scripts parse it.
"""

from __future__ import annotations

from math import ceil

from batchctl import __version__
from batchctl.model.job import OUTPUT_FOLDER, RESERVED_VARIABLES, Dialect, JobSpec, OutputAction
from batchctl.model.node import Sizing
from batchctl.store.layout import RunLayout

_HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


def script_arguments(spec: JobSpec, *, workers: int) -> tuple[str, ...]:
    """sys.argv after the script's path. The user's own come last, so that they win over any of ours."""
    level = ("--logging_level", spec.logging_level.upper())
    if spec.dialect is not Dialect.AZURE:
        return (*level, *spec.arguments)
    given = {
        "--output": OUTPUT_FOLDER,
        "--client_sdk_version": __version__,
        "--scoring_module_name": str(spec.script.relative_to(spec.code)),
        "--mini_batch_size": str(spec.mini_batch_size),
        "--run_invocation_timeout": str(ceil(spec.timeout)),
        "--run_max_try": str(spec.max_retries + 1),
        "--process_count_per_node": str(workers),
        "--output_action": str(spec.output_action),
    }
    if spec.output_action is OutputAction.APPEND_ROW:
        given["--append_row_file_name"] = spec.output_file_name
        given["--append_row_dataframe_header"] = str(spec.header)
    if spec.error_threshold.count is not None:  # a percentage would break a script that takes the number it expects
        given["--error_threshold"] = str(spec.error_threshold.count)
    return (*(word for pair in given.items() for word in pair), *level, *spec.arguments)


def server_environment(spec: JobSpec) -> dict[str, str]:
    """The variables that the script's interpreter is started with, before there is a run: modules in `preload` are
    imported there, and what hides GPUs from the workers hides them from these."""
    return {**spec.environment, **_HIDDEN} if spec.hide_gpus else dict(spec.environment)


def script_environment(spec: JobSpec, layout: RunLayout, *, run_id: str, sizing: Sizing) -> dict[str, str]:
    """The variables laid over what batchctl itself was started with: the spec's own win over the ones offered, and
    lose to those that say where the worker is."""
    found: dict[str, str] = {}
    if spec.model is not None:
        found["AZUREML_MODEL_DIR"] = str(layout.model)
    if spec.dialect is Dialect.AZURE:
        found["AZUREML_RUN_ID"] = run_id
        found["AZUREML_NODE_COUNT"] = "1"
        found["AZ_BATCHAI_GPU_COUNT_FOUND"] = str(sizing.gpus)
    found.update((name, value) for name, value in spec.environment.items() if name not in RESERVED_VARIABLES)
    if spec.hide_gpus:
        found.update(_HIDDEN)
    return found
