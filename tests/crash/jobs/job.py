"""A job on the disk: its spec, its script, its inputs, and what a user would type to run it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """Where everything lies. A job may have several OUTs, each with a scratch folder that is the script's own."""

    folder: Path

    @property
    def spec(self) -> Path:
        return self.folder / "batchctl.toml"

    @property
    def inputs(self) -> Path:
        return self.folder / "input"

    def scratch(self, name: str) -> Path:
        return self.folder / "scratch" / name

    def lay(self, out: Path) -> None:
        """Put into `out` what the command shall find there: nothing."""

    def command(self, batchctl: str, out: Path, *, workers: int) -> list[str]:
        """What a user would type. Each OUT has its own scratch, which counts as part of the job."""
        scratch = self.scratch(out.name)
        scratch.mkdir(parents=True, exist_ok=True)
        spec, inputs = str(self.spec), str(self.inputs)
        return [
            *(batchctl, "run", spec, inputs, "-o", str(out), "--workers", str(workers)),
            *("--env", f"CAMPAIGN_SCRATCH={scratch}"),
        ]


@dataclass(frozen=True, slots=True)
class OneRunJob:
    """A job with one OUT, whose rows are known beforehand."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def command(self, batchctl: str, *flags: str) -> list[str]:
        """What a user would type."""
        job = Job(self.folder)
        return [
            *(batchctl, "run", str(job.spec), str(job.inputs), "-o", str(self.out)),
            *("--env", f"CAMPAIGN_SCRATCH={self.scratch}", *flags),
        ]


def lay_job(folder: Path, *, spec: str, script: str, inputs: Mapping[str, str]) -> Job:
    """Write all of it. `inputs`: path below the input folder -> text."""
    job = Job(folder)
    code = folder / "code"
    for path in (job.inputs, code):
        path.mkdir(parents=True)
    (code / "score.py").write_text(script, encoding="utf-8")
    job.spec.write_text(spec, encoding="utf-8")
    for name, text in inputs.items():
        path = job.inputs / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return job


def python_line(python: str) -> str:
    """The spec's line for the script's interpreter; none for "", the command's own."""
    return f"python = {json.dumps(python)}\n" if python else ""


def item_name(number: int) -> str:
    """In plan order."""
    return f"item-{number:04d}"


def one_column(lines: Iterable[str]) -> bytes:
    """The result of a script that returns strings: a csv file of one column."""
    return "\n".join(["prediction", *lines, ""]).encode()
