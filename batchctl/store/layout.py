"""Where everything of a run lies. OUT may be moved as a whole: nothing below it remembers an absolute path, but for
state.json, which names the state directory where there is one."""

from __future__ import annotations

from pathlib import Path

RUN_DIRECTORY = ".batchctl"


class RunLayout:
    """All paths of a run, from OUT and the output file's name. `rows` is False for summary_only: then none of `final`,
    `partial` and `sorting` ever exists.

    `state` is the state directory, if the run has one: what the run knows lies there. What is renamed into OUT stays in
    `home`, below OUT, because a rename cannot leave its file system.
    """

    def __init__(
        self,
        out: Path,
        output_file_name: str = "predictions.csv",
        *,
        rows: bool = True,
        state: Path | None = None,
    ) -> None:
        home = out / RUN_DIRECTORY
        directory = home if state is None else state
        self.out = out
        self.output_file_name = output_file_name
        self.rows = rows
        self.state = state
        self.final = out / output_file_name  # the result; appears by rename, complete
        self.partial = out / f"{output_file_name}.partial"  # rows in commit order
        self.sorting = out / f"{output_file_name}.sorting"  # the result being put into order
        self.home = home  # OUT's part of the run directory
        self.pointer = home / "state.json"  # names the state directory
        self.directory = directory  # the run directory: `state`, else `home`
        self.job = directory / "job.json"
        self.plan = directory / "plan"
        self.log = directory / "checkpoint.log"
        self.lock = home / "lock"  # one coordinator for each OUT
        self.state_lock = directory / "lock"  # and one for each run directory; the same file unless there is `state`
        self.stage = home / "stage"
        self.parts = home / "parts"  # pieces of files that several mini-batches write
        self.spill = directory / "spill"
        self.logs = directory / "logs"
        self.mlruns = directory / "mlruns"
        self.model = directory / "model"
        self.guest = directory / "guest.pyz"
        self.status = directory / "status.json"
        self.quarantine = directory / "quarantine.jsonl"
        self.summary = directory / "summary.json"
        self.attempts = directory / "attempts.csv"
        self.leaving = directory / "leaving.json"  # this run is being deleted (--fresh)
        self.learned = directory / "learned.json"  # what workers were seen to need; outlives the run

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunLayout) and self._made_of == other._made_of

    def __hash__(self) -> int:
        return hash(self._made_of)

    def __repr__(self) -> str:
        return f"RunLayout({', '.join(map(repr, self._made_of))})"

    @property
    def _made_of(self) -> tuple[Path, str, bool, Path | None]:
        return (self.out, self.output_file_name, self.rows, self.state)

    def at(self, state: Path | None) -> RunLayout:
        """The same with this state directory."""
        return RunLayout(self.out, self.output_file_name, rows=self.rows, state=state)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are the run's alone."""
        return (self.home,) if self.state is None else (self.home, self.state)

    @property
    def own_names(self) -> frozenset[str]:
        """First components in OUT that no file of a script may take."""
        return frozenset({RUN_DIRECTORY, self.final.name, self.partial.name, self.sorting.name})
