"""The one table of settings: field, key, flag, variable, Azure's key, parser, default, help.

The readers of spec files, the overlay of flags and environment variables, the command line and docs/spec.md all follow
this table; a new setting is one entry here and a line in the docs (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from batchctl.model.job import (
    Dialect,
    ErrorThreshold,
    Grouping,
    InputCheck,
    OnCollision,
    Order,
    OutputAction,
    OutputFormat,
    OwnFiles,
    Pin,
    Schedule,
)
from batchctl.named_tuple import NamedTuple
from batchctl.spec import values
from batchctl.spec.values import Parser

LONGEST = 30 * 86400.0  # 30 days, in seconds


class Setting(NamedTuple):
    """One setting. `field` is its JobSpec field and, on the command line, its `dest`.

    `flag` and `variable` are empty where it has none. `multiple`: the flag may be repeated and gives a list. `switch`:
    the flag takes no value and has a `--no-` twin. `azure` is the dotted key below `settings:` (or at the root of the
    flat layout). `by_dialect` holds the defaults that differ from `default`.
    """

    field: str
    key: str
    parse: Parser
    help: str
    flag: str = ""
    metavar: str = ""
    azure: str = ""
    default: object = None
    by_dialect: Mapping[Dialect, object] = {}
    multiple: bool = False
    switch: bool = False

    @property
    def variable(self) -> str:
        """The environment variable, BATCHCTL_ and the flag in capitals; the flags of `env` give BATCHCTL_ENV."""
        return "BATCHCTL_" + self.flag.removeprefix("--").replace("-", "_").upper() if self.flag else ""

    def default_for(self, dialect: Dialect) -> object:
        return self.by_dialect.get(dialect, self.default)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        field="name", key="name", parse=values.label, flag="--name", metavar="NAME",
        help="name of the job in reports (default: the deployment's, else the spec's folder)",
    ),
    Setting(
        field="model", key="model", parse=values.existing, flag="--model", metavar="PATH",
        help="model file or folder; needed where a deployment names a registered model",
    ),
    Setting(
        field="python", key="python", parse=values.interpreter, flag="--python", metavar="PATH",
        help="Python interpreter, or environment folder, that the scoring script runs in",
    ),
    Setting(
        field="environment", key="env", parse=values.variables, flag="--env", metavar="K=V", multiple=True,
        help="environment variable for the script; repeatable, added to those of the spec",
    ),
    Setting(
        field="arguments", key="arguments", parse=values.arguments, default=(),
        help="arguments that the script finds in sys.argv",
    ),
    Setting(
        field="preload", key="preload", parse=values.texts, flag="--preload", metavar="MODULE", multiple=True,
        default=(),
        help="module imported once, before workers fork; repeatable",
    ),
    Setting(
        field="mini_batch_size", key="mini_batch_size", parse=values.batch_size, flag="--mini-batch-size", metavar="N",
        azure="mini_batch_size", default=10,
        help="files per call of run()",
    ),
    Setting(
        field="max_batch_bytes", key="max_batch_bytes", parse=values.byte_size, flag="--max-batch-bytes",
        metavar="SIZE",
        help="close a mini-batch before its files pass this size: 64M, 1.5G; a larger file is one by itself",
    ),
    Setting(
        field="schedule", key="schedule", parse=values.choice(Schedule), flag="--schedule", metavar="RULE",
        default=Schedule.LARGEST_FIRST, by_dialect={Dialect.AZURE: Schedule.PLAN},
        help="plan: mini-batches are handed out as planned; largest-first: by bytes, for an even end",
    ),
    Setting(
        field="grouping", key="grouping", parse=values.choice(Grouping), default=Grouping.PATH,
        by_dialect={Dialect.AZURE: Grouping.DIRECTORY},
        help="may a mini-batch span directories: path (yes) or directory (no)",
    ),
    Setting(
        field="include", key="include", parse=values.texts, flag="--include", metavar="GLOB", multiple=True, default=(),
        help="score only files whose path below INPUT matches; repeatable",
    ),
    Setting(
        field="exclude", key="exclude", parse=values.texts, flag="--exclude", metavar="GLOB", multiple=True, default=(),
        help="leave out files whose path below INPUT matches; repeatable",
    ),
    Setting(
        field="partition_keys", key="partition_keys", parse=values.partition_keys, default=(),
        help="one mini-batch of all files with the same values of these keys, found in their paths",
    ),
    Setting(
        field="partition_format", key="partition_format", parse=values.partition_format, flag="--partition-format",
        metavar="TEMPLATE",
        help="where partition keys stand in the path below INPUT, such as {user}/{season}/*.csv",
    ),
    Setting(
        field="output_action", key="output_action", parse=values.choice(OutputAction), flag="--output-action",
        metavar="ACTION", azure="output_action", default=OutputAction.APPEND_ROW,
        help="append_row: returned rows go to one file; summary_only: they are only counted",
    ),
    Setting(
        field="output_format", key="output_format", parse=values.choice(OutputFormat), flag="--output-format",
        metavar="FORMAT", default=OutputFormat.CSV,
        by_dialect={Dialect.AZURE: OutputFormat.AZURE, Dialect.MLFLOW: OutputFormat.AZURE},
        help="azure, csv, jsonl or parquet (needs pyarrow beside the script)",
    ),
    Setting(
        field="output_file_name", key="output_file_name", parse=values.file_name, flag="--output-file-name",
        metavar="NAME", azure="output_file_name", default="predictions.csv",
        help="name of the result in OUT (default: predictions.csv, .jsonl or .parquet by format)",
    ),
    Setting(
        field="header", key="header", parse=values.switch, flag="--header", switch=True, default=False,
        help="begin the azure format with the column names where DataFrames are returned",
    ),
    Setting(
        field="order", key="order", parse=values.choice(Order), flag="--order", metavar="ORDER", default=Order.PLAN,
        help="plan: rows in the order of the input; completion: as they were finished",
    ),
    Setting(
        field="on_collision", key="on_collision", parse=values.choice(OnCollision), flag="--on-collision",
        metavar="RULE", default=OnCollision.FAIL,
        help="a file that several mini-batches write: fail, append (in plan order) or last (the last one's)",
    ),
    Setting(
        field="own_files", key="own_files", parse=values.choice(OwnFiles), flag="--own-files", metavar="WAY",
        default=OwnFiles.STAGED,
        help="files that the script writes: staged (each in OUT once) or direct (written into OUT, at least once)",
    ),
    Setting(
        field="max_retries", key="max_retries", parse=values.whole(0, 1000), flag="--max-retries", metavar="N",
        azure="retry_settings.max_retries", default=3,
        help="further attempts after a failed one; 0 means one attempt",
    ),
    Setting(
        field="timeout", key="timeout", parse=values.duration(0.001, LONGEST), flag="--timeout", metavar="DURATION",
        azure="retry_settings.timeout", default=3600.0, by_dialect={Dialect.AZURE: 30.0},
        help="limit of one call of run(): 30, 1.5, 90s, 2m, 1h30m",
    ),
    Setting(
        field="init_timeout", key="init_timeout", parse=values.duration(0.001, LONGEST), flag="--init-timeout",
        metavar="DURATION", default=3600.0,
        help="limit of init(), which loads the model",
    ),
    Setting(
        field="error_threshold", key="error_threshold", parse=values.threshold, flag="--error-threshold",
        metavar="N|P%", azure="error_threshold", default=ErrorThreshold(),
        help="failed files tolerated, as a number or a percentage; -1: any number",
    ),
    Setting(
        field="mini_batch_error_threshold", key="mini_batch_error_threshold", parse=values.batch_threshold,
        flag="--mini-batch-error-threshold", metavar="N", default=-1,
        help="failed mini-batches tolerated; -1: any number",
    ),
    Setting(
        field="allowed_failed_percent", key="allowed_failed_percent", parse=values.percent,
        flag="--allowed-failed-percent", metavar="P", default=100.0,
        help="share of mini-batches that may have failed when all are done, 0 to 100",
    ),
    Setting(
        field="isolate", key="isolate", parse=values.switch, flag="--isolate", switch=True, default=True,
        help="halve a failing mini-batch until only the guilty files are given up",
    ),
    Setting(
        field="input_check", key="input_check", parse=values.choice(InputCheck), flag="--input-check", metavar="WHEN",
        default=InputCheck.AUTO,
        help="does an input that changes while it is scored fail its attempt: auto (where cheap), always, never",
    ),
    Setting(
        field="mlflow_chunk_rows", key="mlflow_chunk_rows", parse=values.whole(0, 10**9), flag="--mlflow-chunk-rows",
        metavar="N", default=10_000,
        help="rows of a table per predict of an MLflow model without a script; 0: all rows of a file",
    ),
    Setting(
        field="workers", key="workers", parse=values.count_or_auto(1024), flag="--workers", metavar="N|auto",
        azure="max_concurrency_per_instance",
        help="worker processes; auto: as many as fit here and are of use",
    ),
    Setting(
        field="threads", key="threads", parse=values.count_or_auto(4096), flag="--threads", metavar="N|auto",
        help="cpus per worker; auto: derived from workers and machine",
    ),
    Setting(
        field="pin", key="pin", parse=values.choice(Pin), flag="--pin", metavar="WAY", default=Pin.CORES,
        help="where a worker may run: cores (its slot's), numa (its NUMA node) or none (anywhere)",
    ),
    Setting(
        field="mem_reserve", key="mem_reserve", parse=values.byte_size, flag="--mem-reserve", metavar="SIZE",
        help="memory kept free of workers: 2G, 512M (default: a twentieth of it, 256 MiB to 2 GiB)",
    ),
    Setting(
        field="hint", key="hint", parse=values.existing, flag="--hint", metavar="OUT",
        help="output folder of an earlier run, whose workers' memory is the first guess for this one's",
    ),
    Setting(
        field="hide_gpus", key="hide_gpus", parse=values.switch, flag="--hide-gpus", switch=True, default=False,
        help="let the script see no GPU",
    ),
    Setting(
        field="state_dir", key="state_dir", parse=values.folder, flag="--state-dir", metavar="DIR",
        help="folder for the run directory, where OUT's file system should not hold it (default: OUT/.batchctl)",
    ),
    Setting(
        field="logging_level", key="logging_level", parse=values.logging_level, flag="--logging-level", metavar="LEVEL",
        azure="logging_level", default="info",
        help="given to the script as --logging_level",
    ),
    Setting(
        field="grace", key="grace", parse=values.duration(0.0, LONGEST), flag="--grace", metavar="DURATION",
        default=60.0,
        help="how long running mini-batches may go on after SIGTERM or Ctrl-C",
    ),
    Setting(
        field="pause_max", key="pause_max", parse=values.duration(0.0, LONGEST), flag="--pause-max", metavar="DURATION",
        default=3600.0,
        help="how long a full disk is waited for before stopping (exit 75)",
    ),
)  # fmt: skip

BY_FIELD: Mapping[str, Setting] = MappingProxyType({setting.field: setting for setting in SETTINGS})


class Flag(NamedTuple):
    """One option for the command line: `dest` is the key in Overrides.flags; SET_DEST's texts go to Overrides.sets."""

    flag: str
    dest: str
    metavar: str
    help: str
    multiple: bool = False
    switch: bool = False


SET_DEST = "set"

FLAGS: tuple[Flag, ...] = (
    *(
        Flag(setting.flag, setting.field, setting.metavar, setting.help, setting.multiple, setting.switch)
        for setting in SETTINGS
        if setting.flag
    ),
    Flag("--set", SET_DEST, "KEY=VALUE", "set a dotted key of the spec, in its own names; repeatable", multiple=True),
)
