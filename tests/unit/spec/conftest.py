"""A folder with a script, a model and whatever spec a test writes; specs are read with an empty environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from batchctl.spec.resolve import Loaded, Overrides, load


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("code/score.py", "code/sub/deep.py", "score.py", "elsewhere.py"):
            self.write(name, "def run(mini_batch):\n    return mini_batch\n")
        self.write("model/weights.bin", "w")
        self.write("conda.yaml", "dependencies: []\n")

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(
        self,
        name: str,
        text: str | bytes | None = None,
        *,
        flags: Mapping[str, object] | None = None,
        sets: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
        inputs: tuple[str, ...] = (),
        out: str | None = None,
        strict_azure: bool = False,
    ) -> Loaded:
        if text is not None:
            self.write(name, text)
        overrides = Overrides(flags=flags or {}, sets=sets, environ=environ or {})
        return load(name, overrides, inputs=inputs, out=out, cwd=self.root, strict_azure=strict_azure)

    def azure(self, extra: str = "", **keywords: object) -> Loaded:
        """A deployment that is right but for what is added."""
        base = "name: d\ncode_configuration: {code: code, scoring_script: score.py}\n"
        return self.load("deployment.yml", base + extra, **keywords)  # type: ignore[arg-type]

    def toml(self, extra: str = "", **keywords: object) -> Loaded:
        return self.load("batchctl.toml", 'script = "score.py"\n' + extra, **keywords)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path.resolve())
