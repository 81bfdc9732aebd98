"""Where everything of a run lies. OUT may be moved as a whole: nothing below it remembers an absolute path, but for
state.json, which names the state directory where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

RUN_DIRECTORY = ".batchctl"


@dataclass(frozen=True, slots=True)
class RunLayout:
    """All paths of a run, from OUT and the output file's name. `rows` is False for summary_only: then none of `final`,
    `partial` and `sorting` ever exists.

    `state` is the state directory, if the run has one: what the run knows lies there. What is renamed into OUT stays in
    `home`, below OUT, because a rename cannot leave its file system.
    """

    out: Path
    output_file_name: str = "predictions.csv"
    rows: bool = field(default=True, kw_only=True)
    state: Path | None = field(default=None, kw_only=True)
    final: Path = field(init=False)  # the result; appears by rename, complete
    partial: Path = field(init=False)  # rows in commit order
    sorting: Path = field(init=False)  # the result being put into order
    home: Path = field(init=False)  # OUT's part of the run directory
    pointer: Path = field(init=False)  # names the state directory
    directory: Path = field(init=False)  # the run directory: `state`, else `home`
    job: Path = field(init=False)
    plan: Path = field(init=False)
    log: Path = field(init=False)
    lock: Path = field(init=False)  # one coordinator for each OUT
    state_lock: Path = field(init=False)  # and one for each run directory; the same file unless there is `state`
    stage: Path = field(init=False)
    parts: Path = field(init=False)  # pieces of files that several mini-batches write
    spill: Path = field(init=False)
    logs: Path = field(init=False)
    mlruns: Path = field(init=False)
    model: Path = field(init=False)
    guest: Path = field(init=False)
    status: Path = field(init=False)
    quarantine: Path = field(init=False)
    summary: Path = field(init=False)
    attempts: Path = field(init=False)
    learned: Path = field(init=False)  # what workers were seen to need; outlives the run

    def __post_init__(self) -> None:
        home = self.out / RUN_DIRECTORY
        directory = home if self.state is None else self.state
        paths = {
            "final": self.out / self.output_file_name,
            "partial": self.out / f"{self.output_file_name}.partial",
            "sorting": self.out / f"{self.output_file_name}.sorting",
            "home": home,
            "pointer": home / "state.json",
            "directory": directory,
            "job": directory / "job.json",
            "plan": directory / "plan",
            "log": directory / "checkpoint.log",
            "lock": home / "lock",
            "state_lock": directory / "lock",
            "stage": home / "stage",
            "parts": home / "parts",
            "spill": directory / "spill",
            "logs": directory / "logs",
            "mlruns": directory / "mlruns",
            "model": directory / "model",
            "guest": directory / "guest.pyz",
            "status": directory / "status.json",
            "quarantine": directory / "quarantine.jsonl",
            "summary": directory / "summary.json",
            "attempts": directory / "attempts.csv",
            "learned": directory / "learned.json",
        }
        for name, path in paths.items():
            object.__setattr__(self, name, path)

    def at(self, state: Path | None) -> RunLayout:
        """The same with this state directory."""
        return replace(self, state=state)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are the run's alone."""
        return (self.home,) if self.state is None else (self.home, self.state)

    @property
    def own_names(self) -> frozenset[str]:
        """First components in OUT that no file of a script may take."""
        return frozenset({RUN_DIRECTORY, self.final.name, self.partial.name, self.sorting.name})
