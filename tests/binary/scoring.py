"""Runs of the main job by the packaged file: a script and inputs in a folder of their own, rows as data."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.binary.packaged import Packaged, Ran


def wait_for(condition: Callable[[], object], what: str, *, seconds: float = 60.0) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.01)


@dataclass
class Scoring:
    """`batchctl run score.py in -o OUT` in `folder`."""

    packaged: Packaged
    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "in").mkdir(parents=True)

    def script(self, text: str) -> Path:
        """Put the scoring script."""
        path = self.folder / "score.py"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def waits(self) -> None:
        """Put one input and a script that says that it runs by `reached` and goes on once `open` is there."""
        self.script(f"""
            import os, time

            def run(mini_batch):
                open({str(self.reached)!r}, "w").close()
                while not os.path.exists({str(self.opened)!r}):
                    time.sleep(0.01)
                return list(mini_batch)
        """)
        self.items({"one.txt": "1"})

    @property
    def reached(self) -> Path:
        return self.folder / "reached"

    @property
    def opened(self) -> Path:
        return self.folder / "open"

    def items(self, contents: Mapping[str, str]) -> None:
        """Put inputs."""
        for name, content in contents.items():
            (self.folder / "in" / name).write_text(content, encoding="utf-8")

    def words(self, *flags: str | Path, out: str = "out") -> tuple[str | Path, ...]:
        """What a user would type after the command's name."""
        return ("run", "score.py", "in", "-o", out, "--output-format", "jsonl", "--workers", "1", *flags)

    def run(
        self, *flags: str | Path, out: str = "out", env: Mapping[str, str | None] | None = None, limit: float = 120.0
    ) -> Ran:
        """Score, to the end."""
        return self.packaged.run(*self.words(*flags, out=out), env=env, cwd=self.folder, limit=limit)

    def start(
        self, *flags: str | Path, out: str = "out", env: Mapping[str, str | None] | None = None
    ) -> subprocess.Popen[str]:
        """Score; the process, under way."""
        return self.packaged.start(*self.words(*flags, out=out), env=env, cwd=self.folder)

    def rows(self, *, out: str = "out") -> list[Any]:
        """What the script returned, one Python value a row."""
        text = (self.folder / out / "predictions.jsonl").read_text(encoding="utf-8")
        found = [json.loads(line) for line in text.splitlines()]
        return [row["prediction"] if isinstance(row, dict) and row.keys() == {"prediction"} else row for row in found]

    def ask(self, body: str, *flags: str | Path, env: Mapping[str, str | None] | None = None) -> Any:
        """What `answer()`, defined by `body`, returns in a worker: JSON-able data. One input, one row."""
        self.script(dedent(body) + "\n\ndef run(mini_batch):\n    return [{'answer': answer()}]\n")
        self.items({"one.txt": "1"})
        self.run("--fresh", "-q", *flags, env=env).expect(0)
        (row,) = self.rows()
        return row["answer"]
