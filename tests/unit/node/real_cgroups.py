"""Real v1 cgroups, made for one test and removed after it; where none can be made the test is skipped, saying why."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@contextmanager
def real_group(controller: str, settings: Mapping[str, str]) -> Iterator[Path]:
    """The folder of a new group below the v1 hierarchy of `controller`, with files written as `settings` say."""
    group = Path("/sys/fs/cgroup", controller, f"batchctl-test-{secrets.token_hex(6)}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no v1 cgroup of {controller} can be made here: {error}")
    try:
        for name, value in settings.items():
            (group / name).write_text(value)
        yield group
    finally:
        group.rmdir()


def run_in(group: Path, argv: Sequence[str]) -> bytes:
    """The standard output of a command that runs in the group and succeeds."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        ["/bin/sh", "-c", _ENTER, str(group), *argv], env=env, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
