"""All that workers are told of a run: the engine's job, made of the spec and of where the run lies."""

from __future__ import annotations

from collections.abc import Callable

from batchctl.engine.base import EngineJob, LogSink
from batchctl.files import RealDisk
from batchctl.model.node import Sizing
from batchctl.model.outcome import Failure
from batchctl.report.logs import WorkerLog
from batchctl.report.mask import Mask
from batchctl.run.model_folder import stage_model
from batchctl.run.ready import Ready
from batchctl.run.surroundings import script_arguments, script_environment


def engine_job(
    ready: Ready, *, epoch: int, sizing: Sizing, mask: Mask, was_starved: Callable[[int], bool | None]
) -> EngineJob:
    """What the engine is configured with; the folders that workers need are there on return."""
    spec, layout = ready.spec, ready.layout
    disk = RealDisk()
    for folder in (layout.stage, layout.spill, layout.logs):
        disk.mkdir(folder, mode=0o700)
    if spec.model is not None:
        stage_model(layout.model, spec.model, outside=(layout.out, *layout.folders))
    logs = layout.logs

    def log_sink(slot: int, incarnation: int) -> LogSink:
        return WorkerLog(logs, slot, incarnation=incarnation, mask=mask)

    return EngineJob(
        run_id=ready.run_id,
        epoch=epoch,
        plan=layout.plan,
        script=spec.script,
        code=spec.code,
        out=layout.out,
        spill=layout.spill,
        stage=layout.stage,
        logs=layout.logs,
        mlruns=layout.mlruns,
        arguments=script_arguments(spec, workers=len(sizing.slots)),
        environment=script_environment(spec, layout, run_id=ready.run_id, sizing=sizing),
        logging_level=spec.logging_level,
        output_format=spec.output_format,
        output_action=spec.output_action,
        own_files=spec.own_files,
        input_check=spec.input_check,
        timeout=spec.timeout,
        init_timeout=spec.init_timeout,
        start_timeout=max(spec.init_timeout, spec.pause_max),  # not before a pause for the same full disk ends the run
        preload=spec.preload,
        header=spec.header,
        scorer=spec.scorer,
        chunk_rows=spec.mlflow_chunk_rows,
        log_sink=log_sink,
        was_starved=was_starved,
    )


def failure_mask(mask: Mask) -> Callable[[Failure], Failure]:
    """Scripts put what they were given into their exceptions: secrets stay out of log, summary and terminal."""

    def masked(failure: Failure) -> Failure:
        if not mask.longest:
            return failure
        error, message, traceback = map(mask.text, (failure.error, failure.message, failure.traceback))
        return failure._replace(error=error, message=message, traceback=traceback)

    return masked
