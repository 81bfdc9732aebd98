"""The job spec: the fully resolved request. Immutable; nobody passes dicts inward."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from batchctl.named_tuple import NamedTuple

# Variables that tell a worker where it is: what a spec gives for them is not used.
RESERVED_VARIABLES = frozenset({"AZUREML_BI_OUTPUT_PATH", "BATCHCTL_RUN_ID"})
# Variables that batchctl sets unless the spec does.
OFFERED_VARIABLES = frozenset(
    {"AZUREML_MODEL_DIR", "AZUREML_RUN_ID", "AZUREML_NODE_COUNT", "AZ_BATCHAI_GPU_COUNT_FOUND"}
)


class Dialect(StrEnum):
    """The file format a job spec came in."""

    AZURE = "azure"
    NATIVE = "native"
    SCRIPT = "script"
    MLFLOW = "mlflow"


class Scorer(StrEnum):
    """What scores: a script of the user's, or our own for models of MLflow's that come without one."""

    SCRIPT = "script"
    MLFLOW = "mlflow"


class OutputAction(StrEnum):
    """What becomes of returned rows."""

    APPEND_ROW = "append_row"
    SUMMARY_ONLY = "summary_only"


class OutputFormat(StrEnum):
    """How rows become bytes; docs/wire.md fixes the form of each."""

    AZURE = "azure"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Order(StrEnum):
    """Order of the final file."""

    PLAN = "plan"
    COMPLETION = "completion"


class OnCollision(StrEnum):
    """What becomes of a file that several mini-batches write."""

    FAIL = "fail"  # the second one's attempt fails, naming both
    APPEND = "append"  # one file: what each wrote, in plan order
    LAST = "last"  # the file of the last one in plan order


class OwnFiles(StrEnum):
    """Where the script's own files go: collected per attempt and published once, or straight into OUT."""

    STAGED = "staged"
    DIRECT = "direct"


class Grouping(StrEnum):
    """Which items may share a mini-batch: those of one directory (azure) or neighbours in path order (native)."""

    DIRECTORY = "directory"
    PATH = "path"


class Schedule(StrEnum):
    """Which of the waiting mini-batches is handed out next. The order of the output does not depend on it."""

    PLAN = "plan"  # as planned
    LARGEST_FIRST = "largest-first"  # by bytes, where sizes are known: the end of a run has no long tail


class InputCheck(StrEnum):
    """Is each input looked at before and after run(), so that one that changes meanwhile fails its attempt?"""

    AUTO = "auto"  # as far as that takes little of the time (guest/input_check.py)
    ALWAYS = "always"
    NEVER = "never"


class Pin(StrEnum):
    """Which cpus a worker may run on."""

    NONE = "none"  # any
    CORES = "cores"  # those of its slot
    NUMA = "numa"  # those of the NUMA nodes that its slot's lie on


# In a word of `arguments`: the folder for the script's own files, which each worker has its own of (guest/script.py).
OUTPUT_FOLDER = "${{outputs}}"


class ErrorThreshold(NamedTuple):
    """Failed items tolerated: `count` (-1: any number) or `percent` of all items; exactly one is set."""

    count: int | None = -1  # type: ignore[assignment]  # shadows tuple.count, which nobody calls on a record
    percent: float | None = None

    @property
    def limits(self) -> bool:
        """Is there a number of failures that it does not tolerate?"""
        return self.percent is not None or (self.count is not None and self.count >= 0)

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else str(self.count)


class JobSpec(NamedTuple):
    """One run's request, resolved (flag > environment > file > default). Durations in seconds, sizes in bytes.

    `sources` maps each field name to where its value came from, in words ("deployment.yml:14 settings.mini_batch_size",
    "--timeout", "BATCHCTL_WORKERS", "default"). `notes` are things said once to the user: keys ignored and why.
    """

    dialect: Dialect
    spec_path: Path  # the file given as SPEC, absolute
    name: str
    script: Path  # absolute; of a model without a script, its MLmodel file
    code: Path  # absolute folder made importable; of a model without a script, the model's, not importable
    inputs: tuple[str, ...]  # INPUT arguments as given (folder, file, glob, @list, @-)
    out: Path | None  # OUT, absolute; None for check and plan
    scorer: Scorer = Scorer.SCRIPT
    model: Path | None = None
    python: str | None = None
    environment: Mapping[str, str] = {}  # values are nobody else's to see
    arguments: tuple[str, ...] = ()  # the script's own argv
    preload: tuple[str, ...] = ()
    mini_batch_size: int = 10
    max_batch_bytes: int | None = None  # a mini-batch is closed before it holds more; None: no such bound
    schedule: Schedule = Schedule.LARGEST_FIRST
    grouping: Grouping = Grouping.PATH
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    partition_keys: tuple[str, ...] = ()  # given: a mini-batch is all files with the same values of these keys
    partition_format: str | None = None  # where the values stand in a path (model/partition.py); None: found by rule
    output_action: OutputAction = OutputAction.APPEND_ROW
    output_format: OutputFormat = OutputFormat.CSV
    output_file_name: str = "predictions.csv"
    header: bool = False  # azure format only: column names of DataFrames come first
    order: Order = Order.PLAN
    on_collision: OnCollision = OnCollision.FAIL
    own_files: OwnFiles = OwnFiles.STAGED
    max_retries: int = 3
    timeout: float = 30.0
    init_timeout: float = 3600.0
    error_threshold: ErrorThreshold = ErrorThreshold()
    mini_batch_error_threshold: int = -1  # failed mini-batches tolerated; -1: any number
    allowed_failed_percent: float = 100.0  # of all mini-batches, judged at the end only
    isolate: bool = True
    input_check: InputCheck = InputCheck.AUTO
    mlflow_chunk_rows: int = 10_000  # rows of a table per predict, where there is no script; 0: all
    workers: int | None = None  # None: sized automatically
    threads: int | None = None  # cpus per worker; None: derived
    pin: Pin = Pin.CORES
    mem_reserve: int | None = None  # bytes kept free of workers; None: derived from the machine
    hint: Path | None = None  # OUT of an earlier run, whose footprint is the first guess
    hide_gpus: bool = False
    state_dir: Path | None = None  # where the run directory lies, absolute; None: in OUT, or where OUT says
    logging_level: str = "info"
    grace: float = 60.0
    pause_max: float = 3600.0
    sources: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"JobSpec({self.name!r})"  # the environment may hold secrets

    @property
    def wants_plan_order(self) -> bool:
        """Are rows, other than Arrow's, to be in the order of the plan?"""
        return self.order is Order.PLAN and self.output_action is OutputAction.APPEND_ROW and not self.writes_tables

    @property
    def writes_tables(self) -> bool:
        """Do rows travel as Arrow's, and is the result made at the finish?"""
        return self.output_format is OutputFormat.PARQUET and self.output_action is OutputAction.APPEND_ROW
